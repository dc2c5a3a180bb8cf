"""Where the secrets of TLS connections are: while they are open, after their end, and after a restart.

The key log of the clients has the secrets. Keys and IVs are derived from them here.
"""

import contextlib
import hmac
import os
import pathlib
import re
import resource
import signal
import ssl
import struct
import subprocess
import types

import pytest

from harness import SOON, have, sanitizer, state_of, wait_until
from test_tls import Certificates, Client

pytestmark = [
    pytest.mark.skipif(not have("openssl"), reason="the command openssl is not installed"),
    pytest.mark.skipif(sanitizer() is not None, reason="a sanitizer keeps what was freed"),
]

# Clients, by version and suite. Python cannot choose a suite of TLS 1.3.
KINDS = [(ssl.TLSVersion.TLSv1_3, None),
         (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
         (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-GCM-SHA384"),
         (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305")]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls"))


# ---- derivation ----


def expand_label(secret, label, n, digest):
    """HKDF-Expand-Label of RFC 8446 7.1, for one block of output."""
    label = b"tls13 " + label
    info = struct.pack("!HB", n, len(label)) + label + b"\0\1"
    return hmac.digest(secret, info, digest)[:n]


def prf(secret, seed, n, digest):
    """P_hash of RFC 5246 5."""
    out, a = b"", seed
    while len(out) < n:
        a = hmac.digest(secret, a, digest)
        out += hmac.digest(secret, a + seed, digest)
    return out[:n]


def secrets_of(log, suite, server_random=b""):
    """Returns the secrets in the key log of one connection, and what follows from them, by name."""
    digest = "sha384" if "SHA384" in suite else "sha256"
    key_bytes = 16 if re.search("AES_?128", suite) else 32
    lines = re.findall(r"^([A-Z_0-9]+) (\w+) (\w+)", log, re.M)
    found = {label: bytes.fromhex(secret) for label, _, secret in lines}
    if suite.startswith("TLS_"):
        for label in [x for x in found if "TRAFFIC" in x]:
            secret = found.pop(label)
            for generation in range(3):
                found[f"{label} {generation}"] = secret
                found[f"{label} {generation} key"] = expand_label(secret, b"key", key_bytes, digest)
                found[f"{label} {generation} IV"] = expand_label(secret, b"iv", 12, digest)
                secret = expand_label(secret, b"traffic upd", len(secret), digest)
    else:
        iv_bytes = 12 if "CHACHA20" in suite else 4
        block = prf(found["CLIENT_RANDOM"], b"key expansion" + server_random
                    + bytes.fromhex(lines[0][1]), 2 * (key_bytes + iv_bytes), digest)
        found["client key"] = block[:key_bytes]
        found["server key"] = block[key_bytes:][:key_bytes]
        if iv_bytes == 12:  # shorter ones are found anywhere
            found["client IV"] = block[2 * key_bytes:][:12]
            found["server IV"] = block[2 * key_bytes:][12:]
    texts = {f"{label}, hex": secret.hex().encode() for label, secret in found.items()}
    return {f"{suite}: {label}": secret for label, secret in {**found, **texts}.items()}


class Recorder(Client):
    """A client whose secrets are known."""

    def __init__(self, daemon, certificates, version, suite):
        self.received = b""
        self.log = pathlib.Path(certificates.directory, f"keys-{os.urandom(8).hex()}")
        context = certificates.client(version=version, suite=suite, certificate="client")
        context.keylog_filename = self.log
        super().__init__(daemon, types.SimpleNamespace(client=lambda **_: context))

    def receive(self):
        data = self.plain.recv(65536)
        self.received += data
        self.incoming.write(data)

    def secrets(self):
        # the first record has the ServerHello: its random is after the type, the length, the version
        return secrets_of(self.log.read_text(), self.tls.cipher()[0], self.received[5 + 4 + 2:][:32])


class Updater:
    """An openssl s_client, which sends KeyUpdates."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.said = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.kill()
        self.process.communicate()

    def say(self, line, answer):
        """Sends @line, and waits until the output has one more @answer."""
        before = self.said.count(answer)
        self.process.stdin.write(line)
        self.process.stdin.flush()
        while self.said.count(answer) == before:
            part = self.process.stdout.read1()
            assert part, self.said
            self.said += part


# ---- search ----

needs_root = pytest.mark.skipif(os.geteuid() != 0,
                                reason="only root can read the memory of a process with keys")


def mappings(pid):
    """Yields beginning and end of each writable mapping of a process."""
    text = pathlib.Path(f"/proc/{pid}/maps").read_text()
    for part in re.finditer(r"^([0-9a-f]+)-([0-9a-f]+) rw", text, re.M):
        yield int(part[1], 16), int(part[2], 16)


def pages(pid, begin, end):
    """Yields the bytes of each range of present pages."""
    size = os.sysconf("SC_PAGE_SIZE")
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        pagemap.seek(begin // size * 8)
        entries = pagemap.read((end - begin) // size * 8)
        flags = entries[7::8] + b"\0"  # bit 7: present, bit 6: swapped
        for run in re.finditer(rb"[\x40-\xff]+", flags):
            memory.seek(begin + run.start() * size)
            yield memory.read(len(run[0]) * size)


def find(secrets, data):
    return {label for label, secret in secrets.items() if secret in data}


def search(pid, secrets):
    """Returns which secrets are in the memory of a process and in its memory files."""
    found = set()
    for begin, end in mappings(pid):
        for data in pages(pid, begin, end):
            found.update(find(secrets, data))
    for number in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{number}"
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.readlink(path).startswith("/memfd:"):
                found.update(find(secrets, pathlib.Path(path).read_bytes()))
    return found


# ---- tests ----

CONFIG = ('framing = "stream"; reply = "echo"; workers = 2; address = "127.0.0.1"; '
          'log = { level = "debug"; };')


@pytest.fixture
def group(certificates):
    """Demands certificates of clients."""
    return certificates.group(f'client_ca = "{certificates["ca.pem"]}";')


def connect(stack, daemon, certificates):
    """Returns clients of all kinds that have exchanged data, and their secrets."""
    clients = [stack.enter_context(Recorder(daemon, certificates, *kind)) for kind in KINDS]
    secrets = {}
    for client in clients:
        echo(client)
        secrets.update(client.secrets())
    return clients, secrets


def echo(client):
    client.send(client.seal(b"hello"))
    assert client.read(5) == b"hello"


def check_live(found, suite):
    """The search finds the secrets of open connections, but only what they need."""
    needed = [f"{suite}: CLIENT_TRAFFIC_SECRET_0 0", f"{suite}: SERVER_TRAFFIC_SECRET_0 0 key",
              *(f"{suite}: {side} key" for _, suite in KINDS[1:] for side in ("client", "server"))]
    missing = set(needed) - found
    assert not missing
    assert not [x for x in found if re.search("HANDSHAKE|EXPORTER|RANDOM|hex|_0 [12]", x)]


@needs_root
def test_end(ackd, certificates, group):
    """Nothing is left of connections that have ended."""
    daemon = ackd(CONFIG + group)
    with contextlib.ExitStack() as stack:
        clients, secrets = connect(stack, daemon, certificates)
        check_live(search(daemon.pid, secrets), clients[0].tls.cipher()[0])
    wait_until(lambda: daemon.log.count(" ended: ") == len(clients), "the end of all connections")
    assert search(daemon.pid, secrets) == set()
    assert not find(secrets, daemon.log.encode())


# ---- core dumps ----


def dumps_core(daemon):
    """Aborts the daemon; returns whether the kernel has written a core dump."""
    _, most = resource.prlimit(daemon.pid, resource.RLIMIT_CORE)
    resource.prlimit(daemon.pid, resource.RLIMIT_CORE, (most, most))
    daemon.signal(signal.SIGABRT)
    end = os.waitid(os.P_PID, daemon.pid, os.WEXITED | os.WNOWAIT)
    daemon.wait()
    assert end.si_status == signal.SIGABRT
    return end.si_code == os.CLD_DUMPED


def test_no_core_dump_has_secrets(ackd, unit, certificates):
    """There is none of a process that has read a key, in a reload too, or taken one over."""
    if not dumps_core(ackd()):
        pytest.skip("the kernel writes no core dumps here")
    assert not dumps_core(ackd(CONFIG + certificates.group()))
    daemon = ackd(CONFIG)
    daemon.write_config(CONFIG + certificates.group())
    assert daemon.reload()
    assert not dumps_core(daemon)
    daemon = unit.start(CONFIG + certificates.group())
    with Client(daemon, certificates) as client:
        echo(client)
        daemon.write_config(CONFIG)
        daemon = unit.again(daemon)
        echo(client)
        assert not dumps_core(daemon)
    unit.daemons.remove(daemon)


# ---- restart ----


@pytest.fixture(scope="module")
def stop_at_exit(tmp_path_factory):
    """A library with which a process stops, as by SIGSTOP, when it exits."""
    if not have("cc"):
        pytest.skip("no compiler is installed")
    path = tmp_path_factory.mktemp("library") / "stop.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", path, "-"], check=True, timeout=SOON,
                   input=b"#include <signal.h>\n"
                         b"__attribute__((destructor)) static void at_exit(void) { raise(SIGSTOP); }")
    return str(path)


@needs_root
def test_restart(unit, certificates, group, stop_at_exit):
    """Neither the old process nor files have secrets; the next one has those of open connections."""
    unit.environment["LD_PRELOAD"] = stop_at_exit
    daemon = unit.start(CONFIG + group)
    log = pathlib.Path(certificates.directory, "keys-s_client")
    host, port = daemon.address().sockaddr
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_3", "-keylogfile", log,
               "-cert", certificates["client.pem"], "-key", certificates["client.key"],
               "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"]
    with contextlib.ExitStack() as stack:
        clients, secrets = connect(stack, daemon, certificates)
        updater = stack.enter_context(Updater(command))
        updater.say(b"one\n", b"one")
        secrets.update(secrets_of(log.read_text(), "TLS_CHACHA20_POLY1305_SHA256"))
        updater.say(b"K\n", b"KEYUPDATE")
        updater.say(b"two\n", b"two")
        found = search(daemon.pid, secrets)
        for side in ("CLIENT", "SERVER"):  # the keys before the KeyUpdates are gone
            name = f"TLS_CHACHA20_POLY1305_SHA256: {side}_TRAFFIC_SECRET_0"
            assert not found & {f"{name} 0{part}" for part in ("", " key", " IV")}
            assert found.issuperset(f"{name} 1{part}" for part in ("", " key", " IV"))
        for name in ("USR2", "TERM"):
            daemon.signal(getattr(signal, "SIG" + name))
        wait_until(lambda: state_of(daemon.pid) == "T", "the exit of the old process")
        assert search(daemon.pid, secrets) == set()
        daemon.signal(signal.SIGCONT)
        daemon = unit.again(daemon)
        for client in clients:
            echo(client)
        updater.say(b"three\n", b"three")
        assert set(unit.names()) == {"ackd-listen.ackd"}  # no state
        found = search(daemon.pid, secrets)
        check_live({x for x in found if "TLS_CHACHA20" not in x}, clients[0].tls.cipher()[0])
        for client in clients:
            client.plain.close()
        updater.close()
    wait_until(lambda: daemon.log.count(" ended: ") == len(clients) + 1, "the end of connections")
    assert search(daemon.pid, secrets) == set()
    assert not find(secrets, daemon.log.encode())
    unit.environment.clear()
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: state_of(daemon.pid) == "T", "the exit")
    daemon.signal(signal.SIGCONT)
