"""A restart keeps every connection: no data is lost, repeated or reordered, and no client is refused."""

import os
import pathlib
import re
import resource
import signal
import socket
import threading
import time

import pytest

from service import (CONFIG, PORT, Unit, connect, exchange, receive, receive_all, run, wait_until)

RESTARTS = 20
LINES = 'framing = "line"; ack_prefix = "${message} ";\n'
LOCAL = "/run/ackd/socket"

# Replaces ackd for one start: damages the handed-over state, then executes ackd.
DAMAGE = """
import fcntl, os, socket
F_SEAL_FUTURE_WRITE = 0x10
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | F_SEAL_FUTURE_WRITE

def damaged(segment):
    data = bytearray(os.pread(segment, 1 << 26, 0))
    data[len(data) // 2] ^= 1
    copy = os.memfd_create("ackd-handover", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(copy, data)
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, SEALS)
    return copy

for i, name in enumerate(os.environ["LISTEN_FDNAMES"].split(":")):
    if name != "ackd-handover":
        continue
    queue = socket.socket(fileno=3 + i)
    queue.setblocking(True)
    ours, theirs = socket.socketpair()
    while fds := socket.recv_fds(queue, 1, 253)[1]:
        segment = damaged(fds[0]) if len(fds) > 1 else fds[0]  # the last has no connections
        socket.send_fds(ours, [b"x"], [segment, *fds[1:]])
        for fd in fds:
            os.close(fd)
    os.dup2(theirs.detach(), queue.detach(), inheritable=True)
os.execv("/usr/local/sbin/ackd", ["ackd"])
"""

CRASH = """
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
        if (message->msg_controllen > 100 * sizeof(int))
                abort();
        return syscall(SYS_recvmsg, fd, message, flags);
}
"""


SLOW_LOOKUP = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **results)
{
        int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
                dlsym(RTLD_NEXT, "getaddrinfo");

        if (access("/run/slow-lookup", F_OK) == 0) {
                close(open("/run/ackd/looking-up", O_CREAT | O_WRONLY, 0600));
                sleep(3);
        }
        return next("127.0.0.1", service, hints, results);
}
"""


class Talker(threading.Thread):
    """Sends numbered lines, some of them invalid, and checks every answer.

    It pauses within lines only, so that nearly every restart finds an unfinished one.
    """

    PAUSE = 0.002

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = connect()
        self.sent_bytes = 0
        self.number = 0
        self.stopping = False
        self.error = None
        self.start()

    def send(self, data):
        self.socket.sendall(data)
        self.sent_bytes += len(data)

    def round(self):
        """Sends a line in parts and receives its answer."""
        self.number += 1
        begin = self.sent_bytes
        if self.number % 7 == 0:
            self.send(b"fault ")
            self.send(b"\xf0\x9f")
            time.sleep(self.PAUSE)
            self.send(b"X rest of the line\n")
            expected = b"NAK %d invalid continuation byte\n" % (begin + 6)
        else:
            text = f"line {self.number} 😀 ".encode() * (1 + self.number % 50)
            middle = text.index(b"\x9f")  # of a character
            self.send(text[:middle])
            time.sleep(self.PAUSE)
            self.send(text[middle:])
            self.send(b"\r\n")
            expected = b"%d %s\r\n" % (self.number, text)
        answer = receive(self.socket, len(expected))
        assert answer == expected, (answer[:200], expected[:200])

    def run(self):
        try:
            while not self.stopping:
                self.round()
        except (OSError, AssertionError) as error:
            self.error = error

    def finish(self):
        self.stopping = True
        self.join(60)
        assert not self.is_alive()
        self.socket.close()
        assert self.error is None, self.error
        return self.number


def test_traffic_continues_through_restarts(unit):
    CONFIG.write_text(LINES)
    unit.start()
    talkers = [Talker() for _ in range(4)]
    with connect() as held, connect(("::1", PORT)) as asleep:
        asleep.sendall(b"before\n")
        assert receive(asleep, 9) == b"1 before\n"
        offset = 0
        for i in range(1, RESTARTS + 1):
            before, held_bytes = unit.pid, b"half of a line \xf0\x9f"
            held.sendall(held_bytes)
            unit.restart()
            assert unit.pid != before
            if i % 2:
                held.sendall(b"\x98\x80\n")
                expected = b"%d half of a line \xf0\x9f\x98\x80\n" % i
                offset += len(held_bytes) + 3
            else:
                held.sendall(b"!\n")
                expected = b"NAK %d invalid continuation byte\n" % (offset + 15)
                offset += len(held_bytes) + 2
            assert receive(held, len(expected)) == expected
        asleep.sendall(b"after\n")
        assert receive(asleep, 8) == b"2 after\n"
    for talker in talkers:
        assert talker.finish() > RESTARTS
    assert unit.show("Result") == "success"


def test_connection_keeps_its_identity(unit, journal):
    CONFIG.write_text('framing = "line"; greeting = "hello ${connection}\n";'
                      'ack_prefix = "${connection} ${message} ${peer} ";'
                      ' log: { level = "debug"; };\n')
    unit.start()
    with connect() as first:
        assert receive(first, 8) == b"hello 1\n"
        s = connect()
        assert receive(s, 8) == b"hello 2\n"
        peer = b"%s:%d" % (s.getsockname()[0].encode(), s.getsockname()[1])
        s.sendall(b"a\n")
        assert receive(s, len(b"2 1 a\n ") + len(peer)) == b"2 1 " + peer + b" a\n"
        unit.restart()
        s.sendall(b"b\n")
        assert receive(s, len(b"2 2 b\n ") + len(peer)) == b"2 2 " + peer + b" b\n"
        with connect() as third:  # its number is unique, also across restarts
            assert receive(third, 8) == b"hello 3\n"
        s.close()
    gone = journal.wait_for("disconnect", lambda e: e["ACKD_CONNECTION"] == "2" and
                            e["ACKD_MESSAGES"] == "2")
    assert (gone["ACKD_PEER"].encode(), gone["ACKD_BYTES_IN"]) == (peer, "4")
    assert journal.events("handover") and journal.events("restore")


def test_unsent_output_is_kept(unit):
    """Undelivered replies to a client that does not read are delivered after the restart."""
    CONFIG.write_text('reply = "echo";\n')
    unit.start()
    with connect() as s:
        s.setblocking(False)
        data = bytes(range(32, 127)) * 4096
        sent = 0
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                at = sent % len(data)
                sent += s.send(data[at:])
            except BlockingIOError:
                time.sleep(0.05)
        assert sent > 1 << 16
        unit.restart()
        s.settimeout(30)
        s.shutdown(socket.SHUT_WR)
        got = bytearray()
        while more := s.recv(1 << 20):
            got += more
    assert len(got) == sent
    assert got == (data * (sent // len(data) + 1))[:sent]


def test_five_thousand_connections_are_kept(unit, record_property):
    """All are kept, although the store holds only 64 descriptors."""
    count = 5000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    CONFIG.write_text(LINES)
    unit.start()
    clients = [connect() for _ in range(count)]
    for s in clients:
        s.sendall(b"one\ntw")
    for s in clients:
        assert receive(s, 6) == b"1 one\n"
    begun = time.monotonic()
    unit.restart()
    took = time.monotonic() - begun
    record_property("restart with 5,000 connections", f"{took:.2f} s")
    for s in clients:
        s.sendall(b"o\n")
    for s in clients:
        assert receive(s, 6) == b"2 two\n"
        s.close()


@pytest.mark.parametrize("setting, drop_in", [
    ("keep_connections = false;\n", ""),
    ("", "[Service]\nFileDescriptorStoreMax=0\n"),
])
def test_restart_drains_without_a_store(unit, journal, setting, drop_in):
    """Unread replies are delivered, also beyond the socket buffer."""
    prefix = b"p" * 1000
    CONFIG.write_text(f'framing = "line"; ack_prefix = "{prefix.decode()}";'
                      " limits: { drain_timeout = 60; };\n" + setting)
    if drop_in:
        unit.drop_in(drop_in)
    unit.start()
    with connect() as s, connect() as half:
        s.sendall(b"x\n" * 8000)
        half.sendall(b"y\nhalf")
        for client, text in (s, b"x\n"), (half, b"y\n"):
            assert receive(client, 1002) == prefix + text
        restart = threading.Thread(target=unit.restart)
        restart.start()
        journal.wait_for("drain")
        assert half.recv(100) == b""
        # ExecStop= has ended, and systemd has sent SIGTERM.
        wait_until(lambda: unit.show("SubState") == "stop-sigterm", "the signal")
        assert receive_all(s) == (prefix + b"x\n") * 7999
        restart.join()
    assert exchange(b"up?\n") == prefix + b"up?\n"


@pytest.mark.parametrize("store_max", [0, 1, 2, 3, 4, 5, 6, 64])
def test_any_store_size_keeps_or_drains(unit, journal, store_max):
    """Every connection is kept or drained; the log states which."""
    unit.drop_in(f"[Service]\nFileDescriptorStoreMax={store_max}\n")
    CONFIG.write_text(LINES + "workers = 2;\n")
    unit.start()
    clients = [connect(address) for _ in range(5) for address in (("127.0.0.1", PORT), ("::1", PORT))]
    for s in clients:
        s.sendall(b"a\n")
        assert receive(s, 4) == b"1 a\n"
    unit.restart()
    for s in clients:
        if store_max == 0:
            assert receive_all(s) == b""
        else:
            s.sendall(b"b\n")
            assert receive(s, 4) == b"2 b\n"
            s.close()
    # The thread that writes the log may be later than READY=1.
    journal.wait_for("ready", lambda e: e["_PID"] == str(unit.pid))
    said = [e["MESSAGE"] for e in journal.events("handover")]
    lacking = [e for e in journal.events("listen") if "a restart closes" in e["MESSAGE"]]
    if store_max == 0:
        assert len(said) == 1 and "draining connections" in said[0]
    else:
        assert said == ["handed over 10 connections"]
    # one of the addresses, or both, in each of the two processes
    assert len(lacking) == 2 * {0: 2, 1: 2, 2: 1}.get(store_max, 0)
    assert unit.show("Result") == "success"


def serves_lines():
    return exchange(b"up?\n") == b"1 up?\n"


def serves_or_is_reset():
    try:
        return serves_lines()
    except ConnectionResetError:
        return False


def test_connections_of_a_removed_listener_are_closed(unit, journal):
    """Connections of the removed listener are closed, and the others are kept."""
    CONFIG.write_text(LINES + 'listeners = ( { name = "stays"; port = 7001; },'
                              ' { name = "goes"; port = 7002; } );\n')
    unit.start()
    with connect(("127.0.0.1", 7001)) as stays, connect(("127.0.0.1", 7002)) as goes:
        for s in stays, goes:
            s.sendall(b"a\n")
            assert receive(s, 4) == b"1 a\n"
        CONFIG.write_text(LINES + 'listeners = ( { name = "stays"; port = 7001; } );\n')
        unit.restart()
        stays.sendall(b"b\n")
        assert receive(stays, 4) == b"2 b\n"
        try:
            assert goes.recv(100) == b""
        except ConnectionResetError:
            pass
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", 7002))


def test_connections_wait_while_a_port_is_in_use(unit):
    """Open and new connections wait until the port is free."""
    config = LINES + f'listeners = ( {{ name = "stays"; path = "{LOCAL}"; }},' \
                     ' { name = "moves"; address = "127.0.0.1"; port = %d; } );\n'
    CONFIG.write_text(config % 7001)
    unit.start()
    with connect(LOCAL) as path, connect(("127.0.0.1", 7001)) as tcp:
        for s in path, tcp:
            s.sendall(b"a\n")
            assert receive(s, 4) == b"1 a\n"
        with socket.create_server(("127.0.0.1", 7002)):
            CONFIG.write_text(config % 7002)
            assert unit.restart(check=False).returncode != 0
            unit.wait_for_exit_status(69)
            late = connect(LOCAL)
            late.sendall(b"x\n")
            wait_until(lambda: unit.restarts >= 2, "several failed starts")
        assert receive(late, 4) == b"1 x\n"
        late.close()
        for s in path, tcp:
            s.sendall(b"b\n")
            assert receive(s, 4) == b"2 b\n"
    assert exchange(b"y\n", ("127.0.0.1", 7002)) == b"1 y\n"


def test_invalid_configuration_drains(unit, journal):
    """The next process would not start, so open connections are answered and closed."""
    CONFIG.write_text(LINES)
    unit.start()
    with connect() as s:
        s.sendall(b"a\n")
        assert receive(s, 4) == b"1 a\n"
        CONFIG.write_text("prot = 1;\n")
        assert unit.restart(check=False).returncode != 0
        assert s.recv(100) == b""
    assert unit.show("ExecMainStatus") == "78"
    assert journal.events("drain") and not journal.events("handover")


def test_configuration_readable_only_by_root_drains(unit, journal):
    CONFIG.write_text(LINES)
    unit.start()
    with connect() as s:
        s.sendall(b"a\n")
        assert receive(s, 4) == b"1 a\n"
        mode = CONFIG.stat().st_mode
        CONFIG.chmod(0o600)
        try:
            assert unit.restart(check=False).returncode != 0
        finally:
            CONFIG.chmod(mode)
        assert s.recv(100) == b""
    assert unit.show("ExecMainStatus") == "78"
    assert journal.events("drain")
    said = [e["MESSAGE"] for e in journal.events("handover")]
    assert re.search(r"ackd.conf: cannot read: Permission denied; the user that runs ackd "
                     r"\(user ID \d{5}\) must be able to read it$", said[0])
    assert said[1].startswith("connections are not handed over")


def test_damaged_state_closes_connections(unit, journal):
    """The connections are closed without a reset, the log reports it once, and ackd serves."""
    CONFIG.write_text(LINES)
    script = pathlib.Path("/run/damage.py")
    script.write_text(DAMAGE)
    unit.start()
    with connect() as s:
        s.sendall(b"a\n")
        assert receive(s, 4) == b"1 a\n"
        unit.drop_in(f"[Service]\nExecStart=\nExecStart=/usr/bin/python3 {script}\n")
        unit.restart()
        assert s.recv(100) == b""
    assert serves_lines()
    journal.wait_for("restore", lambda e: e["PRIORITY"] == "3")
    assert unit.restarts == 0
    unit.drop_in("")
    unit.restart()
    assert serves_lines()
    assert len([e for e in journal.events("restore") if e["PRIORITY"] == "3"]) == 1


def fate(s):
    """Returns "kept" or "closed" for a connection with one answered line."""
    with s:
        try:
            s.sendall(b"b\n")
            answer = receive(s, 4)
        except (BrokenPipeError, ConnectionResetError):
            return "closed"
    return {b"": "closed", b"2 b\n": "kept"}[answer]


@pytest.mark.parametrize("delay_ms", [0, 1, 3, 10, 30])
def test_kill_during_the_hand_over(unit, delay_ms):
    """At any moment: the listening sockets are kept, the service restarts, and each connection is kept if
    it was already handed over, or closed. None hangs, and none loses a byte."""
    CONFIG.write_text(LINES)
    unit.start()
    clients = [connect() for _ in range(200)]
    for s in clients:
        s.sendall(b"a\n")
    for s in clients:
        assert receive(s, 4) == b"1 a\n"
    pid = unit.pid
    os.kill(pid, signal.SIGUSR2)
    time.sleep(delay_ms / 1000)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    wait_until(lambda: unit.pid != pid, "the end of the process")
    if unit.state in ("deactivating", "inactive"):
        unit.start()  # the process had already ended successfully
    # Never refused, because the stored socket queues it; a reset: accepted just before the kill.
    wait_until(lambda: serves_or_is_reset() is True, "an answer")
    wait_until(lambda: unit.state == "active" and unit.pid != pid, "the service to be up")
    assert {fate(s) for s in clients} <= {"closed", "kept"}


def compile_shim(directory, name, text):
    source = directory / f"{name}.c"
    source.write_text(text)
    library = f"/usr/local/lib/ackd-{name}.so"
    run("cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source)
    return library


@pytest.fixture(scope="module")
def crash_shim(tmp_path_factory):
    """A preloaded library that aborts when it receives the descriptors of connections."""
    return compile_shim(tmp_path_factory.mktemp("crash"), "crash", CRASH)


@pytest.fixture
def slow_lookup(tmp_path):
    """A preloaded library that resolves each name to 127.0.0.1. While the file exists, it creates
    /run/ackd/looking-up and takes 3 s."""
    file = pathlib.Path("/run/slow-lookup")
    yield compile_shim(tmp_path, "slow-lookup", SLOW_LOOKUP), file
    file.unlink(missing_ok=True)


def test_crashing_state_is_used_once(unit, journal, crash_shim):
    """A state that crashes the process is not used by another start."""
    CONFIG.write_text(LINES)
    unit.start()
    with connect() as s:
        s.sendall(b"a\n")
        assert receive(s, 4) == b"1 a\n"
        unit.drop_in("[Service]\nExecStart=\n"
                     f"ExecStart=/usr/bin/env LD_PRELOAD={crash_shim} /usr/local/sbin/ackd\n")
        unit.restart(check=False)
        unit.wait_for_state("active")
        try:
            assert s.recv(100) == b""
        except ConnectionResetError:
            pass
    assert serves_lines()
    # Only one start has crashed.
    assert unit.restarts == 1
    assert len([m for m in journal.messages() if re.search("Main process exited.*(ABRT|SEGV)", m)]) == 1


class Storm(threading.Thread):
    """Connects, exchanges and closes several hundred times a second; refused connects are counted."""

    PAUSE = 0.002

    def __init__(self, address=("127.0.0.1", PORT)):
        super().__init__(daemon=True)
        self.address = address
        self.refused = self.broken = self.good = 0
        self.stopping = False
        self.start()

    def run(self):
        while not self.stopping:
            try:
                answer = exchange(b"storm\n", self.address)
            except (ConnectionRefusedError, FileNotFoundError):
                self.refused += 1
            except OSError:
                self.broken += 1
            else:
                self.good += answer == b"1 storm\n"
                self.broken += answer != b"1 storm\n"
            time.sleep(self.PAUSE)

    def finish(self):
        self.stopping = True
        self.join(60)
        return self.refused, self.broken


@pytest.mark.parametrize("activated", [False, True], ids=["own sockets", "socket unit"])
def test_restart_refuses_no_client(unit, activated):
    config = LINES
    addresses = [("127.0.0.1", PORT)] * 3
    if activated:
        Unit("ackd.socket").start()
    else:
        config += f'listeners = ( {{ name = "tcp"; }}, {{ name = "local"; path = "{LOCAL}"; }} );\n'
        addresses += [LOCAL]
    CONFIG.write_text(config + "workers = 3;\n")
    unit.start()
    storms = [Storm(address) for address in addresses]
    for i in range(RESTARTS):
        if i == RESTARTS // 2:
            CONFIG.write_text(config + "workers = 1;\n")
        unit.restart()
    outcomes = [storm.finish() for storm in storms]
    assert outcomes == [(0, 0)] * len(storms)
    assert all(storm.good > RESTARTS for storm in storms)


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_address_can_change(unit, verb):
    """Each change of the address succeeds at the first attempt; no client is refused or reset."""
    CONFIG.write_text(LINES)
    unit.start()
    storms = [Storm() for _ in range(3)]
    with connect() as held:
        held.sendall(b"a\n")
        assert receive(held, 4) == b"1 a\n"
        for address in "*", "localhost", "0.0.0.0", "127.0.0.1", "*", "127.0.0.1", "localhost":
            CONFIG.write_text(LINES + f'address = "{address}";\n')
            getattr(unit, verb)()
            if address in ("*", "localhost"):
                assert exchange(b"b\n", ("::1", PORT)) == b"1 b\n"
            else:
                with pytest.raises(ConnectionRefusedError):
                    connect(("::1", PORT))
        held.sendall(b"b\n")
        assert receive(held, 4) == b"2 b\n"
    assert [storm.finish() for storm in storms] == [(0, 0)] * 3
    assert all(storm.good > 0 for storm in storms)
    assert unit.restarts == 0
    wait_until(lambda: unit.show("NFileDescriptorStore") == str(2 * os.cpu_count()),
               "the old sockets to leave the store")


@pytest.mark.parametrize("address", [("127.0.0.1", PORT), LOCAL], ids=["TCP", "path"])
def test_kill_refuses_no_client(unit, address):
    CONFIG.write_text(LINES + (f'path = "{LOCAL}";\n' if address == LOCAL else ""))
    unit.start()
    storm = Storm(address)
    for restarts in range(1, 4):
        os.kill(unit.pid, signal.SIGKILL)
        wait_until(lambda: unit.restarts == restarts and unit.state == "active", "the restart")
    refused, _ = storm.finish()  # open connections have ended with the process
    assert refused == 0
    assert storm.good > 0


def clients_with_a_line(count=10):
    clients = [connect() for _ in range(count)]
    for s in clients:
        s.sendall(b"a\n")
        assert receive(s, 4) == b"1 a\n"
    return clients


def wait_for_handover_unit():
    """It starts after ackd, and only a unit that is active is stopped by a restart."""
    Unit("ackd-handover.service").wait_for_state("active")


def test_restart_during_a_reload_keeps_connections(unit):
    """systemd then skips ExecStop= and sends SIGTERM immediately."""
    CONFIG.write_text(LINES)
    unit.start()
    storm = Storm()
    for _ in range(RESTARTS):
        clients = clients_with_a_line()
        wait_for_handover_unit()
        unit.reload("--no-block")
        unit.restart()
        assert [fate(s) for s in clients] == ["kept"] * len(clients)
    assert storm.finish() == (0, 0)
    assert unit.show("Result") == "success"


def test_restart_during_the_look_up_of_a_reload_keeps_connections(unit, slow_lookup):
    library, file = slow_lookup
    unit.drop_in("[Service]\nExecStart=\n"
                 f"ExecStart=/usr/bin/env LD_PRELOAD={library} /usr/local/sbin/ackd\n")
    CONFIG.write_text(LINES + 'address = "looked.up.example";\n')
    unit.start()
    clients = clients_with_a_line()
    wait_for_handover_unit()
    file.touch()
    unit.reload("--no-block")
    wait_until(pathlib.Path("/run/ackd/looking-up").exists, "the look-up of the reload")
    file.unlink()  # for the look-up of the next process
    storm = Storm()
    unit.restart()
    assert [fate(s) for s in clients] == ["kept"] * len(clients)
    assert storm.finish() == (0, 0)


def test_stop_during_a_reload_drains(unit, journal):
    CONFIG.write_text(LINES)
    unit.start()
    for _ in range(5):
        clients = clients_with_a_line()
        unit.reload("--no-block")
        unit.stop()
        assert [receive_all(s) for s in clients] == [b""] * len(clients)
        unit.start()
    assert not journal.events("handover")


def test_daemon_reexec_during_a_restart_keeps_connections(unit):
    """systemctl fails during the reexec; the hand-over script must retry."""
    CONFIG.write_text(LINES)
    unit.start()
    for i in range(RESTARTS // 2):
        clients = clients_with_a_line()
        before = unit.pid
        unit.restart("--no-block")
        time.sleep(i / 100)  # at various moments of the restart
        run("systemctl", "daemon-reexec", check=False)  # may lose its connection to systemd
        wait_until(lambda: run("systemctl", "is-system-running", check=False).stdout.strip() in
                   ("running", "degraded"), "systemd")
        wait_until(lambda: unit.state == "active" and unit.pid not in (0, before), "the restart")
        assert [fate(s) for s in clients] == ["kept"] * len(clients)


def test_stop_empties_the_store(unit):
    CONFIG.write_text(LINES)
    unit.start()
    with connect() as s:
        s.sendall(b"a\n")
        assert receive(s, 4) == b"1 a\n"
        unit.stop()
        assert s.recv(100) == b""
    wait_until(lambda: unit.show("NFileDescriptorStore") == "0", "an empty store")
    with pytest.raises(ConnectionRefusedError):
        connect()


@pytest.mark.parametrize("setting", ["", "keep_connections = false;\n"], ids=["kept", "drained"])
def test_idle_restarts_leave_nothing_behind(unit, setting):
    CONFIG.write_text(LINES + setting + 'listeners = ( { name = "tcp"; },'
                                        f' {{ name = "local"; path = "{LOCAL}"; }} );\n')
    unit.start()
    wait_until(lambda: unit.show("NFileDescriptorStore") != "0", "the listening sockets stored")
    stored = unit.show("NFileDescriptorStore")
    for _ in range(3):
        unit.restart()
    wait_until(lambda: unit.show("NFileDescriptorStore") == stored, "the store as it was")
    assert serves_lines()
    assert "failed" not in run("systemctl", "status", "ackd").stdout
    unit.stop()
