"""Connections with TLS through restarts: a crowd that compares every byte, and what a restart ends.

With ACKD_TEST_ALL there are 500 clients and 20 restarts, and clients in Go, too.
"""

import array
import contextlib
import fcntl
import os
import pathlib
import signal
import ssl
import subprocess
import termios

import pytest

from harness import SOON, have, sanitizer, wait_until, within
from test_handover import damage_state, edit_queue, flip
from test_tls import AUTHORITY, Certificates, Client, openssl
from test_tls_secrets import KINDS, Recorder, Updater, find, needs_root, search

pytestmark = pytest.mark.skipif(not have("openssl"), reason="the command openssl is not installed")

IS_WHOLE = "ACKD_TEST_ALL" in os.environ
N_PYTHON, N_GO, N_OPENSSL, N_RESTARTS = (300, 180, 20, 20) if IS_WHOLE else (16, 0, 2, 4)

LINES = 'address = "127.0.0.1"; framing = "line"; reply = "echo"; workers = 2;'
DEBUG = 'log = { level = "debug"; };'


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("tls"))
    for name, key in ("renewed", "ca.key"), ("stranger", "other.key"):
        openssl("req", "-x509", "-key", key, "-out", f"{name}.pem", "-subj", "/CN=test CA",
                *AUTHORITY, "-days", "3", directory=made.directory)
    return made


def restart(unit, daemon, config, between=lambda: None):
    """Restarts the daemon; calls @between() while no process runs."""
    daemon.signal(signal.SIGUSR2)
    assert daemon.wait() == 0
    daemon.check_log()
    between()
    return unit.start(config, arguments=daemon.arguments)


def read_end(client):
    """Expects close_notify."""
    while True:
        with contextlib.suppress(ssl.SSLWantReadError):
            assert client.tls.read(1) == b""
            return
        client.receive()


# ---- the crowd ----


class Reader(Client):
    """A client whose record, character and line are cut by each restart."""

    def __init__(self, daemon, certificates, number):
        version = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)[number % 2]
        super().__init__(daemon, certificates, version=version, certificate="client")
        self.number = number
        self.expected = self.rest = b""
        assert self.exchange(b"ready\n", 6) == b"ready\n"  # the handshake is complete on both sides

    def begin(self, cycle):
        """Sends the beginning of a line, and a long answer to read later."""
        text = f"client {self.number}, {cycle}: ".encode() + "€uro ".encode() * 300 + b"\n"
        before = (b"%06d\n" % cycle) * 10_000 if self.number % 10 == cycle % 10 else b""
        if before:
            self.send(self.seal(before))
        cut = len(text) // 2 + cycle
        record = self.seal(text[:cut]) + self.seal(text[cut:])
        at = (self.number * 97 + cycle * 401) % len(record)
        self.send(record[:at])
        self.expected, self.rest = before + text, record[at:]

    def end(self):
        self.send(self.rest)
        assert self.read(len(self.expected)) == self.expected


class Typist(Updater):
    """An openssl s_client: half a line and KeyUpdates in each restart."""

    def __init__(self, daemon, certificates, number):
        host, port = daemon.address().sockaddr
        super().__init__(["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_3",
                          "-cert", certificates["client.pem"], "-key", certificates["client.key"]])
        self.number = number
        self.say(b"hello\n", b"hello\n")

    def type(self, text):
        """Types @text, and waits until the client has read it."""
        self.process.stdin.write(text)
        self.process.stdin.flush()
        unread = array.array("i", [1])
        wait_until(lambda: fcntl.ioctl(self.process.stdin, termios.FIONREAD, unread) or not unread[0],
                   "openssl s_client")

    def update(self):
        """Sends a KeyUpdate; odd ones request one of the server."""
        self.say(b"kK"[self.number % 2 :][:1] + b"\n", b"KEYUPDATE")

    def begin(self, cycle):
        self.update()
        self.type(b"typist %d, " % self.number)

    def end(self, cycle):
        line = f"{cycle} €uro\n".encode()
        self.say(line, line)
        self.update()


class Talkers:
    """The program tls_talkers.go."""

    def __init__(self, daemon, certificates):
        program = f"{certificates.directory}/talkers"
        source = pathlib.Path(__file__).with_name("tls_talkers.go")
        subprocess.run(["go", "build", "-o", program, source], check=True, timeout=20 * SOON)
        host, port = daemon.address().sockaddr
        self.process = subprocess.Popen([program, f"{host}:{port}", str(N_GO), certificates.directory],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def do(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self):
        """Expects close_notify; returns how many lines were compared."""
        self.do("end")
        out, _ = self.process.communicate(timeout=SOON)
        assert self.process.returncode == 0
        return int(out)


class Crowd:
    def __init__(self, stack, daemon, certificates):
        self.readers = [stack.enter_context(Reader(daemon, certificates, i)) for i in range(N_PYTHON)]
        self.typists = [stack.enter_context(Typist(daemon, certificates, i)) for i in range(N_OPENSSL)]
        self.talkers = stack.enter_context(Talkers(daemon, certificates)) if N_GO else None
        if self.talkers:
            self.talkers.do("move")

    def begin(self, cycle):
        for client in *self.readers, *self.typists:
            client.begin(cycle)

    def between(self):
        for client in self.typists:
            client.type(b"K\n")

    def end(self, cycle):
        for client in self.readers:
            client.end()
        for client in self.typists:
            client.end(cycle)
        if self.talkers:
            self.talkers.do("move")

    def finish(self):
        """Expects close_notify everywhere."""
        for client in self.readers:
            read_end(client)
        for client in self.typists:
            client.process.wait(SOON)
            assert b"closed" in client.said + client.process.stdout.read()
        return self.talkers.end() if self.talkers else 0


@pytest.mark.timeout(within(1200 if IS_WHOLE else 120))
@pytest.mark.skipif(IS_WHOLE and not have("go"), reason="go is not installed")
def test_crowd(unit, certificates, record_property):
    """Every byte is right through restarts that change the certificate, client_ca and tls itself.

    In the end no client's certificate is accepted any more.
    """
    def group(authority="ca", name="server"):
        return certificates.group(f'client_ca = "{certificates[authority + ".pem"]}";', name)

    configs = [LINES + DEBUG + x for x in (group(), group(name="other"), group("renewed"), "")]
    daemon = unit.start(configs[0])
    n = N_PYTHON + N_GO + N_OPENSSL
    with contextlib.ExitStack() as stack:
        crowd = Crowd(stack, daemon, certificates)
        for cycle in range(N_RESTARTS):
            crowd.begin(cycle)
            daemon = restart(unit, daemon, configs[(cycle + 1) % len(configs)], crowd.between)
            daemon.wait_for(f"taking over {n} connections")
            crowd.end(cycle)
        if crowd.talkers:
            crowd.talkers.do("pause")
        daemon = restart(unit, daemon, LINES + DEBUG + group("stranger"))
        lines = crowd.finish()
    daemon.wait_for("ended: client certificate no longer accepted: ")
    record_property("TLS clients x restarts, lines of clients in Go",
                    f"{n} x {N_RESTARTS + 1}, {lines}")


# ---- the end ----


def test_unkept_connections(unit, certificates):
    """They are drained: the next process delivers the replies, and then close_notify."""
    n = 20
    line = "€uro ".encode() * 2000 + b"\n"
    config = LINES + DEBUG + certificates.group("keep_connections = false;")
    daemon = unit.start(config)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(daemon, certificates)) for _ in range(n)]
        for client in clients:
            assert client.exchange(line, len(line)) == line
            for _ in range(10):
                client.send(client.seal(line))
            client.send(client.seal(line[: len(line) // 2]))
        daemon = restart(unit, daemon, config)
        for client in clients:
            assert client.read(10 * len(line)) == 10 * line
            read_end(client)
    daemon.wait_for(f"taking over {n} connections")
    wait_until(lambda: daemon.log.count("ended: drained; 11 messages") == n, "the end of all")


def test_damaged_state(unit, certificates):
    """Only the connections in the damaged part are lost."""
    n = 40
    config = LINES + certificates.group()
    daemon = unit.start(config)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(daemon, certificates)) for _ in range(n)]
        for client in clients:
            assert client.exchange(b"hello\n", 6) == b"hello\n"
            client.send(client.seal(b"half a"))
        daemon = restart(unit, daemon, config, lambda: damage_state(unit, flip))
        lost = int(daemon.wait_for(r"(\d+) handed-over connections? lost: .* damaged")[1])
        kept = 0
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.send(client.seal(b" line\n"))
                if data := client.plain.recv(65536):
                    client.incoming.write(data)
                    assert client.read(12) == b"half a line\n"
                    kept += 1
        assert 0 < kept == n - lost < n


# ---- keys in the state ----


@pytest.mark.parametrize("keeps", [True, pytest.param(False, marks=needs_root)])
def test_keys_in_the_state(unit, certificates, keeps):
    """The state has the secrets that connections need, or none at all, and then no file has."""
    config = LINES + certificates.group(f"keep_connections = {str(keeps).lower()};")
    daemon = unit.start(config)
    state = set()
    with contextlib.ExitStack() as stack:
        secrets = {}
        for kind in KINDS:
            client = stack.enter_context(Recorder(daemon, certificates, *kind))
            assert client.exchange(b"hello\n", 6) == b"hello\n"
            secrets.update(client.secrets())

        def look(messages):
            for fds in messages:
                state.update(find(secrets, os.pread(fds[0], os.fstat(fds[0]).st_size, 0)))
            return messages

        daemon = restart(unit, daemon, config, lambda: edit_queue(unit, look))
        daemon.wait_for(f"taking over {len(KINDS)} connections")
        if keeps:
            assert {x.split(": ")[1] for x in state} >= {"CLIENT_TRAFFIC_SECRET_0 0",
                                                         "SERVER_TRAFFIC_SECRET_0 0",
                                                         "client key", "server key"}
            assert not [x for x in state if "HANDSHAKE" in x or "RANDOM" in x or "hex" in x]
        else:
            assert not state
            assert sanitizer() or not search(daemon.pid, secrets)
