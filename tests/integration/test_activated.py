"""Sockets passed to the daemon at its start."""

import os
import re
import socket
import sys

import pytest

from harness import Address, Daemon, converse
from manager import Manager, skip_without_systemd


@pytest.fixture
def start(directory):
    """start(config, ("name", socket)...) returns a daemon that gets these sockets."""
    skip_without_systemd()
    manager = Manager(directory, store_max=0)
    daemons = []

    def start(config, *sockets, arguments=()):
        daemons.append(manager.daemon(directory, config, sockets=sockets, arguments=arguments))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.stop()
    manager.close()


def listening(host="127.0.0.1", backlog=7):
    return socket.create_server(
        (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=backlog
    )


def say(s, data=b"x"):
    """Returns the answer from the listening socket @s."""
    with socket.socket(s.family) as client:
        client.settimeout(30)
        client.connect(s.getsockname())
        return converse(client, data)


TWO = """listeners = (
    { name = "one"; address = "127.0.0.1"; port = 0; ack_prefix = "1 "; },
    { name = "two"; address = "127.0.0.1"; port = 0; ack_prefix = "2 "; }
);"""


@pytest.mark.parametrize("name", ["ackd", "ackd.socket", "", "unknown"])
def test_passed_socket_replaces_the_configured_address(start, name):
    with listening() as s:
        daemon = start('address = "127.0.0.1"; port = 1;', (name, s))
        assert say(s) == b"Got x"
        told = "127.0.0.1:%d" % s.getsockname()[1]
        assert [a.text for a in daemon.addresses()] == [told]
        assert f"socket {told} replaces the configured 127.0.0.1 port 1" in daemon.log


def test_urgent_data_sent_before_the_start_is_received(start):
    """The kernel accepts the connection before the daemon can set an option on the socket."""
    with listening() as s, socket.create_connection(s.getsockname(), 30) as client:
        client.sendall(b"a")
        client.send(b"b", socket.MSG_OOB)
        client.sendall(b"c")
        start('reply = "echo";', ("ackd", s))
        assert converse(client, b"d") == b"abcd"


def test_passed_socket_replaces_the_configured_path(start, directory):
    with listening() as s:
        daemon = start(f'path = "{directory}/unused";', ("ackd", s))
        assert say(s) == b"Got x"
        assert f"replaces the configured unix:{directory}/unused" in daemon.log
        assert not os.path.exists(f"{directory}/unused")


def test_abstract_unix_socket_can_be_passed(start):
    name = f"ackd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("\0" + name)
        s.listen()
        daemon = start("", ("ackd", s))
        assert say(s) == b"Got x"
        assert f"listening on unix:@{name}" in daemon.log


def test_all_sockets_of_a_name_go_to_its_listener(start):
    with listening() as first, listening("::1") as second:
        daemon = start(TWO, ("two", first), ("two", second))
        assert say(first) == say(second) == b"2 x"
        assert daemon.exchange(b"x", "one") == b"1 x"  # its own socket


def test_unnamed_sockets_go_to_remaining_listeners(start):
    """The order in which the sockets are passed does not matter."""
    with listening() as nameless, listening() as named:
        start(TWO, ("", nameless), ("one", named))
        assert say(named) == b"1 x"
        assert say(nameless) == b"2 x"


def test_unix_socket_can_be_passed(start, directory):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{directory}/passed")
        s.listen()
        daemon = start("", ("ackd", s))
        assert say(s) == b"Got x"
        assert [a.text for a in daemon.addresses()] == [f"unix:{directory}/passed"]
        daemon.stop()
        assert os.path.exists(f"{directory}/passed")  # the daemon must not remove it


def test_passed_socket_keeps_its_backlog(start):
    with listening(backlog=7) as s:
        start("backlog = 100;", ("ackd", s))
        # in TCP_INFO of a listening socket, tcpi_sacked is the backlog
        information = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        assert int.from_bytes(information[28:32], "little") == 7


def test_queued_connections_are_answered(start):
    with listening() as s, socket.create_connection(s.getsockname(), timeout=30) as early:
        early.sendall(b"early")
        start("", ("ackd", s))
        assert converse(early, b"") == b"Got early"


SET_THE_NAME = "; set FileDescriptorName= in its socket unit to the name of a listener: "


def test_socket_without_a_listener_is_an_error(start):
    """The socket unit of ackd names its socket "ackd", but no listener needs that name."""
    names = "abcdef"
    groups = ", ".join(f'{{ name = "{name}"; port = {i + 1}; }}' for i, name in enumerate(names))
    said = ('passed a socket named "ackd", but no listener has that name' + SET_THE_NAME
            + '"a", "b", "c", "d", ...$')
    with listening() as s, pytest.raises(TimeoutError, match=re.compile(said, re.M)):
        start(f"listeners = ( {groups} );", ("ackd", s))


def test_surplus_socket_is_an_error(start):
    with listening() as first, listening() as second:
        said = 'socket named "b.socket", but every listener has a socket' + SET_THE_NAME + '"ackd"'
        with pytest.raises(TimeoutError, match=said):
            start("", ("a.socket", first), ("b.socket", second))


def test_socket_that_does_not_listen_is_an_error(start):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        with pytest.raises(TimeoutError, match="not a listening TCP or UNIX stream socket; set "
                           "ListenStream="):
            start("", ("ackd", s))


def test_passed_connection_is_an_error(directory, start):
    """With Accept=yes systemd passes a connection, and the instance has no configuration."""
    with listening() as s, socket.create_connection(s.getsockname()), s.accept()[0] as one, \
            pytest.raises(TimeoutError, match="set Accept=no in the socket unit"):
        start("", ("connection", one), arguments=("-c", f"{directory}/missing.conf"))


@pytest.mark.parametrize(
    "variables",
    [
        {"LISTEN_FDS": "many"},
        {"LISTEN_FDS": "-1"},
        {"LISTEN_FDS": "99999999999"},
        {"LISTEN_FDS": "3"},
        {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("start")
def test_own_descriptors_are_not_used_as_passed_sockets(directory, variables):
    """ackd does not use its own descriptors as passed sockets."""
    pass_nothing = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid());"
    pass_nothing += "os.closerange(3, 100); os.execv(sys.argv[1], sys.argv[1:])"
    daemon = Daemon(directory, "", env=variables, wrapper=[sys.executable, "-c", pass_nothing])
    daemon.start(ready=False)
    assert daemon.wait() == 71
    assert ("error stop: cannot take the descriptors of the service manager ($LISTEN_FDS, $LISTEN_FDNAMES): "
            in daemon.log)


def test_reload_keeps_passed_sockets(start):
    with listening() as s:
        daemon = start("", ("ackd", s))
        daemon.write_config('port = 2; ack_prefix = "New ";')
        assert daemon.reload()
        assert say(s) == b"New x"
        assert Address("127.0.0.1:%d" % s.getsockname()[1]).port in [
            a.port for a in daemon.addresses()
        ]
