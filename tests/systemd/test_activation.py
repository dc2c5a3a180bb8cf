"""Socket activation: the service manager holds the sockets."""

import pathlib
import socket
import subprocess

import pytest

from service import CONFIG, PORT, Unit, connect, exchange, receive, run, systemctl


@pytest.fixture
def sockets(unit):
    """ackd.socket with replaced sockets: sockets("ListenStream=...", ...)."""
    def listen(*lines, name="ackd.socket"):
        listening = Unit(name)
        listening.drop_in("[Socket]\nListenStream=\n" + "\n".join(lines) + "\n")
        listening.start()
        return listening

    return listen


def backlog(port):
    for line in run("ss", "-Hltn", f"sport = :{port}").stdout.splitlines():
        return int(line.split()[2])


def test_first_client_starts_the_service(unit):
    Unit("ackd.socket").start()
    assert unit.state == "inactive"
    assert exchange(address=("::1", PORT)) == b"Got hello"
    unit.wait_for_state("active")  # systemd may take longer to read READY=1 than ackd to answer
    assert exchange(address=("127.0.0.1", PORT)) == b"Got hello"
    assert backlog(PORT) == 4096


def test_passed_socket_replaces_the_address(unit, journal, sockets):
    """The log reports it; the configured port is not bound, and the socket keeps its backlog."""
    CONFIG.write_text("port = 7001; backlog = 5;\n")
    sockets("ListenStream=127.0.0.1:7002", "Backlog=77")
    unit.start()
    assert exchange(address=("127.0.0.1", 7002)) == b"Got hello"
    assert backlog(7002) == 77
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", 7001))
    notice = journal.wait_for("listen", lambda e: e["PRIORITY"] == "5")
    assert notice["ACKD_LISTENER"] == "ackd"
    assert "7002" in notice["ACKD_ADDRESS"]


def test_socket_unit_can_bind_a_privileged_port(unit, sockets):
    sockets("ListenStream=127.0.0.1:7")
    assert exchange(address=("127.0.0.1", 7)) == b"Got hello"
    assert unit.show("User") != "root"


def test_unix_socket_can_be_open_to_all_users(unit, sockets):
    """Unprivileged users can reach it, unlike /run/ackd."""
    sockets("ListenStream=/run/ackd.sock", "SocketMode=0666")
    said = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/local/bin/ackc",
         "unix:/run/ackd.sock", "hello"], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout == "Got hello\n"


def test_sockets_are_assigned_by_name(unit, names, sockets):
    CONFIG.write_text('listeners = ( { name = "one"; port = 7003; ack_prefix = "1 "; },\n'
                      '              { name = "two"; ack_prefix = "2 "; } );\n')
    pathlib.Path("/run/systemd/system/two.socket").write_text(
        "[Socket]\nListenStream=127.0.0.1:7002\nListenStream=[::1]:7002\n"
        "FileDescriptorName=two\nService=ackd.service\n")
    names.insert(0, "two.socket")
    unit.drop_in("[Unit]\nAfter=two.socket\nWants=two.socket\n")
    sockets("ListenStream=127.0.0.1:7001", "FileDescriptorName=one")
    unit.start()
    for address in ("127.0.0.1", 7002), ("::1", 7002):
        assert exchange(b"x", address) == b"2 x"
    assert exchange(b"x", ("127.0.0.1", 7001)) == b"1 x"


def test_socket_without_a_listener_is_an_error(unit, journal):
    """The installed socket unit, and a configuration without a listener named "ackd"."""
    CONFIG.write_text('listeners = ( { name = "one"; }, { name = "two"; port = 7002; } );\n')
    Unit("ackd.socket").start()
    assert unit.start(check=False).returncode != 0
    assert unit.show("ExecMainStatus") == "78"
    assert journal.wait_for("stop", lambda e: 'socket named "ackd"' in e["MESSAGE"])["MESSAGE"] \
        .endswith('set FileDescriptorName= in its socket unit to the name of a listener: '
                  '"one", "two"')


def test_accept_yes_is_an_error(journal, sockets):
    """systemd starts an instance per connection; it reports the error, as it has no configuration."""
    sockets("ListenStream=127.0.0.1:7001", "Accept=yes")
    with connect(("127.0.0.1", 7001)):
        journal.wait_for("stop", lambda e: "set Accept=no in the socket unit" in e["MESSAGE"])


def test_restart_refuses_no_client(unit):
    """The sockets stay open, and clients wait in their queues."""
    Unit("ackd.socket").start()
    unit.start()
    for _ in range(5):
        # One restart at a time: systemd cancels a start by SIGTERM alone, as for a stop.
        systemctl("restart", "--no-block", "ackd.service")
        while run("systemctl", "list-jobs", "--no-legend").stdout.strip():
            assert exchange() == b"Got hello"
        assert exchange() == b"Got hello"


def test_client_starts_a_stopped_service(unit):
    Unit("ackd.socket").start()
    unit.start()
    with connect() as s:
        s.sendall(b"x")
        assert receive(s, 5) == b"Got x"
    unit.stop(timeout=60)
    with socket.create_connection(("127.0.0.1", PORT), timeout=30) as s:
        s.sendall(b"y")
        assert receive(s, 5) == b"Got y"
    unit.wait_for_state("active")
