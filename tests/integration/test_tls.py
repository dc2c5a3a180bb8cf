"""Listeners with TLS: clients of several kinds, errors, truncation, and the end."""

import contextlib
import re
import select
import signal
import socket
import ssl
import struct
import subprocess

import pytest

from harness import SOON, environment, have, read_to_end, run_ackd, wait_until
from prom import is_built, scrape

pytestmark = pytest.mark.skipif(not have("openssl"), reason="the command openssl is not installed")

ECHO = 'framing = "stream"; reply = "echo"; log = { level = "debug"; };'
SUITES_13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
SUITES_12 = [f"ECDHE-ECDSA-{x}" for x in ("AES128-GCM-SHA256", "AES256-GCM-SHA384",
                                          "CHACHA20-POLY1305")]


def openssl(*arguments, directory):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SOON)


# Python 3.13 demands it of an authority.
AUTHORITY = ["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]


class Certificates:
    """A certificate authority, a server's certificate and a client's."""

    def __init__(self, directory):
        self.directory = directory
        if "openssl none" in run_ackd("--version").stdout:
            pytest.skip("this build has no TLS")
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA",
                *AUTHORITY, "-days", "2", directory=directory)
        for name in ("server", "client", "other"):
            openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                    f"/CN={name}.example", "-addext", "subjectAltName=DNS:localhost",
                    directory=directory)
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                    "-CAcreateserial", "-copy_extensions", "copy", "-days", "2", "-out",
                    f"{name}.pem", directory=directory)

    def __getitem__(self, name):
        return f"{self.directory}/{name}"

    def group(self, more="", name="server"):
        """Returns a tls group."""
        return (f'tls = {{ certificate = "{self[name + ".pem"]}"; key = "{self[name + ".key"]}";'
                f" {more} }};")

    def client(self, version=None, suite=None, certificate=None, alpn=None, authorities="ca.pem"):
        """Returns the context of a client."""
        context = ssl.create_default_context(cafile=self[authorities])
        if version:
            context.minimum_version = context.maximum_version = version
        if suite:
            context.set_ciphers(suite)
        if certificate:
            context.load_cert_chain(self[certificate + ".pem"], self[certificate + ".key"])
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def connect(self, daemon, **options):
        plain = daemon.connect()
        try:
            return self.client(**options).wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise


class Client:
    """A client whose records the test itself sends and receives."""

    def __init__(self, daemon, certificates, **options):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = certificates.client(**options).wrap_bio(self.incoming, self.outgoing,
                                                           server_hostname="localhost")
        self.plain = daemon.connect()
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                break
            self.send(self.outgoing.read())
            self.receive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.plain.close()

    def send(self, data):
        self.plain.sendall(data)

    def receive(self):
        data = self.plain.recv(65536)
        assert data, "the connection has ended"
        self.incoming.write(data)

    def seal(self, data):
        """Returns the record of @data, after bytes of the handshake that were not sent."""
        self.tls.write(data)
        return self.outgoing.read()

    def exchange(self, data, n):
        """Sends @data, and meanwhile receives and returns @n bytes."""
        self.plain.setblocking(False)
        unsent, received, sent = memoryview(b""), bytearray(), 0
        while len(received) < n:
            if not unsent and sent < len(data):
                sent += self.tls.write(data[sent : sent + 16384])
                unsent = memoryview(self.outgoing.read())
            ready, writable, _ = select.select([self.plain], [self.plain] if unsent else [], [], SOON)
            assert ready or writable
            if writable:
                unsent = unsent[self.plain.send(unsent):]
            if ready:
                part = self.plain.recv(1 << 18)
                assert part, f"the end after {len(received)} of {n} bytes"
                self.incoming.write(part)
            with contextlib.suppress(ssl.SSLWantReadError):
                while True:
                    received += self.tls.read(1 << 18)
        self.plain.settimeout(SOON)
        return bytes(received)

    def read(self, n):
        """Returns the next @n bytes."""
        data = b""
        while len(data) < n:
            try:
                data += self.tls.read(n - len(data))
            except ssl.SSLWantReadError:
                self.receive()
        return data


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls"))


def text(n):
    """Returns @n bytes of ASCII that differ from place to place."""
    return b"".join(b"%07d\n" % i for i in range(n // 8 + 1))[:n]


@pytest.mark.parametrize("version, suite", [(ssl.TLSVersion.TLSv1_3, None),
                                            *((ssl.TLSVersion.TLSv1_2, x) for x in SUITES_12)])
def test_echo(ackd, certificates, version, suite):
    daemon = ackd(ECHO + certificates.group())
    with Client(daemon, certificates, version=version, suite=suite) as client:
        for n in (1, 100, 16384, 16385, 100_000, 300_000):
            assert client.exchange(text(n), n) == text(n)
    with certificates.connect(daemon) as s:
        s.unwrap()  # both ends send close_notify


@pytest.mark.parametrize("suite", SUITES_13)
def test_suites_of_tls_1_3(ackd, certificates, suite):
    daemon = ackd(certificates.group())
    host, port = daemon.address().sockaddr
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_3", "-ciphersuites", suite,
               "-CAfile", certificates["ca.pem"], "-verify_return_error"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as client:
        # K and k are KeyUpdates, with and without a request for one in return
        said = b""
        for line, answer in ((b"one\n", b"Got one"), (b"K\n", b"KEYUPDATE"), (b"two\n", b"Got two"),
                             (b"k\n", b"KEYUPDATE"), (b"three\n", b"Got three")):
            before = said.count(answer)
            client.stdin.write(line)
            client.stdin.flush()
            while said.count(answer) == before:
                part = client.stdout.read1()
                assert part, said
                said += part
        client.stdin.write(b"Q\n")
        client.stdin.close()
        client.wait(SOON)
    assert suite.encode() in said


def test_bytes_of_messages_are_counted(ackd, certificates):
    """Not those that TLS adds to them, nor those of the handshake."""
    daemon = ackd(ECHO + certificates.group())
    with Client(daemon, certificates) as client:
        for n in (1, 20_000):
            assert client.exchange(text(n), n) == text(n)
    daemon.wait_for("20001 bytes in, 20001 bytes out")


def test_one_byte_per_record_and_per_segment(ackd, certificates):
    daemon = ackd('framing = "line";' + certificates.group())
    with Client(daemon, certificates) as client:
        client.plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"message\n":
            for part in client.seal(bytes([byte])):
                client.send(bytes([part]))
        assert client.read(len("Got message\n")) == b"Got message\n"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_data_in_the_segment_of_the_last_handshake_record(ackd, certificates, version):
    daemon = ackd(certificates.group())
    with Client(daemon, certificates, version=version) as client:
        client.send(client.seal(b"early"))
        assert client.read(len("Got early")) == b"Got early"


# ---- the end ----


def test_close_notify_is_the_end_of_input(ackd, certificates):
    """It is answered, before the daemon's own close_notify."""
    daemon = ackd('framing = "line"; log = { level = "debug"; };' + certificates.group())
    with Client(daemon, certificates) as client:
        client.send(client.seal(b"no line feed"))
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.send(client.outgoing.read())
        # Python does not read after its own close_notify: these are the records of 16 and 2 bytes
        answer = read_to_end(client.plain)
        assert len(answer) == len("Got no line feed") + 2 + 2 * (5 + 1 + 16)
    daemon.wait_for(r"ended: end of input; 1 message")


def test_truncation(ackd, certificates):
    """Without close_notify, an unfinished line is not answered."""
    daemon = ackd('framing = "line"; log = { level = "debug"; };' + certificates.group())
    with Client(daemon, certificates) as client:
        client.send(client.seal(b"complete\nunfinished"))
        assert client.read(len("Got complete\n")) == b"Got complete\n"
        client.plain.shutdown(socket.SHUT_WR)
        daemon.wait_for(r"ended: closed without close_notify; 1 message")
        # the daemon's own end is orderly
        client.incoming.write(read_to_end(client.plain))
        assert client.tls.read(1) == b""


def test_daemon_sends_close_notify_when_it_ends(ackd, certificates):
    daemon = ackd(ECHO + certificates.group())
    with certificates.connect(daemon) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        daemon.signal(15)
        s.suppress_ragged_eofs = False
        assert s.recv(1) == b""


def test_idle_timeout_sends_close_notify(ackd, certificates):
    daemon = ackd(ECHO + "limits = { idle_timeout = 1; };" + certificates.group())
    with certificates.connect(daemon) as s:
        s.suppress_ragged_eofs = False
        assert s.recv(1) == b""
    daemon.wait_for("ended: idle timeout")


def test_nak_then_close_notify(ackd, certificates):
    daemon = ackd(certificates.group())
    with certificates.connect(daemon) as s:
        s.suppress_ragged_eofs = False
        s.sendall(b"\xff")
        assert read_to_end(s) == b"NAK 0 invalid start byte\n"


# ---- refused clients ----


def alert_of(daemon, data):
    """Returns level and description of the alert that answers @data."""
    with daemon.connect() as s:
        s.sendall(data)
        answer = read_to_end(s)
    assert answer[:1] == b"\x15" and len(answer) == 7, answer
    return tuple(answer[5:])


@pytest.mark.parametrize("data", [b"GET / HTTP/1.0\r\n\r\n", b"hello\n", b"\0", b"\x17\3\3\0\1x",
                                  b"\x80\x2e\1\0\2\0\x15\0\0\0\x10" + bytes(40)],
                         ids=["HTTP", "text", "zero", "data", "SSL 2"])
def test_not_a_tls_client(ackd, certificates, data):
    daemon = ackd(certificates.group())
    assert alert_of(daemon, data) == (2, 10)
    daemon.wait_for(r"refused: not a TLS client")


def hello_of_tls_1_1():
    body = b"\3\2" + bytes(32) + b"\0" + b"\0\2\xc0\x2b" + b"\1\0"
    hello = b"\1" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\3\1" + struct.pack("!H", len(hello)) + hello


def test_old_version(ackd, certificates):
    daemon = ackd(certificates.group())
    assert alert_of(daemon, hello_of_tls_1_1()) == (2, 70)
    daemon.wait_for(r"refused: (unsupported protocol|version too low)")


def test_min_version(ackd, certificates):
    daemon = ackd(certificates.group('min_version = "1.3";'))
    with pytest.raises(ssl.SSLError, match="(?i)alert.protocol.version"):
        certificates.connect(daemon, version=ssl.TLSVersion.TLSv1_2)
    certificates.connect(daemon, version=ssl.TLSVersion.TLSv1_3).close()
    daemon.wait_for(r"refused: unsupported protocol")


def test_suite_without_aead(ackd, certificates):
    daemon = ackd(certificates.group())
    with pytest.raises(ssl.SSLError, match="(?i)handshake.failure"):
        certificates.connect(daemon, version=ssl.TLSVersion.TLSv1_2, suite="ECDHE-ECDSA-AES128-SHA")
    daemon.wait_for(r"refused: no shared cipher")


def test_client_certificates(ackd, certificates):
    daemon = ackd(ECHO + certificates.group(f'client_ca = "{certificates["ca.pem"]}";'))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with certificates.connect(daemon, certificate="client", version=version) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
        mark = daemon.mark()
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            with certificates.connect(daemon, version=version) as s:
                s.recv(1)
        daemon.wait_for(r"refused: peer did not return a certificate", after=mark)


def test_subject_of_a_client_certificate(ackd, certificates):
    daemon = ackd('framing = "line"; greeting = "<${tls_subject}>"; ack_prefix = "${tls_subject}: ";'
                  + certificates.group(f'client_ca = "{certificates["ca.pem"]}";'))
    with certificates.connect(daemon, certificate="client") as s:
        assert s.recv(100) == b"<CN=client.example>"
        s.sendall(b"x\n")
        assert s.recv(100) == b"CN=client.example: x\n"


def test_no_subject_without_a_client_certificate(ackd, certificates):
    daemon = ackd('greeting = "<${tls_subject}>";' + certificates.group())
    with certificates.connect(daemon) as s:
        assert s.recv(100) == b"<>"


def test_restart_keeps_the_subject(unit, certificates):
    daemon = unit.start('address = "127.0.0.1"; framing = "line"; ack_prefix = "${tls_subject}: ";'
                        + certificates.group(f'client_ca = "{certificates["ca.pem"]}";'))
    with certificates.connect(daemon, certificate="client") as s:
        for text in (b"one\n", b"two\n", b"three\n"):
            s.sendall(text)
            assert s.recv(100) == b"CN=client.example: " + text
            daemon = unit.again(daemon)


def test_alpn(ackd, certificates):
    daemon = ackd(certificates.group('alpn = ["ackd", "echo"];'))
    with certificates.connect(daemon, alpn=["other", "echo"]) as s:
        assert s.selected_alpn_protocol() == "echo"
    certificates.connect(daemon).close()  # without ALPN
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        certificates.connect(daemon, alpn=["other"])


def test_client_that_leaves_during_the_handshake(ackd, certificates):
    daemon = ackd(certificates.group())
    with daemon.connect() as s:
        s.sendall(b"\x16\3\1\0\x50")
    daemon.wait_for(r"refused: closed during the TLS handshake")


def test_flood_of_handshakes(ackd, certificates):
    """Silent clients take no place. Slow ones lose theirs when another client waits."""
    daemon = ackd(ECHO + "limits = { max_handshakes = 20; };" + certificates.group())
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(daemon.connect())
        served = stack.enter_context(certificates.connect(daemon))
        for _ in range(20):
            slow = stack.enter_context(daemon.connect())
            outgoing = ssl.MemoryBIO()
            hello = certificates.client().wrap_bio(ssl.MemoryBIO(), outgoing,
                                                   server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                hello.do_handshake()
            slow.sendall(outgoing.read())
            assert slow.recv(1)  # it has its place
        for _ in range(3):
            served.sendall(b"x")
            assert served.recv(1) == b"x"
        with certificates.connect(daemon) as waiting:
            waiting.sendall(b"y")
            assert waiting.recv(1) == b"y"
    daemon.wait_for("TLS handshake too slow while others wait")


# ---- metrics ----


def test_metrics(ackd, certificates, config_file):
    if not is_built(config_file):
        pytest.skip("this ackd has no metrics")
    daemon = ackd(ECHO + 'metrics = { address = "127.0.0.1"; port = 0; };'
                  + certificates.group(f'client_ca = "{certificates["ca.pem"]}"; alpn = ["echo"];'))
    v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    for version in (v12, v13):
        with certificates.connect(daemon, certificate="client", version=version) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
            expires = ssl.cert_time_to_seconds(s.getpeercert()["notAfter"])
    alert_of(daemon, b"GET / HTTP/1.0\r\n\r\n")
    alert_of(daemon, hello_of_tls_1_1())
    for options in ({"alpn": ["other"], "version": v13}, {"version": v12},
                    {"version": v12, "suite": "ECDHE-ECDSA-AES128-SHA"}):
        with pytest.raises(ssl.SSLError):
            certificates.connect(daemon, **options)
    with daemon.connect() as plain, pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    with daemon.connect() as s:
        s.sendall(b"\x16\3\1\0\x50")
    with daemon.connect() as s:
        s.sendall(b"\x16\3\1\0\4\xff\0\0\0")
        read_to_end(s)

    def results():
        samples = scrape(daemon.address("metrics"))
        return {key[2:]: n for key, n in samples.items()
                if key[0] == "ackd_tls_handshakes_total" and n > 0}

    wait_until(lambda: sum(results().values()) == 10, "the end of the handshakes")
    assert results() == {
        ("success", "1.2"): 1, ("success", "1.3"): 1, ("not_tls", "none"): 1,
        ("unsupported_version", "none"): 1, ("nothing_in_common", "1.3"): 1,
        ("client_certificate", "1.2"): 1, ("nothing_in_common", "1.2"): 1,
        ("client_alert", "1.3"): 1, ("closed", "none"): 1, ("protocol_error", "none"): 1}
    samples = scrape(daemon.address("metrics"))
    assert samples["ackd_tls_handshake_duration_seconds_count", "ackd"] == 2
    assert 0 < samples["ackd_tls_handshake_duration_seconds_sum", "ackd"] < 2 * SOON
    assert samples["ackd_tls_certificate_expiry_timestamp_seconds", "ackd"] == expires
    daemon.signal(signal.SIGUSR1)
    daemon.wait_for("10 TLS handshakes, 8 of them failed")


# ---- records ----


def test_damaged_record(ackd, certificates):
    """The data before the damage are answered."""
    daemon = ackd('framing = "line"; log = { level = "debug"; };' + certificates.group())
    with Client(daemon, certificates) as client:
        good, bad = client.seal(b"good\n"), bytearray(client.seal(b"bad\n"))
        bad[-1] ^= 1
        client.send(good + bytes(bad))
        client.incoming.write(read_to_end(client.plain))
        assert client.tls.read(100) == b"Got good\n"
        with pytest.raises(ssl.SSLError, match="(?i)bad.record.mac"):
            client.tls.read(100)
    daemon.wait_for(r"ended: TLS error sent: bad_record_mac; 1 message")


def test_client_ca_may_be_any_certificate(ackd, certificates):
    """A certificate in client_ca is trusted without the one that has signed it."""
    daemon = ackd(ECHO + certificates.group(f'client_ca = "{certificates["client.pem"]}";'))
    with certificates.connect(daemon, certificate="client") as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    with pytest.raises(ssl.SSLError), certificates.connect(daemon, certificate="other") as s:
        s.recv(1)


# ---- restart ----


@pytest.mark.parametrize("authority, is_kept", [("renewed.pem", True), ("other.pem", False)])
def test_client_ca_changes_in_a_restart(unit, certificates, authority, is_kept):
    """The next process checks the client's certificate against its own authorities."""
    def config(name):
        return ECHO + 'address = "127.0.0.1";' + certificates.group(
            f'client_ca = "{certificates[name]}";')

    openssl("req", "-x509", "-key", "ca.key", "-out", "renewed.pem", "-subj", "/CN=test CA",
            *AUTHORITY, "-days", "3", directory=certificates.directory)
    daemon = unit.start(config("ca.pem"))
    with certificates.connect(daemon, certificate="client") as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        daemon.write_config(config(authority))
        daemon = unit.again(daemon)
        s.suppress_ragged_eofs = False
        if is_kept:
            s.sendall(b"y")
            assert s.recv(1) == b"y"
        else:
            assert s.recv(1) == b""
            daemon.wait_for("ended: client certificate no longer accepted: .*certificate")


def test_tls_is_switched_off_in_a_restart(unit, certificates):
    """A connection with TLS goes on. One without is drained when there is TLS again."""
    daemon = unit.start(ECHO + 'address = "127.0.0.1";' + certificates.group())
    with certificates.connect(daemon) as s:
        daemon.wait_for("connection 1 from")
        daemon.write_config(ECHO + 'address = "127.0.0.1";')
        daemon = unit.again(daemon)
        with daemon.connect() as plain:
            for client in s, plain:
                client.sendall(b"y")
                assert client.recv(1) == b"y"
            daemon.write_config(ECHO + 'address = "127.0.0.1";' + certificates.group())
            daemon = unit.again(daemon)
            assert read_to_end(plain) == b""
            daemon.wait_for("connection 2 .* ended: insufficient TLS")
        s.sendall(b"z")
        assert s.recv(1) == b"z"


# ---- configuration ----


@pytest.mark.parametrize("group, message", [
    ('key = "{server.key}";', "tls.key: needs tls.certificate"),
    ('certificate = "/none";', "tls.certificate: /none: cannot read: No such file"),
    ('certificate = "/";', "tls.certificate: /: not a file"),
    ('certificate = "{server.key}";', "tls.certificate: .*server.key: no certificate: "),
    ('certificate = "{server.pem}";', "tls.certificate: .*server.pem: no key: "),
    ('certificate = "{server.pem}"; key = "{other.key}";',
     "tls.key: .*other.key: not the key of the certificate"),
    ('certificate = "{server.pem}"; key = "{rsa.key}";',
     "tls.key: .*rsa.key: not the key of the certificate"),
    ('certificate = "{expired.pem}"; key = "{server.key}";',
     "tls.certificate: .*expired.pem: certificate 2 of the file, which is sent to clients too, "
     "has expired"),
    ('certificate = "{server.pem}"; key = "{server.key}"; client_ca = "{server.key}";',
     "tls.client_ca: .*server.key: no certificates: "),
    ('certificate = "credential:x";', 'tls.certificate: found "credential:x", but the service '
                                      "manager passes no credentials"),
    ('certificate = "{server.pem}"; key = "{server.key}"; alpn = [""];', "tls.alpn: found "),
    ('certificate = "{server.pem}"; key = "{server.key}"; min_version = "1.1";',
     'tls.min_version: found .*; allowed: "1.2" or "1.3"'),
])
def test_configuration_errors(certificates, config_file, group, message):
    openssl("genrsa", "-out", "rsa.key", "2048", directory=certificates.directory)
    openssl("x509", "-in", "ca.pem", "-signkey", "ca.key", "-days", "0", "-out", "expired-ca.pem",
            directory=certificates.directory)
    with open(certificates["expired.pem"], "w", encoding="utf-8") as chain:
        for name in ("server.pem", "expired-ca.pem"):
            with open(certificates[name], encoding="utf-8") as file:
                chain.write(file.read())
    for name in ("server.pem", "server.key", "other.key", "rsa.key", "expired.pem"):
        group = group.replace("{" + name + "}", certificates[name])
    done = run_ackd("-t", "-c", config_file(f"tls = {{ {group} }};"))
    assert done.returncode == 78
    assert re.search(message, done.stderr), done.stderr


def test_group_at_top_level_applies_to_every_listener(ackd, certificates, config_file):
    """It is an error if a listener has no certificate then, because that would serve plain text."""
    group = certificates.group()
    own = 'listeners = ( { name = "a"; address = "127.0.0.1"; port = 0; %s },\n' \
          ' { name = "b"; address = "127.0.0.1"; port = 0; %s } );'
    for text, at in ('tls = { min_version = "1.3"; };\n' + own % (group, ""), r":1"), \
            (own % (group, ""), "--set"):
        arguments = () if at == ":1" else ("--set", "tls.min_version=1.3")
        done = run_ackd("-t", "-c", config_file(text), *arguments)
        assert done.returncode == 78
        assert re.search(f"{at}.*tls.min_version.*: needs tls.certificate, which listener 1 "
                         r"\(.*:[23]\) does not have; allowed: ", done.stderr), done.stderr
    done = run_ackd("-t", "-c", config_file(own % (group, "tls = { min_version = \"1.3\"; };")))
    assert re.search(r"listeners\[1\].tls.min_version: needs tls.certificate$", done.stderr, re.M)
    daemon = ackd(group + own % ("", 'tls = { min_version = "1.3"; };'), arguments=())
    old = certificates.client(version=ssl.TLSVersion.TLSv1_2)
    with old.wrap_socket(daemon.connect("a"), server_hostname="localhost") as s:
        assert s.version() == "TLSv1.2"
    with daemon.connect("b") as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="localhost")


def test_memory_bound_includes_tls(ackd, certificates):
    """The line in the log counts what connections and threads take for TLS."""
    config = 'workers = 4; limits = { max_connections = 5000; }; log = { level = "debug"; };\n'
    bounds = []
    for group in "", certificates.group():
        daemon = ackd(config + group)
        bounds.append(int(daemon.wait_for(r"memory: at most (\d+) MiB: ")[1]))
    assert bounds[0] + 5 <= bounds[1] <= bounds[0] + 10


def test_warning_about_a_readable_key(ackd, certificates, config_file, tmp_path):
    key = tmp_path / "server.key"
    with open(certificates["server.key"], encoding="utf-8") as file:
        key.write_text(file.read())
    key.chmod(0o644)
    config = f'tls = {{ certificate = "{certificates["server.pem"]}"; key = "{key}"; }};'
    warning = (fr"tls.key: {key}: every user can read the key \(mode 0644\); "
               "allowed: mode 0600, or 0640 if root owns the file")
    done = run_ackd("-t", "-c", config_file(config))
    assert done.returncode == 0
    assert re.fullmatch(f"warning: listener ackd: {warning}\n", done.stderr)
    daemon = ackd(config)
    daemon.wait_for(f"warning listen: ackd: {warning}")
    mark = daemon.mark()
    assert daemon.reload()
    daemon.wait_for(f"warning listen: ackd: {warning}", after=mark)
    key.chmod(0o600)
    done = run_ackd("-t", "-c", config_file(config))
    assert (done.returncode, done.stderr) == (0, "")


def test_reload_changes_the_certificate(ackd, certificates):
    daemon = ackd(ECHO + certificates.group())

    def subject():
        with certificates.connect(daemon) as s:
            return dict(x[0] for x in s.getpeercert()["subject"])["commonName"]

    old = certificates.connect(daemon)
    assert subject() == "server.example"
    daemon.write_config(ECHO + certificates.group(name="other"))
    assert daemon.reload()
    assert subject() == "other.example"
    daemon.write_config(ECHO + certificates.group().replace("server.pem", "absent.pem"))
    assert not daemon.reload()
    assert subject() == "other.example"
    old.sendall(b"x")
    assert old.recv(1) == b"x"
    old.close()


def test_reload_command_needs_no_credentials(ackd, certificates, directory):
    """systemd passes them to the main process only."""
    config = ECHO + 'tls = { certificate = "credential:server.pem"; key = "credential:server.key"; };'
    runtime = {"RUNTIME_DIRECTORY": directory}
    daemon = ackd(config, env={"CREDENTIALS_DIRECTORY": str(certificates.directory), **runtime})
    for name, status in (("server", 0), ("absent", 1)):
        daemon.write_config(config.replace("server.", f"{name}."))
        done = run_ackd("-c", daemon.config_path, "--reload", env=environment(runtime))
        assert (done.returncode != 0) == status, done.stderr
    certificates.connect(daemon).close()
