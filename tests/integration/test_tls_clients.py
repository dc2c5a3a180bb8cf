"""TLS clients of other programs with every suite, much data, and changes of keys.

Each program copies its standard input to ackd, and the answers to its standard output.
"""

import contextlib
import os
import pathlib
import random
import ssl
import subprocess
import threading
from typing import NamedTuple

import pytest

from harness import SOON, build_directory, have, spawn
from test_tls import AUTHORITY, Certificates, Client, openssl

pytestmark = pytest.mark.skipif(not have("openssl"), reason="the command openssl is not installed")

CLIENTS = pathlib.Path(__file__).parent / "tls_clients"
LENGTH = 200_000  # bytes that a program sends
IS_WHOLE = "ACKD_TEST_ALL" in os.environ


class Suite(NamedTuple):
    cipher: str
    key: str = ""  # TLS 1.2: of the certificate

    @property
    def version(self):
        return "1.2" if self.key else "1.3"

    @property
    def name(self):
        return f"TLS_ECDHE_{self.key}_WITH_{self.cipher}" if self.key else f"TLS_{self.cipher}"

    @property
    def openssl(self):
        """The name that OpenSSL uses."""
        if not self.key:
            return self.name
        cipher = self.cipher.replace("_CBC", "").replace("1305_SHA256", "1305")
        return f"ECDHE-{self.key}-" + cipher.replace("AES_", "AES").replace("_", "-")

    @property
    def gnutls(self):
        """A priority string of GnuTLS."""
        cipher = self.cipher.rpartition("_")[0].replace("_", "-")
        exchange = f":-KX-ALL:+ECDHE-{self.key}" if self.key else ""
        return f"NORMAL:-VERS-ALL:+VERS-TLS{self.version}:-CIPHER-ALL:+{cipher}{exchange}"


CIPHERS = ["AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"]
SUITES = [Suite(cipher, key) for key in ("", "ECDSA", "RSA") for cipher in CIPHERS]
# ackd refuses these, which shows that a program offers only the suite that it is to use.
REFUSED = [Suite("AES_128_CCM_SHA256"), Suite("AES_128_CBC_SHA", "ECDSA")]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

OPENSSL_CONF = """
openssl_conf = init
[init]
ssl_conf = all
[all]
system_default = suite
[suite]
MinProtocol = TLSv{version}
MaxProtocol = TLSv{version}
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """With a second server's certificate whose key is an RSA key."""
    made = Certificates(tmp_path_factory.mktemp("tls"))
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "rsa.key", "-out", "rsa.pem",
            "-days", "2", "-subj", "/CN=rsa.example", *AUTHORITY, "-addext", "subjectAltName=DNS:localhost",
            directory=made.directory)
    with open(made["all.pem"], "w", encoding="ascii") as file:
        for name in ("ca.pem", "rsa.pem"):
            with open(made[name], encoding="ascii") as part:
                file.write(part.read())
    return made


def openssl_conf(directory, suite):
    """Writes a configuration for programs that use OpenSSL; returns its path."""
    path = f"{directory}/{suite.name}.conf"
    with open(path, "w", encoding="ascii") as file:
        file.write(OPENSSL_CONF.format(version=suite.version))
        file.write(f"{'CipherString' if suite.key else 'Ciphersuites'} = {suite.openssl}\n")
    return path


def stunnel_conf(directory, port, authorities, suite):
    """Writes a configuration; returns its path."""
    path = f"{directory}/{suite.name}.stunnel"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"""client = yes
            syslog = no
            connect = 127.0.0.1:{port}
            CAfile = {authorities}
            verifyChain = yes
            checkHost = localhost
            sni = localhost
            sslVersion = TLSv{suite.version}
            {'ciphers' if suite.key else 'ciphersuites'} = {suite.openssl}\n""")
    return path


def go_client(directory):
    """Builds the client in Go; returns its path."""
    path = f"{directory}/go_client"
    cache = build_directory() / "tests/integration/go-cache"
    subprocess.run(["go", "build", "-o", path, CLIENTS / "client.go"], check=True, stdin=subprocess.DEVNULL,
                   timeout=10 * SOON, env={**os.environ, "GO111MODULE": "off", "GOFLAGS": "",
                                           "GOCACHE": str(cache), "CGO_ENABLED": "0"})
    return path


def command(program, directory, port, authorities, suite):
    """Returns the command of a client."""
    own = [str(port), authorities, suite.version]
    return {
        "openssl": lambda: [
            "openssl", "s_client", "-quiet", "-no_ign_eof", "-msg", "-msgfile",
            f"{directory}/openssl.log", "-connect", f"127.0.0.1:{port}", "-servername", "localhost",
            "-verify_hostname", "localhost", "-verify_return_error", "-CAfile", authorities],
        "gnutls-cli": lambda: [
            "gnutls-cli", "--logfile", f"{directory}/gnutls.log", "--priority", suite.gnutls,
            "--inline-commands", "--x509cafile", authorities, "--sni-hostname", "localhost",
            "--verify-hostname", "localhost", "-p", str(port), "127.0.0.1"],
        "go": lambda: [f"{directory}/go_client", *own, suite.name],
        "node": lambda: ["node", str(CLIENTS / "client.js"), *own, suite.openssl],
        "ncat": lambda: [
            "ncat", "-4", "--ssl", "--ssl-verify", "--ssl-trustfile", authorities,
            *(["--ssl-ciphers", suite.openssl] if suite.key else []), "localhost", str(port)],
        "socat": lambda: [
            "socat", "-t", "20", "-", f"OPENSSL:localhost:{port},pf=ip4,snihost=localhost,"
            f"cafile={authorities}" + f",ciphers={suite.openssl}" * bool(suite.key)],
        "stunnel": lambda: ["stunnel", stunnel_conf(directory, port, authorities, suite)],
    }[program]()


# How each program ends the connection when its input ends.
ENDS = {
    **dict.fromkeys(("openssl", "gnutls-cli", "go", "node", "socat", "stunnel"), "end of input"),
    "ncat": "(closed without close_notify|end of input)",  # that of Debian 12, and later ones
}

# Bytes that are sent before the answer to them is awaited. ncat 7.93 does not look for data that OpenSSL
# has decrypted beyond the 8 KiB that it reads, so the end of a longer record stays there.
PIECES = {"ncat": 8192}


class Program:
    """A running client."""

    def __init__(self, program, directory, address, certificates, suite):
        self.process = spawn(
            command(program, directory, address.port, certificates["all.pem"], suite),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "OPENSSL_CONF": openssl_conf(directory, suite)})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read(self, n):
        """Returns the next @n bytes."""
        received = bytearray()
        while len(received) < n:
            part = self.process.stdout.read1(n - len(received))
            assert part, f"the end after {len(received)} bytes"
            received += part
        return bytes(received)

    def exchange(self, data):
        """Sends @data, and meanwhile receives as many bytes, which it returns."""
        writer = threading.Thread(target=self.write, args=(data,))
        writer.start()
        received = self.read(len(data))
        writer.join()
        return received

    def end(self):
        """Ends its input, and waits for its end."""
        self.process.stdin.close()
        self.process.wait(SOON)


def letters(n):
    """Returns @n random letters and digits."""
    return random.Random(n).randbytes(n // 2 + 1).hex().encode()[:n]


def lines(n):
    return letters(n).replace(b"0", b"\n")


@pytest.fixture
def program(request, directory):
    if not have(request.param):
        pytest.skip(f"{request.param} is not installed")
    if request.param == "go":
        go_client(directory)
    return request.param


@pytest.mark.parametrize("program", ENDS, indirect=True)
def test_program(ackd, certificates, directory, program):
    daemon = ackd(f"""
        reply = "echo"; framing = "stream"; address = "127.0.0.1"; log = {{ level = "debug"; }};
        listeners = ( {{ name = "ECDSA"; port = 0; {certificates.group()} }},
                      {{ name = "RSA"; port = 0; {certificates.group(name="rsa")} }} );""",
                  arguments=())
    data = lines(LENGTH)
    for suite in SUITES:
        address = daemon.address(suite.key or "ECDSA")
        mark = daemon.mark()
        with Program(program, directory, address, certificates, suite) as client:
            piece = PIECES.get(program, len(data))
            for at in range(0, len(data), piece):
                assert client.exchange(data[at : at + piece]) == data[at : at + piece], suite
            client.end()
        daemon.wait_for(rf"ended: {ENDS[program]}; \d+ messages?, {LENGTH} bytes in, {LENGTH} bytes out",
                        after=mark)
    for suite in REFUSED[program == "go":]:  # Go chooses the suites of TLS 1.3 itself
        mark = daemon.mark()
        with Program(program, directory, daemon.address("ECDSA"), certificates, suite):
            daemon.wait_for("refused: no shared cipher", after=mark)


@pytest.mark.parametrize("suite", [x for x in SUITES if x.key], ids=lambda x: x.openssl)
def test_python(ackd, certificates, suite):
    """test_tls.py uses Python with the other suites."""
    name = "server" if suite.key == "ECDSA" else "rsa"
    daemon = ackd('reply = "echo"; framing = "stream";' + certificates.group(name=name))
    with Client(daemon, certificates, version=ssl.TLSVersion.TLSv1_2, suite=suite.openssl,
                authorities="all.pem") as client:
        assert client.exchange(letters(LENGTH), LENGTH) == letters(LENGTH)
        assert client.tls.cipher()[0] == suite.openssl


# ---- much data ----


@pytest.mark.parametrize("version", VERSIONS)
def test_many_mebibytes(ackd, certificates, version, record_property):
    """Both directions simultaneously: 64 MiB with ACKD_TEST_ALL, otherwise 4."""
    n = (64 if IS_WHOLE else 4) << 20
    record_property("MiB", n >> 20)
    daemon = ackd('reply = "echo"; framing = "stream";' + certificates.group())
    with Client(daemon, certificates, version=version) as client:
        assert client.exchange(letters(n), n) == letters(n)


@pytest.mark.parametrize("version", VERSIONS)
def test_records_of_each_length(ackd, certificates, version, record_property):
    """From 1 to 16384 bytes: all with ACKD_TEST_ALL, otherwise 1 in 64."""
    lengths = [*range(1, 16384, 1 if IS_WHOLE else 64), 16383, 16384]
    record_property("lengths", len(lengths))
    daemon = ackd('reply = "echo"; framing = "stream";' + certificates.group())
    data = letters(16384)
    with Client(daemon, certificates, version=version) as client:
        for n in lengths:
            client.send(client.seal(data[-n:]))
            assert client.read(n) == data[-n:], n


@pytest.mark.parametrize("version", VERSIONS)
def test_one_byte_per_record(ackd, certificates, version):
    daemon = ackd('reply = "echo"; framing = "stream";' + certificates.group())
    data = letters(5000)
    with Client(daemon, certificates, version=version) as client:
        for at in range(0, len(data), 1000):
            part = data[at : at + 1000]
            client.send(b"".join(client.seal(bytes([byte])) for byte in part))
            assert client.read(1000) == part


# ---- changes of keys ----


def test_key_updates_of_gnutls(ackd, certificates, directory):
    """GnuTLS changes its key, and requests a change of ackd's. It permits 8 changes in a second."""
    if not have("gnutls-cli"):
        pytest.skip("gnutls-cli is not installed")
    daemon = ackd('reply = "echo"; framing = "stream";' + certificates.group())
    for suite in SUITES[:3]:
        with Program("gnutls-cli", directory, daemon.address(), certificates, suite) as client:
            for i in range(120):
                if i in (0, 1, 2, 4, 6, 10, 110):
                    client.write(b"^rekey^\n")
                assert client.exchange(b"line %d\n" % i) == b"line %d\n" % i
            client.end()


@pytest.mark.parametrize("program", ENDS, indirect=True)
def test_key_updates_of_ackd(ackd, certificates, directory, program):
    """A key is changed after 30 records."""
    binary = build_directory() / "tests/integration/ackd-rekeying"
    if not binary.exists():
        pytest.skip("this build has no tests")
    daemon = ackd('reply = "echo"; framing = "stream"; address = "127.0.0.1";' + certificates.group(),
                  wrapper=["sh", "-c", f'shift; exec {binary} "$@"', "sh"])
    for suite in SUITES[program == "go" and 2:3]:
        with Program(program, directory, daemon.address(), certificates, suite) as client:
            for i in range(200):
                assert client.exchange(b"line %d\n" % i) == b"line %d\n" % i
            client.end()
        if program == "openssl":
            log = pathlib.Path(directory, "openssl.log").read_text()
            assert log.count("<<< TLS 1.3, Handshake [length 0005], KeyUpdate") == 200 // 30
            assert log.count(">>> TLS 1.3, Handshake [length 0005], KeyUpdate") == 200 // 30
