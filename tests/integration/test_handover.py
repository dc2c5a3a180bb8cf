"""A restart hands each connection over to the next process: no data is lost, repeated or reordered."""

import errno
import fcntl
import itertools
import os
import random
import re
import signal
import socket
import stat
import subprocess
import threading

import pytest

from harness import (
    SOON,
    Frozen,
    build_directory,
    free_port,
    is_silent,
    read_exactly,
    read_to_end,
    wait_until,
)
from prom import is_built
from test_faults import needs_allocations


def status(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return re.search(rf"^{field}:\t(\w+)", lines.read(), re.M)[1]


def send_signal(pid, number):
    """Sends a signal and returns when the process has received it.

    The kernel delivers the lowest number of several pending signals first, and merges equal ones.
    """
    os.kill(pid, number)
    wait_until(lambda: int(status(pid, "ShdPnd"), 16) == 0, "the process to receive the signal")


def accepted(daemon, reply=b"Got x"):
    """An accepted connection; one that waits to be accepted would not be handed over."""
    s = daemon.connect()
    s.sendall(b"x")
    assert read_exactly(s, len(reply)) == reply
    return s


def test_ready_and_listening_sockets_are_stored(unit):
    unit.start('address = "localhost";')
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    assert set(unit.names()) == {"ackd-listen.ackd"}


def test_stopped_service_leaves_no_socket_in_the_store(unit, faults):
    """Also if the signal arrives during a reload; no process would accept from a stored socket."""
    unit.environment.update(faults.environment())
    daemon = unit.start('address = "127.0.0.1"; workers = 1;')
    wait_until(lambda: unit.names() == ["ackd-listen.ackd"], "the socket in the store")
    faults.delay_us = 20_000
    before = faults.accept_calls
    clients = [daemon.connect() for _ in range(300)]
    wait_until(lambda: faults.accept_calls > before, "the worker to be busy")
    listeners = '{ name = "ackd"; port = 0; }, { name = "b"; port = 0; }'
    daemon.write_config(f'address = "127.0.0.1"; workers = 1; listeners = ( {listeners} );')
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("b: listening on")  # the change is final, but not yet applied by the worker
    daemon.signal(signal.SIGTERM)
    daemon.wait_for("draining")
    faults.delay_us = 0
    assert daemon.wait() == 0
    assert "reloaded the configuration" in daemon.log
    for s in clients:
        s.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"X_ALL_SAID=1", unit.path)
    wait_until(lambda: unit.has_said("X_ALL_SAID"), "the last notification")
    assert unit.names() == []


def test_failed_reload_keeps_the_ports_of_stored_sockets(unit):
    """A stored socket can be configured by its port or by port 0; the last successful load counts."""
    port = free_port()
    config = 'listeners = ( { name = "a"; address = "127.0.0.1"; port = %d; }, %s );'
    other = '{ name = "b"; address = "127.0.0.1"; port = %d; }'
    daemon = unit.start(config % (port, other % 0), arguments=())
    daemon = unit.again(daemon)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon.write_config(config % (0, other % taken.getsockname()[1]))
        assert not daemon.reload()
    daemon.write_config(config % (port, other % 0))
    assert daemon.reload()
    assert daemon.address("a").port == port


def numbers(daemon):
    """Returns the numbers of open connections, served connections, and NAKs."""
    mark = daemon.mark()
    daemon.signal(signal.SIGUSR1)
    said = daemon.wait_for(r"(\d+) connections? open, (\d+) served, .*, (\d+) NAKs?", after=mark)
    return tuple(map(int, said.groups()))


def test_counters_continue(unit):
    """Connections that end during the restart count, too: none is counted twice or forgotten."""

    daemon = unit.start('address = "127.0.0.1"; workers = 2;')
    clients = [daemon.connect() for _ in range(40)]
    for s in clients[:20]:
        s.sendall(b"x")
        assert read_exactly(s, 5) == b"Got x"
    for s in clients[20:]:  # they linger until the client closes, or for 2 s
        s.sendall(b"\xff")
        assert read_to_end(s) == b"NAK 0 invalid start byte\n"
    for _ in range(2):
        daemon = unit.again(daemon)
        for s in clients[:20]:
            s.sendall(b"y")
            assert read_exactly(s, 5) == b"Got y"
        wait_until(lambda: numbers(daemon)[0] <= 20, "the others to be closed")
        assert numbers(daemon) == (20, 40, 20)
    for s in clients:
        s.close()


def test_pending_nak_goes_to_its_own_connection(unit):
    """A client that does not read has a pending NAK at the hand-over; another was served last."""
    line = b"\xff" + 98 * b"x" + b"\n"  # long lines, because a NAK of each must be read
    daemon = unit.start("""workers = 1; listeners = (
        { name = "bad"; address = "127.0.0.1"; port = 0; framing = "line"; },
        { name = "good"; address = "127.0.0.1"; port = 0; reply = "echo"; });""", arguments=())

    def naks(listener):
        mark = daemon.mark()
        daemon.signal(signal.SIGUSR1)
        return int(daemon.wait_for(rf"{listener}: .*, (\d+) NAKs", after=mark)[1])

    with daemon.connect("bad", receive_buffer=4096) as bad, daemon.connect("good") as good:
        sent = -(-daemon.fill(bad, line, quiet=1.0) // len(line))
        good.sendall(b"x")
        assert read_exactly(good, 1) == b"x"
        daemon = unit.again(daemon)
        bad.shutdown(socket.SHUT_WR)
        assert read_to_end(bad).count(b"NAK ") == sent
        assert (naks("bad"), naks("good")) == (sent, 0)


def test_old_process_exits_after_the_store_has_everything(unit):
    """The service manager cannot assign messages of an exited process to a unit."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    stored, go_on = threading.Event(), threading.Event()

    def hold(pid):
        if "ackd-handover" in unit.names():
            stored.set()
            go_on.wait(SOON)

    with accepted(daemon, b"x") as s:
        unit.at_barrier = hold
        daemon.signal(signal.SIGUSR2)
        wait_until(lambda: stored.is_set() or daemon.process.poll() is not None, "the end")
        assert stored.is_set(), "it has ended, and did not ask whether all is stored"
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(0.5)
        assert "handed over" not in daemon.log
        go_on.set()
        assert daemon.wait() == 0
        assert "handed over 1 connection\n" in daemon.log
        unit.at_barrier = None
        daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
        s.sendall(b"y")
        assert read_exactly(s, 1) == b"y"


def test_new_process_reads_only_state_removed_from_the_store(unit):
    """Otherwise a state that crashes the process would crash each start."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    names, go_on = [], threading.Event()

    def hold(pid):
        names.append(unit.names())
        go_on.wait(SOON)

    with accepted(daemon, b"x") as s:
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        assert "ackd-handover" in unit.names()
        unit.at_barrier = hold
        daemon = unit.start('address = "127.0.0.1"; reply = "echo";', ready=False)
        wait_until(lambda: names or daemon.READY.search(daemon.log), "the barrier")
        assert names and "ackd-handover" not in names[0]
        s.sendall(b"y")
        assert is_silent(s, 0.5)
        assert "taking over" not in daemon.log
        go_on.set()
        assert read_exactly(s, 1) == b"y"


def test_half_a_character_is_continued(unit):
    daemon = unit.start('reply = "echo"; address = "127.0.0.1";')
    with daemon.connect() as s:
        s.sendall(b"ab\xf0\x9f")
        assert read_exactly(s, 2) == b"ab"
        after = unit.again(daemon)
        s.sendall(b"\x98\x80!")
        assert read_exactly(s, 5) == "😀!".encode()
        after = unit.again(after)
        s.sendall(b"\xff")
        # the offset counts from the start of the connection
        assert read_to_end(s) == b"\nNAK 7 invalid start byte\n"


@pytest.mark.parametrize("reply", ["ack", "echo", "discard"])
def test_half_a_line_is_continued(unit, reply):
    daemon = unit.start(
        f'framing = "line"; reply = "{reply}"; ack_prefix = "${{message}} ${{bytes}}:";'
        ' address = "127.0.0.1";'
    )

    def replied(text):
        return b"" if reply == "discard" else text

    prefix = (lambda n, m: b"%d %d:" % (n, m)) if reply == "ack" else (lambda n, m: b"")
    with daemon.connect() as s:
        s.sendall(b"one\nha\xc3")
        expected = replied(prefix(1, 3) + b"one\n")
        assert read_exactly(s, len(expected)) == expected
        daemon = unit.again(daemon)
        s.sendall(b"\xa4lf\r")
        daemon = unit.again(daemon)
        s.sendall(b"\nx\xff skipped ")
        expected = replied(prefix(2, 6) + b"ha\xc3\xa4lf\r\n") + b"NAK 13 invalid start byte\n"
        assert read_exactly(s, len(expected)) == expected
        daemon = unit.again(daemon)
        s.sendall(b"\xff still\nlast")
        s.shutdown(socket.SHUT_WR)
        assert read_to_end(s) == replied(prefix(4, 4) + b"last")


@pytest.mark.parametrize("first", [0, 1])
def test_32_bit_and_64_bit_programs_continue_each_other(unit, monkeypatch, first):
    """An upgrade from i386 to x86-64, and one back."""
    builds = [build_directory(), build_directory().parent / "gcc"]
    if builds[0].name != "cross-i386" or not (builds[1] / "src/ackd/ackd").exists():
        pytest.skip("only with the builds for i386 and x86-64 of tests/run")
    monkeypatch.setenv("ACKD_BUILD", str(builds[first]))
    daemon = unit.start('framing = "line"; ack_prefix = "${message} ${bytes} ";')
    with daemon.connect() as s:
        s.sendall(b"one\nhalf")
        assert read_exactly(s, 8) == b"1 3 one\n"
        monkeypatch.setenv("ACKD_BUILD", str(builds[1 - first]))
        daemon = unit.again(daemon)
        s.sendall(b" a line\n")
        assert read_exactly(s, 17) == b"2 11 half a line\n"
        assert numbers(daemon) == (1, 1, 0)


def test_signals_during_a_barrier_are_harmless(unit):
    """Such as SIGTERM, which systemd sends immediately after the request to hand over."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    interrupted = []

    def interrupt(pid):
        if interrupted and interrupted[-1] == pid:
            interrupted.append(None)  # once per wait
            return
        wait_until(lambda: status(pid, "State") == "S", "the daemon to wait")
        send_signal(pid, signal.SIGUSR1)
        interrupted.append(pid)

    with daemon.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"
        unit.at_barrier = interrupt
        after = unit.again(daemon, signals=("USR2",))
        s.sendall(b"y")
        assert read_exactly(s, 1) == b"y"
        assert (interrupted.count(daemon.pid), interrupted.count(after.pid)) == (1, 1)
        assert not re.search("^error ", daemon.log + "\n" + after.log, re.M)


def test_unread_replies_and_unanswered_input_are_kept(unit):
    daemon = unit.start('framing = "line"; ack_prefix = "${message}:"; address = "127.0.0.1";')
    with daemon.connect(receive_buffer=4096) as s:
        sent = daemon.fill(s, b"0123456789abcdef\n", quiet=1.0)
        daemon = unit.again(daemon)
        daemon = unit.again(daemon)
        s.shutdown(socket.SHUT_WR)
        got = read_to_end(s)
    n, rest = divmod(sent, 17)
    expected = b"".join(b"%d:0123456789abcdef\n" % i for i in range(1, n + 1))
    if rest:
        expected += b"%d:" % (n + 1) + b"0123456789abcdef\n"[:rest]
    assert got == expected


def test_half_closed_connection_keeps_unread_replies(unit):
    data = b"".join(b"%d\n" % i for i in range(200000))
    daemon = unit.start('reply = "echo"; address = "127.0.0.1"; encoding = { errors = "replace"; };')
    with daemon.connect(receive_buffer=4096) as s:
        done = threading.Event()

        def send():
            s.sendall(data + b"\xe2\x82")
            s.shutdown(socket.SHUT_WR)
            done.set()

        threading.Thread(target=send, daemon=True).start()
        got = read_exactly(s, 1000)
        daemon = unit.again(daemon)
        got += read_exactly(s, 1000)
        daemon = unit.again(daemon)
        got += read_to_end(s)
        assert done.wait(SOON)
    assert got == data + "\ufffd".encode()


def test_half_sent_expanding_message_is_completed(unit):
    daemon = unit.start(
        'encoding = { errors = "replace"; reply_charset = "ascii";'
        ' reply_errors = "xmlcharrefreplace"; }; framing = "line"; address = "127.0.0.1";'
        ' reply = "echo"; limits = { max_line = "8MiB"; };'
    )
    line = b"\xff" * (4 << 20) + b"\n"
    with daemon.connect(receive_buffer=4096) as s:
        s.sendall(line)
        got = read_exactly(s, 10)  # the reply has begun
        daemon = unit.again(daemon)
        s.sendall(b"next\n")
        s.shutdown(socket.SHUT_WR)
        got += read_to_end(s, timeout=120)
    assert got == b"&#65533;" * (4 << 20) + b"\nnext\n"


def test_reply_beyond_the_budget_closes_its_connection_only(unit):
    """The rest of the reply does not fit into the state; other connections are kept."""
    daemon = unit.start(
        'encoding = { errors = "replace"; reply_charset = "ascii";'
        ' reply_errors = "xmlcharrefreplace"; }; framing = "line"; address = "127.0.0.1";'
        ' reply = "echo"; workers = 1; limits = { max_line = "2MiB"; max_memory = "9MiB"; };'
    )
    with daemon.connect(receive_buffer=4096) as s, daemon.connect() as other:
        s.sendall(b"\xff" * (2 << 20) + b"\n")
        read_exactly(s, 10)  # the reply of 16 MiB has begun
        other.sendall(b"half of ")
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        assert "handed over 1 connection" in daemon.log
        assert "1 connection lost, because there was no room: limits.max_memory" in daemon.log
        daemon = unit.start(daemon.config_path.read_text())
        other.sendall(b"a line\n")
        assert read_exactly(other, 15) == b"half of a line\n"
        assert len(read_to_end(s, timeout=60)) < 8 * (2 << 20)


def test_client_survives_many_restarts(unit):
    """The client sends and checks without pause; a restart can cut any message."""
    daemon = unit.start(
        'framing = "line"; reply = "echo"; address = "127.0.0.1";'
        ' greeting = "${connection} hello\\n";'
    )
    rng = random.Random(1)
    lines = "".join(
        "".join(rng.choice("aé€😀 ") for _ in range(rng.randrange(200))) + "\n"
        for _ in range(4000)
    ).encode()
    stop = threading.Event()
    failures = []
    rounds = []

    def client():
        try:
            with daemon.connect() as s:
                assert read_exactly(s, 8) == b"1 hello\n"
                while not stop.is_set():
                    at = 0
                    while at < len(lines):
                        n = rng.randrange(1, 3000)
                        s.sendall(lines[at : at + n])
                        at += n
                        whole = lines.rfind(b"\n", 0, at) + 1
                        before = lines.rfind(b"\n", 0, at - n) + 1 if at > n else 0
                        assert read_exactly(s, whole - before) == lines[before:whole]
                    rounds.append(1)
                s.shutdown(socket.SHUT_WR)
                assert read_to_end(s) == b""
        except BaseException as e:
            failures.append(e)
            raise

    thread = threading.Thread(target=client)
    thread.start()
    for _ in range(20):
        daemon = unit.again(daemon)
        if failures:
            break
    stop.set()
    thread.join(SOON)
    assert not failures
    assert rounds


def test_urgent_data_after_a_restart_is_kept(unit):
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    with accepted(daemon, b"x") as s:
        # the state left by a process without the option
        with daemon.socket_of(s) as theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)
        unit.again(daemon)
        s.sendall(b"a")
        s.send(b"b", socket.MSG_OOB)
        s.sendall(b"c")
        assert read_exactly(s, 3) == b"abc"


def test_many_connections_are_kept(unit):
    n = 2000
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 3;')
    sockets = [daemon.connect() for _ in range(n)]
    try:
        for i, s in enumerate(sockets):
            s.sendall(b"%d\xc3" % i)
        for s in sockets:  # connections that wait to be accepted are not handed over
            assert s.recv(1, socket.MSG_PEEK)
        daemon = unit.again(daemon, daemon.config_path.read_text().replace("3", "2"))
        restored = daemon.wait_for(r"taking over (\d+) connections?")
        assert int(restored[1]) == n
        for i, s in enumerate(sockets):
            s.sendall(b"\xa4")
        for i, s in enumerate(sockets):
            expected = b"%d\xc3\xa4" % i
            assert read_exactly(s, len(expected)) == expected
    finally:
        for s in sockets:
            s.close()


def test_unaccepted_connections_are_kept(unit):
    """The queues of all listening sockets are kept."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 3;')
    with Frozen(daemon):
        daemon.signal(signal.SIGUSR2)
        sockets = [daemon.connect() for _ in range(100)]
        for i, s in enumerate(sockets):
            s.sendall(b"%d" % i)
    unit.again(daemon, daemon.config_path.read_text().replace("3", "2"))
    for i, s in enumerate(sockets):
        with s:
            s.shutdown(socket.SHUT_WR)
            assert read_to_end(s) == b"%d" % i


def test_unix_and_several_listeners_are_kept(unit, directory):
    config = f"""listeners = (
        {{ name = "a"; address = "127.0.0.1"; port = 0; reply = "echo"; }},
        {{ name = "b"; path = "{directory}/b.sock"; }});"""
    daemon = unit.start(config, arguments=())
    with daemon.connect("a") as a, daemon.connect("b") as b:
        b.sendall(b"x\xe2")
        assert read_exactly(b, 5) == b"Got x"
        port = daemon.address("a").port
        daemon = unit.again(daemon)
        assert daemon.address("a").port == port
        a.sendall(b"hi")
        assert read_exactly(a, 2) == b"hi"
        b.sendall(b"\x82\xac")
        assert read_exactly(b, 7) == b"Got \xe2\x82\xac"
        assert daemon.exchange(b"new", "b") == b"Got new"


def test_connects_wait_while_no_process_runs(unit):
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    address = daemon.address()
    daemon.kill()  # a crash: the listening sockets are in the store
    with address.connect() as s:
        s.sendall(b"are you there?")
        unit.start('address = "127.0.0.1"; reply = "echo";')
        s.shutdown(socket.SHUT_WR)
        assert read_to_end(s) == b"are you there?"


def test_connects_to_a_path_wait_while_no_process_runs(unit, directory):
    """The file belongs to the stored socket, after a restart as after a crash."""
    daemon = unit.start(f'path = "{directory}/s"; reply = "echo";', arguments=())
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    address, inode = daemon.address(), os.stat(f"{directory}/s").st_ino
    for end in signal.SIGUSR2, signal.SIGKILL:
        daemon.signal(end)
        daemon.wait()
        with address.connect() as s:
            s.sendall(b"are you there?")
            daemon = unit.start(daemon.config_path.read_text(), arguments=())
            s.shutdown(socket.SHUT_WR)
            assert read_to_end(s) == b"are you there?"
    assert os.stat(f"{directory}/s").st_ino == inode
    wait_until(lambda: unit.names() == ["ackd-listen.ackd"], "one socket in the store")
    daemon.stop()  # without a restart
    assert not os.path.exists(f"{directory}/s")


def test_connects_to_an_abstract_socket_wait_while_no_process_runs(unit, directory):
    daemon = unit.start(f'path = "@{directory}"; reply = "echo";', arguments=())
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    for end in signal.SIGUSR2, signal.SIGKILL:
        daemon.signal(end)
        daemon.wait()
        with daemon.address().connect() as s:
            s.sendall(b"are you there?")
            daemon = unit.start(daemon.config_path.read_text(), arguments=())
            s.shutdown(socket.SHUT_WR)
            assert read_to_end(s) == b"are you there?"
    wait_until(lambda: unit.names() == ["ackd-listen.ackd"], "one socket in the store")


def test_workers_share_sockets_if_the_store_is_small(unit):
    """Workers share sockets, so that no client is refused."""
    unit.store_max = 9
    daemon = unit.start('address = "localhost"; reply = "echo"; workers = 8;')
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    assert unit.names() == ["ackd-listen.ackd"] * 8  # four per address, and room for a hand-over
    assert "a restart closes" not in daemon.log
    addresses = daemon.addresses()
    assert len(addresses) == 2
    for address in addresses:
        kept = [address.connect() for _ in range(32)]
        for s in kept:
            s.sendall(b"x")
            assert read_exactly(s, 1) == b"x"
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        with address.connect() as late:
            daemon = unit.start(daemon.config_path.read_text())
            for s in late, *kept:
                s.sendall(b"y")
                assert read_exactly(s, 1) == b"y"
                s.close()


@pytest.mark.parametrize("states_max", [False, True], ids=["limit unknown", "limit stated"])
@pytest.mark.parametrize("store_max", range(8))
def test_any_store_size_keeps_or_reports(unit, store_max, states_max):
    """Connections and sockets are kept, or their orderly end is reported."""
    unit.store_max, unit.states_max = store_max, states_max
    daemon = unit.start('address = "localhost"; reply = "echo"; workers = 2;')
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    n_addresses = len(daemon.addresses())
    assert n_addresses == 2
    per_address = min(2, max(1, (store_max - 1) // 2))
    n_stored = min(2, max(0, store_max - 1) // per_address) * per_address
    assert unit.names() == ["ackd-listen.ackd"] * n_stored
    said = daemon.log.count("a restart closes the listening sockets")
    assert said == (2 - n_stored // per_address if store_max or not states_max else 2)
    sockets = [address.connect() for address in daemon.addresses() for _ in range(5)]
    for s in sockets:
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"
    daemon = unit.again(daemon)
    log = unit.daemons[-2].log
    for s in sockets:
        if store_max == 0:
            assert read_to_end(s) == b""
        else:
            s.sendall(b"y")
            assert read_exactly(s, 1) == b"y"
        s.close()
    assert ("handed over 10 connections" in log) == (store_max > 0)
    assert ("draining connections instead of handing them over: the service manager's store "
            "has no room" in log) == (store_max == 0)
    assert ("taking over 10 connections" in daemon.log) == (store_max > 0)


def test_reduced_store_is_reported(unit):
    """The store size changes after the start, as by an edit of the unit and daemon-reload."""
    unit.states_max = True
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 1;')
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    unit.store_max = 1
    with accepted(daemon, b"x") as s:
        daemon.signal(signal.SIGUSR2)
        daemon.wait_for("draining connections instead of handing them over: .*has no room")
        assert read_to_end(s) == b""
    assert daemon.wait() == 0
    assert unit.names() == ["ackd-listen.ackd"]


def test_store_lost_during_the_hand_over_is_reported(unit, faults):
    """The log does not state that connections were handed over."""
    unit.environment.update(faults.environment())
    daemon = unit.start('address = "127.0.0.1"; workers = 1;')
    with accepted(daemon):
        faults.delay_us = 20_000
        before = faults.accept_calls
        clients = [daemon.connect() for _ in range(300)]
        wait_until(lambda: faults.accept_calls > before, "the worker to be busy")
        daemon.signal(signal.SIGUSR2)
        wait_until(lambda: "ackd-handover" in unit.names(), "the queue in the store")
        unit.drop("ackd-handover")
        faults.delay_us = 0
        assert daemon.wait() == 0
        for s in clients:
            s.close()
    assert re.search("error handover: .* connections? lost: the service manager has dropped", daemon.log)
    assert "handed over" not in daemon.log


def test_descriptors_of_the_store_probe_are_ignored(unit):
    """A killed process leaves descriptors of its probe of the store; they are no passed sockets."""
    unit.store.append(("ackd-probe", os.open("/dev/null", os.O_RDONLY)))
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 1;')
    assert daemon.exchange(b"x") == b"x"
    wait_until(lambda: unit.names() == ["ackd-listen.ackd"], "the socket alone in the store")


def test_more_sockets_than_fit_into_one_message_are_stored(unit):
    """One message holds at most 253 descriptors."""
    unit.store_max = 1000
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 260;')
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    assert unit.names() == ["ackd-listen.ackd"] * 260
    assert "a restart closes" not in daemon.log
    daemon = unit.again(daemon)
    assert daemon.exchange(b"up") == b"up"
    assert len(unit.names()) == 260


def test_connections_of_an_unstored_socket_are_kept(unit, faults):
    """Closing the socket would reset connections in its queue, so they are accepted and handed over."""
    unit.environment.update(faults.environment())
    unit.store_max = 1
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 1;')
    faults.delay_us = 2_000
    with Frozen(daemon):
        daemon.signal(signal.SIGUSR2)
        sockets = [daemon.connect() for _ in range(200)]  # a turn of the loop accepts 64
        for s in sockets:
            s.sendall(b"x")
    daemon = unit.again(daemon)
    faults.delay_us = 0
    for s in sockets:
        assert read_exactly(s, 1) == b"x"
        s.close()


@pytest.mark.parametrize("whose", ["a listener's", "the metrics'"])
def test_failed_start_loses_nothing(unit, directory, config_file, whose):
    """A port is in use. The next start finds the sockets and connections in the store."""
    if whose == "the metrics'" and not is_built(config_file):
        pytest.skip("this ackd has no metrics")

    def config(port):
        ports = (port, 0) if whose == "a listener's" else (0, port)
        metrics = f' metrics = {{ port = {ports[1]}; }};' if ports[1] else ""
        return (f'reply = "echo"; listeners = ( {{ name = "path"; path = "{directory}/s"; }},'
                f' {{ name = "port"; address = "127.0.0.1"; port = {ports[0]}; }} );' + metrics)

    daemon = unit.start(config(0), arguments=())
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    with daemon.connect("path") as kept, socket.create_server(("127.0.0.1", 0)) as taken:
        kept.sendall(b"a")
        assert read_exactly(kept, 1) == b"a"
        path, port = daemon.address("path"), taken.getsockname()[1]
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        for _ in range(2):
            failed = unit.start(config(port), arguments=(), ready=False)
            assert failed.wait() == 69
        with path.connect() as waiting:
            waiting.sendall(b"x")
            taken.close()
            daemon = unit.start(config(port), arguments=())
            assert read_exactly(waiting, 1) == b"x"
        kept.sendall(b"b")
        assert read_exactly(kept, 1) == b"b"
    # the manager may read it after the clients have their answers
    wait_until(lambda: set(unit.names()) == {"ackd-listen.path", "ackd-listen.port"},
               "both sockets in the store")


def test_stored_socket_without_its_file_is_replaced(unit, directory):
    """The socket is unreachable, so it is removed from the store and replaced."""
    daemon = unit.start(f'path = "{directory}/s"; reply = "echo";', arguments=())
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    for _ in range(3):
        os.unlink(f"{directory}/s")
        daemon = unit.again(daemon)
        daemon.wait_for("not usable: no such file")
        assert daemon.exchange(b"x") == b"x"
    wait_until(lambda: unit.names() == ["ackd-listen.ackd"], "one socket in the store")


def test_file_of_another_service_is_kept(unit, directory):
    """Another service has created its socket at the path, which stays unchanged."""
    path = f"{directory}/s"
    daemon = unit.start(f'path = "{path}"; mode = "0666";', arguments=())
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    daemon.signal(signal.SIGUSR2)
    daemon.wait()
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        os.chmod(path, 0o600)
        other.listen()
        daemon = unit.start(daemon.config_path.read_text(), ready=False, arguments=())
        assert daemon.wait() == 69
        assert f"{path}: address already in use" in daemon.log
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    wait_until(lambda: "ackd-listen.ackd" not in unit.names(), "the socket to leave the store")


def test_stored_socket_of_an_older_version_serves(unit, directory):
    """The socket serves; its file may belong to another service, so ackd does not change or remove it."""
    path = f"{directory}/s"
    daemon = unit.start(f'path = "{path}"; mode = "0600";', arguments=())
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    daemon.signal(signal.SIGUSR2)
    daemon.wait()
    unit.store = [(name.partition("/")[0], fd) for name, fd in unit.store]
    daemon = unit.start(f'path = "{path}"; mode = "0666";', arguments=())
    assert daemon.exchange(b"x") == b"Got x"
    daemon.stop()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_connections_of_a_removed_listener_are_closed(unit):
    daemon = unit.start('address = "127.0.0.1"; name = "old";')
    with accepted(daemon) as s:
        daemon = unit.again(daemon, 'address = "127.0.0.1"; name = "new";')
        assert read_to_end(s) == b""
        daemon.wait_for(r"old: connection 1 from .* closed: the listener is no longer in")


def test_stored_sockets_of_a_removed_listener_are_closed(unit):
    """No listener remains for its stored sockets."""
    listener = '{ name = "%s"; address = "127.0.0.1"; port = 0; reply = "echo"; }'
    stays, goes = listener % "stays", listener % "goes"
    daemon = unit.start(f"listeners = ( {stays}, {goes} );", arguments=())
    with daemon.connect("stays") as kept, daemon.connect("goes") as lost:
        for s in kept, lost:
            s.sendall(b"x")
            assert read_exactly(s, 1) == b"x"
        daemon = unit.again(daemon, f"listeners = ( {stays} );")
        assert read_to_end(lost) == b""
        kept.sendall(b"y")
        assert read_exactly(kept, 1) == b"y"


def test_line_state_does_not_survive_stream_framing(unit):
    """The rest of a rejected line is not skipped after a restart with stream framing in between."""

    def config(framing):
        return f'address = "127.0.0.1"; reply = "echo"; framing = "{framing}";'

    daemon = unit.start(config("line"))
    with daemon.connect() as s:
        s.sendall(b"\xff refused")
        assert read_exactly(s, 25) == b"NAK 0 invalid start byte\n"
        daemon = unit.again(daemon, config("stream"))
        s.sendall(b"abc")
        assert read_exactly(s, 3) == b"abc"
        daemon = unit.again(daemon, config("line"))
        s.sendall(b"d\nx\n")
        s.shutdown(socket.SHUT_WR)
        assert read_to_end(s) == b"d\nx\n"


def test_timeouts_of_the_kernel_are_updated(unit):
    """An old TCP_USER_TIMEOUT would end a client that does not read before idle_timeout."""

    def config(seconds):
        return (
            f'address = "127.0.0.1"; limits = {{ idle_timeout = {seconds}; }};'
            f" keepalive = {seconds // 10};"
        )

    daemon = unit.start(config(60))
    with accepted(daemon):
        daemon = unit.again(daemon, config(600))
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        timeouts = []
        with socket.socket(fileno=os.dup(queue_of(unit))) as queue:
            segment, *fds = socket.recv_fds(queue, 1, 253, socket.MSG_PEEK)[1]
        os.close(segment)
        for fd in fds:
            with socket.socket(fileno=fd) as s:
                timeouts.append(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
                timeouts.append(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
        assert timeouts == [600_000, 60]


def test_both_stored_addresses_of_a_removed_listener_are_closed(unit):
    """The sockets have the same name in the store; both are removed and closed."""
    listeners = [f'{{ name = "{name}"; port = {free_port()}; }}' for name in ("stays", "goes")]
    daemon = unit.start(f"listeners = ( {', '.join(listeners)} );", arguments=())
    goes = [a for a in daemon.addresses("goes")]
    daemon = unit.again(daemon, f"listeners = ( {listeners[0]} );")
    wait_until(lambda: set(unit.names()) == {"ackd-listen.stays"}, "the sockets out of the store")
    assert daemon.exchange(b"x", "stays") == b"Got x"
    for address in goes:
        with pytest.raises(ConnectionRefusedError):
            address.connect()


def test_access_lists_apply_to_restored_connections(unit):
    daemon = unit.start('address = "127.0.0.1";')
    with accepted(daemon) as s:
        daemon = unit.again(daemon, 'address = "127.0.0.1"; deny = ["127.0.0.0/8"];')
        assert read_to_end(s) == b""
        daemon.wait_for("refused: denied")


def test_keep_connections_false_closes_connections(unit):
    daemon = unit.start('address = "127.0.0.1"; keep_connections = false; reply = "echo";')
    with daemon.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"
        unit.again(daemon)
        assert read_to_end(s) == b""


@pytest.mark.parametrize("store_max", [64, 0])
def test_replies_are_delivered_without_hand_over(unit, directory, store_max):
    """The SIGTERM that follows in a restart does not shorten the drain."""
    unit.store_max = store_max
    prefix = "p" * 1000
    daemon = unit.start(f'path = "{directory}/s"; framing = "line"; ack_prefix = "{prefix}";'
                        f' keep_connections = {"false" if store_max else "true"};', arguments=())
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    with daemon.connect() as s:
        s.sendall(b"x\n" * 4000)
        got = read_exactly(s, 1002)
        daemon.signal(signal.SIGUSR2)
        daemon.wait_for("draining 1 connection,")
        send_signal(daemon.pid, signal.SIGTERM)
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for(" messages, 0 NAKs")  # the daemon has handled the earlier signal by then
        got += read_to_end(s)
    assert len(got) == 1002 * 4000
    assert daemon.wait() == 0
    # New connections are refused only without a store.
    assert os.path.exists(f"{directory}/s") == bool(store_max)
    daemon = unit.start(daemon.config_path.read_text(), arguments=())
    assert daemon.exchange(b"y\n") == prefix.encode() + b"y\n"
    wait_until(lambda: len(unit.names()) == bool(store_max), "the socket to be stored")


def test_second_sigterm_ends_the_drain(unit):
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; keep_connections = false;'
                        " limits = { drain_timeout = 600; };")
    with daemon.connect(receive_buffer=4096) as s:
        daemon.fill(s, b"x" * 4096, quiet=0.5)
        for number in signal.SIGUSR2, signal.SIGTERM, signal.SIGUSR1:
            send_signal(daemon.pid, number)
        daemon.wait_for(" messages, 0 NAKs")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


@pytest.mark.parametrize("address", ["", "/nonexistent", "nonsense"])
def test_store_without_a_manager_drains(unit, address):
    """With $FDSTORE but without a service manager, no process would keep the state."""
    unit.environment["NOTIFY_SOCKET"] = address
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    with daemon.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"
        daemon.signal(signal.SIGUSR2)
        daemon.wait_for("draining 1 connection,")
        assert read_to_end(s) == b""
    assert daemon.wait() == 0


def test_connections_without_room_are_reported(unit, faults):
    """Connections that cannot be queued are closed, and their number is logged."""
    unit.environment.update(faults.environment())
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 1;')
    sockets = [daemon.connect() for _ in range(3)]
    for s in sockets:
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"

    def fail(pid):
        faults.pass_errno = errno.ETOOMANYREFS

    unit.at_barrier = fail  # the state is in the queue by then
    daemon.signal(signal.SIGUSR2)
    assert daemon.wait() == 0
    assert "handed over 0 connections" in daemon.log
    assert "3 connections lost, because there was no room: Too many references" in daemon.log
    for s in sockets:
        assert read_to_end(s) == b""
        s.close()


def test_out_of_memory_loses_only_connections_without_room(unit, faults):
    """A failed allocation costs a connection only if its state has no room; counters are dropped first."""
    unit.environment.update(faults.environment())
    for n in itertools.count(1):
        faults.alloc_fail = 0
        daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 1;')
        faults.alloc_calls = 0  # earlier calls include those of the wrapper
        with accepted(daemon, b"x") as s:
            needs_allocations(faults, daemon)
            faults.alloc_calls = faults.alloc_outcome = 0
            faults.alloc_fail = n
            daemon.signal(signal.SIGUSR2)
            assert daemon.wait() == 0
            faults.alloc_fail = 0
            after = unit.start(daemon.config_path.read_text())
            if "there was no room" in daemon.log:
                assert read_to_end(s) == b""
            else:
                s.sendall(b"y")
                assert read_exactly(s, 1) == b"y", daemon.log
        after.signal(signal.SIGTERM)
        assert after.wait() == 0
        if faults.alloc_outcome == 0:
            assert n > 2
            return


def queue_of(unit):
    """Returns the handed-over messages, each with a segment and its connections."""
    return next(fd for name, fd in unit.store if name == "ackd-handover")


def edit_queue(unit, edit):
    """Replaces the messages in the queue by the result of edit()."""
    ours, theirs = socket.socketpair()
    with ours, socket.socket(fileno=queue_of(unit)) as queue:
        queue.setblocking(False)
        messages = []
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(queue, 1, 253)
            except BlockingIOError:
                break
            if not data:
                break
            messages.append(fds)
        for fds in edit(messages):
            socket.send_fds(ours, [b"x"], fds)
        for fd in itertools.chain(*messages):
            os.close(fd)
    unit.store = [(name, fd) for name, fd in unit.store if name != "ackd-handover"]
    unit.store.append(("ackd-handover", theirs.detach()))


def damage_state(unit, how):
    """Replaces the first segment of the state by another memfd."""

    def edit(messages):
        fds = messages[0]
        segment = bytearray(os.pread(fds[0], os.fstat(fds[0]).st_size, 0))
        how(segment)
        os.close(fds[0])
        fds[0] = os.memfd_create("damaged", os.MFD_ALLOW_SEALING)
        os.write(fds[0], segment)
        fcntl.fcntl(fds[0], 1033, 31)  # F_ADD_SEALS: all
        return messages

    edit_queue(unit, edit)


def flip(data):
    data[len(data) // 2] ^= 1


def other_version(data):
    data[8] += 1


def cut(data):
    del data[-1:]


def nothing(data):
    del data[1:]


@pytest.mark.parametrize(
    "how,why",
    [
        (flip, "1 handed-over connection lost: their state is damaged"),
        (cut, "1 handed-over connection lost: their state is damaged"),
        (nothing, "1 handed-over connection lost: their state is damaged"),
        (other_version, "handed over are lost: their state is of another version"),
    ],
)
def test_unknown_state_closes_all_connections(unit, how, why):
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    with daemon.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        damage_state(unit, how)
        daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
        daemon.wait_for(why)
        # closed, possibly by a reset, and not left open
        try:
            assert read_to_end(s) == b""
        except ConnectionResetError:
            pass
        assert daemon.exchange(b"service is up") == b"service is up"
    assert "ackd-handover" not in unit.names()


def test_damaged_segment_costs_only_its_connections(unit):
    """Only the connections in the segment are closed."""
    n = 300
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 1;')
    sockets = [accepted(daemon, b"x") for _ in range(n)]
    daemon.signal(signal.SIGUSR2)
    assert daemon.wait() == 0
    damage_state(unit, flip)
    daemon = unit.start(daemon.config_path.read_text())
    lost = int(daemon.wait_for(r"(\d+) handed-over connections lost: .* damaged")[1])
    daemon.wait_for(f"taking over {n - lost} connections")
    assert 0 < lost < n
    survivors = 0
    for s in sockets:
        with s:
            try:
                s.sendall(b"y")
                survivors += s.recv(1) == b"y"
            except (ConnectionResetError, BrokenPipeError):
                pass
    assert survivors == n - lost


@pytest.mark.parametrize("n", [300, 900])
def test_connections_above_a_lower_descriptor_limit_are_closed(unit, n):
    """Connections within the limit are kept; the rest is closed, and the log states the reason."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; workers = 2;')
    sockets = [accepted(daemon, b"x") for _ in range(n)]
    unit.environment["LIMIT_NOFILE"] = "400"
    daemon = unit.again(daemon)
    closed, of, room = map(int, daemon.wait_for(
        r"(\d+) of (\d+) connections closed: the descriptor limit .* has room for (\d+)").groups())
    assert of == n and closed == n - room and 100 < room < 400
    daemon.wait_for(f"taking over {room} connections")
    daemon.wait_for(r"warning restore: ackd: connection \d+ from .* closed: the descriptor limit")
    survivors = 0
    for s in sockets:
        with s:
            try:
                s.sendall(b"y")
                survivors += s.recv(1) == b"y"
            except (ConnectionResetError, BrokenPipeError):
                pass
    assert survivors == room
    assert "Unknown system error" not in daemon.log
    wait_until(lambda: numbers(daemon)[:2] == (0, n), "the counters of all connections")


def first_version(unit):
    """Stores a state as the first version did: a memfd next to the queue."""
    unit.store.append(("ackd-handover", os.memfd_create("state")))


def test_state_of_the_first_version_is_rejected(unit):
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    with accepted(daemon, b"x") as s:
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        first_version(unit)
        daemon = unit.start(daemon.config_path.read_text())
        daemon.wait_for("handed over are lost: their state is of another version")
        assert read_to_end(s) == b""


def test_state_without_an_end_is_used(unit):
    """The existing connections are taken over, and the numbers of connections continue."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo"; greeting = "${connection} ";')
    with accepted(daemon, b"1 x") as s:
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        edit_queue(unit, lambda messages: messages[:-1])  # as if the process had died
        daemon = unit.start(daemon.config_path.read_text())
        daemon.wait_for("the end of the state that was handed over is missing")
        s.sendall(b"y")
        assert read_exactly(s, 1) == b"y"
        assert daemon.exchange(b"z") == b"2 z"


def test_state_is_removed_from_the_store_before_use(unit):
    """The state is removed before it is read, so a state that crashes the process does not return."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    with daemon.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"
        daemon = unit.again(daemon)
        daemon.kill()
        assert "ackd-handover" not in unit.names()
        try:
            assert read_to_end(s) == b""
        except ConnectionResetError:
            pass
        daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
        assert daemon.exchange(b"up") == b"up"


def test_signal_during_the_start_drains_connections(unit):
    """Connections that were taken over are drained, as after the start."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    with accepted(daemon, b"x") as s:
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        s.sendall(b"y")
        signalled = []

        def interrupt(pid):
            if not signalled:
                signalled.append(pid)
                os.kill(pid, signal.SIGTERM)

        unit.at_barrier = interrupt
        after = unit.start(daemon.config_path.read_text(), ready=False)
        assert after.wait() == 0
        assert signalled == [after.pid]
        assert read_to_end(s) == b"y"


def test_unread_state_stays_in_the_store(unit):
    """A state that was not read stays in the store for the next start."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    with accepted(daemon, b"x") as s:
        daemon.signal(signal.SIGUSR2)
        assert daemon.wait() == 0
        signalled = []

        def interrupt(pid):  # while the daemon probes the room of the store
            if not signalled:
                signalled.append(pid)
                assert "ackd-handover" in unit.names()
                os.kill(pid, signal.SIGTERM)

        unit.at_barrier = interrupt
        config = 'reply = "echo"; listeners = ( { name = "ackd"; port = 0; }, { name = "b"; port = 0; } );'
        after = unit.start(config, ready=False, arguments=())
        assert after.wait() == 0
        assert signalled == [after.pid]
        assert "taking over" not in after.log
        assert "ackd-handover" in unit.names()
        unit.at_barrier = None
        unit.start(config, arguments=())
        s.sendall(b"y")
        assert read_exactly(s, 1) == b"y"


@pytest.mark.parametrize("file", ["ackd.conf", "included.conf"])
def test_unreadable_configuration_drains(unit, directory, file):
    """The next process would not start, so open connections are answered and closed."""
    included = f"{directory}/included.conf"
    with open(included, "w", encoding="ascii") as f:
        f.write('reply = "echo";')
    daemon = unit.start('@include "included.conf"\naddress = "127.0.0.1";')
    with accepted(daemon, b"x") as s:
        os.unlink(f"{directory}/{file}")
        daemon.signal(signal.SIGUSR2)
        daemon.wait_for("error handover: .*cannot read.*No such file")
        daemon.wait_for("connections are not handed over: the next process could not read")
        daemon.wait_for("draining 1 connection,")
        assert read_to_end(s) == b""
    assert daemon.wait() == 0
    assert "ackd-handover" not in unit.names()


def test_configuration_from_a_pipe_drains(unit, directory):
    """The next process could block forever, waiting for a writer."""
    daemon = unit.start('reply = "echo"; address = "127.0.0.1";')
    with accepted(daemon, b"x") as s:
        os.unlink(daemon.config_path)
        os.mkfifo(daemon.config_path)
        daemon.signal(signal.SIGUSR2)
        daemon.wait_for("connections are not handed over: the next process could not read")
        assert read_to_end(s) == b""
    assert daemon.wait() == 0


def test_connection_numbers_continue(unit):
    daemon = unit.start('address = "127.0.0.1"; greeting = "${connection}\\n"; reply = "echo";')
    with daemon.connect() as first:
        assert read_exactly(first, 2) == b"1\n"
        daemon = unit.again(daemon)
        assert daemon.exchange(b"") == b"2\n"


def test_half_a_proxy_header_is_continued(unit):
    daemon = unit.start(
        'workers = 1; address = "127.0.0.1"; proxies = ["127.0.0.0/8"]; greeting = "${peer}\\n";'
    )
    with daemon.connect() as s:
        s.sendall(b"PROXY TCP4 192.0.2.1 ")
        with daemon.connect() as other:  # when served, the daemon has read the bytes of the first
            other.sendall(b"PROXY UNKNOWN\r\n")
            assert read_exactly(other, 10) == b"127.0.0.1:"
            daemon = unit.again(daemon)
        s.sendall(b"192.0.2.2 1234 80\r\nhi")
        s.shutdown(socket.SHUT_WR)
        assert read_to_end(s) == b"192.0.2.1:1234\nGot hi"


def test_id_and_authority_of_a_proxy_header_are_kept(unit):
    """Templates have the ID and the authority after two restarts."""
    daemon = unit.start(
        'address = "127.0.0.1"; proxies = ["127.0.0.1"]; framing = "line";'
        ' ack_prefix = "${proxy_id}|${authority}|${peer}|";'
    )
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"
    addresses = bytes([192, 0, 2, 7, 192, 0, 2, 1, 1, 2, 3, 4])
    named = addresses + b"\x05\0\4id-1\x02\0\x0bexample.org"
    with daemon.connect() as one, daemon.connect() as two, daemon.connect() as half:
        clients = ((one, named, b"id-1|example.org"), (two, addresses, b"|"))
        for s, fields, names in clients:
            s.sendall(header + bytes([len(fields)]) + fields + b"x\n")
            expected = names + b"|192.0.2.7:258|x\n"
            assert read_exactly(s, len(expected)) == expected
        half.sendall(header + bytes([len(named)]) + named[:25])
        for _ in range(2):
            daemon = unit.again(daemon)
            for s, _, names in clients:
                s.sendall(b"y\n")
                expected = names + b"|192.0.2.7:258|y\n"
                assert read_exactly(s, len(expected)) == expected
        half.sendall(named[25:] + b"z\n")
        expected = b"id-1|example.org|192.0.2.7:258|z\n"
        assert read_exactly(half, len(expected)) == expected


def test_removed_proxy_cannot_complete_its_header(unit):
    """Its header would otherwise let it choose the client's address."""
    config = 'workers = 1; address = "127.0.0.1"; proxies = ["%s"]; log = { level = "debug"; };'
    daemon = unit.start(config % "127.0.0.1")
    with daemon.connect() as s:
        s.sendall(b"PROXY TCP4 192.0.2.1 ")
        with daemon.connect() as other:  # when served, the daemon has read the bytes of the first
            other.sendall(b"PROXY UNKNOWN\r\nhi")
            assert read_exactly(other, 6) == b"Got hi"
            daemon = unit.again(daemon, config % "127.0.0.2")
        daemon.wait_for("refused: denied")
        assert read_to_end(s) == b""


def test_connections_survive_a_changed_address(unit):
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    port = daemon.address().port
    with accepted(daemon, b"x") as s:
        # the old socket would conflict with the new one
        daemon = unit.again(daemon, f'address = "*"; port = {port}; reply = "echo";')
        assert any(re.match(r"0\.0\.0\.0:", a.text) for a in daemon.addresses())
        s.sendall(b"still here")
        assert read_exactly(s, 10) == b"still here"


def test_sigusr2_without_a_store_drains(unit, ackd):
    daemon = ackd('address = "127.0.0.1"; reply = "echo";')
    with daemon.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"
        daemon.stop(signal.SIGUSR2)
        assert read_to_end(s) == b""


def test_stop_empties_the_store(unit):
    """Without a next process, stored sockets would accept clients that are never served."""
    daemon = unit.start('address = "127.0.0.1"; reply = "echo";')
    wait_until(lambda: unit.has_said("READY"), "READY=1")
    address = daemon.address()
    daemon.stop()
    wait_until(lambda: unit.names() == [], "an empty store")
    with pytest.raises(ConnectionRefusedError):
        address.connect()
