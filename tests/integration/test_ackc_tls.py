"""ackc --tls: against Python's ssl, with every problem of a certificate, and ends of all kinds."""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

import ackc_peers
from ackc_peers import MLLP, ackc, each_text, echo, silent
from harness import SOON, have, wait_until, within

peer = ackc_peers.peer

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
CA_CONFIG = """[ca]
default_ca = here
[here]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""
NAMES = "subjectAltName=DNS:localhost,DNS:*.echo.example,IP:127.0.0.1,IP:::1"


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SOON)


class Certificates:
    """An authority and its certificates; certificates["server"] is the path without .pem or .key."""

    KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def __init__(self, directory):
        self.directory = directory
        (directory / "ca.cnf").write_text(CA_CONFIG)
        (directory / "index").write_text("")
        (directory / "serial").write_text("01\n")
        self.self_signed("ca", "/CN=Test CA")
        self.self_signed("alone", "/CN=localhost", NAMES)
        self.issue("server", NAMES)
        self.issue("elsewhere", "subjectAltName=DNS:a.example,DNS:b.example,IP:192.0.2.7")
        self.issue("expired", NAMES, "200101000000Z", "200301120000Z")
        self.issue("early", NAMES, "490101000000Z", "491231000000Z")
        self.issue("old", NAMES, "600101000000Z", "650101000000Z")
        self.issue("eternal", NAMES, "200101000000Z", "99991231235959Z")  # RFC 5280, section 4.1.2.5
        self.issue("malformed", "subjectAltName=DER:30:03:87:01:7f")  # an address of one byte
        self.issue("nul", "subjectAltName=DER:30:0d:82:0b:6c:6f:63:61:6c:68:6f:73:74:00:78")
        self.issue("client", "subjectAltName=DNS:client.example")
        self.issue("clients-only", "extendedKeyUsage=clientAuth")

    def __getitem__(self, name):
        return self.directory / name

    def self_signed(self, name, subject, extension="basicConstraints=critical,CA:TRUE"):
        openssl(self.directory, "req", "-x509", *self.KEY, "-keyout", f"{name}.key", "-out",
                f"{name}.pem", "-subj", subject, "-days", "90", "-addext", extension)

    def issue(self, name, extension, *validity):
        start, end = validity or ("200101000000Z", time.strftime(
            "%y%m%d%H%M%SZ", time.gmtime(time.time() + 40 * 86400 + 3600)))
        openssl(self.directory, "req", *self.KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}", "-addext", extension)
        openssl(self.directory, "ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem",
                "-keyfile", "ca.key", "-in", f"{name}.csr", "-out", f"{name}.pem", "-startdate",
                start, "-enddate", end)

    def context(self, name="server", version=None, client_ca=False, alpn=None):
        """Returns the context of a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self[name]}.pem", f"{self[name]}.key")
        if version:
            context.minimum_version = context.maximum_version = version
        if client_ca:
            context.load_verify_locations(self["ca.pem"])
            context.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    if "openssl none" in ackc("--version").out:
        pytest.skip("this build has no TLS")
    if not have("openssl"):
        pytest.skip("the command openssl is not installed")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(peer, certificates):
    """Starts a server: server(handler, name of the certificate, other options of the context)."""

    def make(handler=echo, name="server", **options):
        context = certificates.context(name, **options)

        def handle(s):
            with context.wrap_socket(s, server_side=True) as tls:
                handler(tls)
                tls.unwrap()

        return peer(handle)

    return make


@pytest.fixture
def trusting(certificates):
    """Runs ackc with --tls and the authority of the tests. Servers here support half-close."""

    def run(*arguments, **options):
        command = [a for a in arguments[:1] if a in ("ping", "load")]
        return ackc(*(command or ["--linger", "0.1"]), "--tls", "--ca", certificates["ca.pem"],
                    *arguments[len(command):], **options)

    return run


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
def test_send_with_both_versions(server, trusting, version):
    port = server(version=version).port
    for host in ("localhost", "127.0.0.1", f"localhost:{port}"):
        done = trusting(host, *([] if ":" in host else [port]), "one", "two")
        assert (done.status, done.out, done.err) == (0, "one\ntwo\n", ""), done
    done = trusting("--json", "localhost", port, "x")
    summary = json.loads(done.out.splitlines()[-1])
    assert summary["handshake_ms"] > 0 and summary["connect_ms"] > 0
    tls = summary["tls"]
    assert tls["version"] == ("TLS 1.2" if version == TLS12 else "TLS 1.3")
    assert (tls["subject"], tls["issuer"]) == ("CN=server", "CN=Test CA")
    assert (tls["alpn"], tls["verified"], tls["problem"]) == (None, True, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", tls["expires"])


@pytest.mark.parametrize("name, when", [("old", "1965-01-01T00:00:00Z"),
                                        ("eternal", "9999-12-31T23:59:59Z")])
def test_distant_expiry_is_reported(server, trusting, name, when):
    done = trusting("--json", "--insecure", "localhost", server(name=name).port, "x")
    assert json.loads(done.out.splitlines()[-1])["tls"]["expires"] == when


def test_plain_summary_has_no_tls(peer):
    done = ackc("--json", "127.0.0.1", peer(echo).port, "x")
    summary = json.loads(done.out.splitlines()[-1])
    assert (summary["tls"], summary["handshake_ms"]) == (None, None)


def test_many_bytes_in_both_directions(server, trusting):
    """More than all buffers hold, while the server sends back what it has read."""
    data = os.urandom(1 << 20) * 16
    done = trusting("localhost", server().port, data=data)
    assert (done.status, done.raw == data, done.err) == (0, True, "")


@pytest.mark.parametrize("name, words", [
    ("expired", "the certificate of the server expired at 2020-03-01T12:00:00Z"),
    ("early", "the certificate of the server is not valid before 2049-01-01T00:00:00Z"),
    ("alone", "the certificate of the server is self-signed (CN=localhost) and not trusted"),
    ("elsewhere", "the certificate of the server is for a.example, b.example, 192.0.2.7, not for "
                  "localhost"),
    ("malformed", "the certificate of the server is for an invalid address, not for localhost"),
    ("nul", "the certificate of the server is for an invalid name, not for localhost"),
    ("clients-only", "the certificate of the server is not for servers"),
])
def test_problems_of_certificates(server, trusting, name, words):
    port = server(name=name).port
    done = trusting("localhost", port, "x")
    assert (done.status, done.out) == (1, "")
    assert done.err == f"ackc: localhost:{port}: {words}\n"
    done = trusting("--insecure", "localhost", port, "x")
    assert (done.status, done.out) == (0, "x\n")
    assert done.err == f"ackc: localhost:{port}: not verified: {words}\n"


def test_wrong_address(server, trusting):
    done = trusting("127.0.0.1", server(name="elsewhere").port, "x")
    assert (done.status, "b.example, 192.0.2.7, not for 127.0.0.1\n" in done.err) == (1, True)


def test_unknown_issuer(server):
    """Without --ca, the authorities of the system count."""
    port = server().port
    done = ackc("--tls", "localhost", port, "x")
    assert done.status == 1
    assert done.err == (f"ackc: localhost:{port}: the certificate of the server has an unknown "
                        "issuer: CN=Test CA\n")


def test_name_is_asked_for_and_verified(peer, certificates, trusting):
    """The name of --sni, or HOST unless that is an address."""
    asked = []
    context = certificates.context()
    context.sni_callback = lambda tls, name, _: asked.append(name)

    def handle(s):
        with context.wrap_socket(s, server_side=True) as tls:
            echo(tls)
            tls.unwrap()

    port = peer(handle).port
    assert trusting("localhost", port, "x").status == 0
    assert trusting("127.0.0.1", port, "x").status == 0
    assert trusting("--sni", "b.echo.example", "localhost", port, "x").status == 0
    done = trusting("--sni", "echo.example", "localhost", port, "x")
    assert (done.status, "not for echo.example" in done.err) == (1, True)
    assert asked == ["localhost", None, "b.echo.example", "echo.example"]


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
def test_client_certificate(server, trusting, certificates, version):
    port = server(version=version, client_ca=True).port
    client = certificates["client"]
    done = trusting("--cert", f"{client}.pem", "--key", f"{client}.key", "localhost", port, "x")
    assert (done.status, done.out) == (0, "x\n"), done


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
def test_refused_client_certificate(server, trusting, certificates, version):
    port = server(version=version, client_ca=True).port
    done = trusting("localhost", port, "x")
    assert (done.status, done.out) == (1, "")
    words = "the server demands" if version == TLS13 else "it demands"
    assert f"{words} a client certificate (--cert)\n" in done.err
    alone = certificates["alone"]
    done = trusting("--cert", f"{alone}.pem", "--key", f"{alone}.key", "localhost", port, "x")
    assert done.status == 1
    assert "the server does not know the issuer of the client certificate" in done.err


def test_alpn(peer, certificates, server, trusting):
    port = server(alpn=["b", "c"]).port
    done = trusting("--alpn", "a,c", "--json", "localhost", port, "x")
    assert json.loads(done.out.splitlines()[-1])["tls"]["alpn"] == "c"

    def refuse(s):
        """no_application_protocol, which Python's ssl does not send."""
        s.recv(65536)
        s.sendall(b"\x15\3\3\0\2\2\x78")

    done = trusting("--alpn", "a,c", "localhost", peer(refuse).port, "x")
    assert (done.status, "the server accepts no protocol of --alpn a,c\n" in done.err) == (1, True)


@pytest.mark.parametrize("answer, words", [
    (b"NAK 0 invalid start byte\n",
     r"the server does not speak TLS: it sent b'NAK 0 invalid start byte\n'"),
    (b"\x15\3\3\0\2\2\x46", "the server speaks neither TLS 1.2 nor 1.3"),
    (b"\x15\3\3\0\2\2\x50", 'the server sent the TLS alert "internal error"'),
    (b"", "connection closed in the TLS handshake"),
], ids=["plain text", "version", "alert", "end"])
def test_servers_without_handshake(peer, trusting, answer, words):
    def handle(s):
        s.recv(65536)
        s.sendall(answer)

    done = trusting("localhost", peer(handle).port, "x")
    assert (done.status, done.out) == (1, "")
    assert done.err.endswith(f": {words}\n")


def test_echo_server_without_tls(peer, trusting):
    done = trusting("localhost", peer(echo).port, "x")
    assert "does not speak TLS: it echoed the beginning of the handshake" in done.err


def test_silent_server_times_out(peer, trusting):
    done = trusting("-w", within(0.5), "localhost", peer(silent).port, "x")
    assert (done.status, "timed out in the TLS handshake" in done.err) == (1, True)


def test_end_without_close_notify_is_a_failure(peer, certificates, trusting):
    context = certificates.context()

    def handle(s):
        with context.wrap_socket(s, server_side=True) as tls:
            echo(tls)

    done = trusting("localhost", peer(handle).port, "x")
    assert (done.status, done.out) == (1, "x\n")
    assert "connection closed without close_notify" in done.err


def test_half_close_is_a_close_notify(server, trusting):
    """The reply to everything follows the end of the input."""

    def count(tls):
        n = 0
        while data := tls.recv(65536):
            n += len(data)
        tls.sendall(b"%d" % n)

    done = trusting("localhost", server(count).port, data=b"12345")
    assert (done.status, done.out) == (0, "5"), done


def test_header_precedes_the_handshake(peer, certificates, trusting):
    headers = []
    context = certificates.context()

    def handle(s):
        headers.append(s.recv(4096, socket.MSG_PEEK).split(b"\r\n")[0])
        s.recv(len(headers[-1]) + 2)
        with context.wrap_socket(s, server_side=True) as tls:
            echo(tls)
            tls.unwrap()

    done = trusting("--proxy", "v1,192.0.2.7:5000", "localhost", peer(handle).port, "x")
    assert (done.status, done.out) == (0, "x\n")
    assert headers[0].startswith(b"PROXY TCP4 192.0.2.7 ")


def test_unix_socket(tmp_path, certificates, trusting):
    """The certificate is verified, but may be for any name."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    context = certificates.context("elsewhere")

    def serve():
        for _ in range(2):
            s, _ = listener.accept()
            try:
                with context.wrap_socket(s, server_side=True) as tls:
                    echo(tls)
                    tls.unwrap()
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    target = f"unix:{tmp_path}/s"
    done = trusting(target, "x")
    assert (done.status, done.out, done.err) == (0, "x\n", "")
    done = trusting("--sni", "c.example", target, "x")
    assert (done.status, "not for c.example" in done.err) == (1, True)
    listener.close()


def test_frames(server, trusting):
    port = server(each_text(MLLP, lambda s, text: s.sendall(MLLP.wrap(text.upper())))).port
    done = trusting("--frame", MLLP.option, "localhost", port, "text")
    assert (done.status, done.out) == (0, "TEXT\n")


def test_ping(server, trusting):
    port = server().port
    done = trusting("ping", "-c", "2", "-i", "0", "localhost", port)
    assert (done.status, done.err) == (0, ""), done
    assert re.search(r"^TLS 1\.3, TLS_\S+, certificate CN=server of issuer CN=Test CA expires in "
                     r"40\.0 days$", done.out, re.M)
    assert re.search(r"^handshake min/avg/max/mdev = ", done.out, re.M)
    done = trusting("ping", "-c", "2", "-i", "0", "--json", "localhost", port)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [e["event"] for e in events] == ["tls", "reply", "reply", "summary"]
    assert events[0]["tls"] == events[-1]["tls"] and events[0]["tls"]["subject"] == "CN=server"
    assert events[-1]["handshake_ms"]["count"] == events[-1]["connect_ms"]["count"] == 1


def test_ping_with_a_connection_per_probe(peer, certificates, trusting):
    """Each connection has its times, and ends with a close_notify."""
    context, ends = certificates.context(), []

    def handle(s):
        with context.wrap_socket(s, server_side=True, suppress_ragged_eofs=False) as tls:
            try:
                echo(tls)
                ends.append("close_notify")
            except ssl.SSLError as error:
                ends.append(error)

    server = peer(handle)
    done = trusting("ping", "-c", "3", "-i", "0", "--new-connection", "localhost", server.port)
    assert (done.status, done.err) == (0, ""), done
    assert len(re.findall(r" connect=[\d.]+ ms handshake=[\d.]+ ms$", done.out, re.M)) == 3
    assert done.out.count("TLS 1.3") == 1
    wait_until(lambda: len(ends) == server.accepted, "the ends")
    assert set(ends) == {"close_notify"}


def test_ping_reports_an_end_without_close_notify(peer, certificates, trusting):
    """Between two probes it is a cut."""
    context = certificates.context()

    def ending():
        """The second connection, which is the first of ping, ends after a reply."""
        number = iter(range(1 << 30))

        def handle(s):
            is_second = next(number) == 1
            with context.wrap_socket(s, server_side=True) as tls:
                if is_second:
                    tls.sendall(tls.recv(65536))
                else:
                    echo(tls)

        return handle

    for more in ((), ("--no-reconnect",)):
        done = trusting("ping", "-c", "2", "-i", "1", *more, "localhost", peer(ending()).port)
        assert done.status == 1
        assert "connection closed without close_notify" in done.err
        assert ("1 reconnect" in done.out) == (not more)


@pytest.mark.parametrize("options, status", [
    ([], 0), (["--certificate-days", "30"], 0), (["--certificate-days", "50"], 1),
    (["--certificate-days", "60,50"], 2),
], ids=["none", "enough", "warning", "critical"])
def test_plugin_shows_the_days_of_the_certificate(server, trusting, options, status):
    done = trusting("ping", "--plugin", "--count", "1", *options, "localhost", server().port)
    assert done.status == status, done
    assert "certificate expires in 40.0 days |" in done.out
    days = {"30": "30:;", "50": "50:;", "60,50": "60:;50:"}.get(options[-1] if options else "", ";")
    assert re.search(rf" handshake=[\d.]+ms;;;0 certificate_days=40\.0\d;{days};?;\n", done.out)


def test_plugin_with_an_expired_certificate(server, trusting):
    port = server(name="expired").port
    done = trusting("ping", "--plugin", "localhost", port)
    assert (done.status, "expired at 2020-03-01T12:00:00Z" in done.out) == (2, True)
    done = trusting("ping", "--certificate-days", "5", "--insecure", "localhost", port)
    assert (done.status, "certificate expired " in done.out) == (1, True)


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
def test_load(server, trusting, version):
    port = server(version=version).port
    command = ("load", "-c", "20", "-t", "2", "-p", "4", "-n", "2000")
    done = trusting(*command, "--json", "localhost", port)
    summary = json.loads(done.out)
    assert (done.status, summary["completed"], summary["errors"]) == (0, 2000, [])
    assert summary["handshake_ms"]["count"] == summary["connect_ms"]["count"] == 20
    assert summary["tls"]["subject"] == "CN=server"
    done = trusting(*command, "localhost", port)
    assert re.search(r"^TLS 1\.[23], \S+, certificate CN=server ", done.out, re.M)
    assert re.search(r"^handshake p50/p90/p99/p99\.9 = ", done.out, re.M)


def test_load_connects_again(peer, certificates, trusting):
    """After a failed handshake, and after an end without close_notify."""
    context = certificates.context()
    count = iter(range(1 << 30))

    def handle(s):
        number = next(count)
        if number == 1:
            return
        with context.wrap_socket(s, server_side=True) as tls:
            if number == 2:
                for _ in range(5):
                    tls.sendall(tls.recv(65536))
            else:
                echo(tls)

    done = trusting("load", "-c", "2", "-n", "200", "--json", "localhost", peer(handle).port)
    summary = json.loads(done.out)
    assert done.status == 1
    kinds = {e["kind"] for e in summary["errors"]}
    assert kinds <= {"connection closed in the TLS handshake", "connection reset in the TLS handshake",
                     "connection closed without close_notify", "connection reset"}, kinds
    assert summary["completed"] + summary["lost"] == 200


@pytest.mark.parametrize("arguments, words", [
    (("--ca", "x", "h"), "'--ca' needs '--tls'"),
    (("--insecure", "h"), "'--insecure' needs '--tls'"),
    (("--alpn", "x", "h"), "'--alpn' needs '--tls'"),
    (("ping", "--tls", "--certificate-days", "7,30", "h"), None),
    (("ping", "--certificate-days", "7", "h"), None),
    (("--tls", "--key", "x", "h"), "'--key' needs '--cert'"),
    (("--tls", "--alpn", "a,,b", "h"),
     "--alpn: 'a,,b' is not NAME[,NAME], where a NAME has 1 to 255 bytes"),
    (("--tls", "--ca", "/nowhere/ca.pem", "h"),
     "--ca: /nowhere/ca.pem: no such file or directory"),
    (("--tls", "--ca", "server.key", "h"), "--ca: server.key: no certificate in PEM format"),
    (("--tls", "--ca", ".", "h"), "--ca: .: is a directory"),
    (("--tls", "--cert", "server.pem", "h"), "--cert: server.pem: no private key in PEM format"),
    (("--tls", "--cert", "server.pem", "--key", "client.key", "h"),
     "--key: client.key: the key does not belong to the certificate"),
    (("--tls", "--cert", "client.pem", "--key", "nowhere", "h"),
     "--key: nowhere: no such file or directory"),
    (("--tls", "--cert", "server.key", "h"), "--cert: server.key: no certificate in PEM format"),
], ids=lambda a: " ".join(a) if isinstance(a, tuple) else "")
def test_usage_errors(certificates, arguments, words):
    done = ackc(*arguments, cwd=certificates.directory)
    if words:
        assert (done.status, done.err.splitlines()[0]) == (64, f"ackc: {words}")
    else:  # a plugin
        assert done.status == 3 and "certificate-days" in done.out


def test_files_may_be_pipes(server, certificates):
    """As bash makes them of <(command): they can be read only once."""
    port = server(client_ca=True).port
    files = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}
    with contextlib.ExitStack() as stack:
        options, pipes = [], []
        for option, name in files.items():
            end, other = os.pipe()
            stack.callback(os.close, end)
            os.write(other, certificates[name].read_bytes())
            os.close(other)
            pipes.append(end)
            options += [f"--{option}", f"/dev/fd/{end}"]
        done = ackc("--linger", "0.1", "--tls", *options, "localhost", port, "x", pass_fds=pipes)
    assert (done.status, done.out, done.err) == (0, "x\n", "")


def test_certificate_that_openssl_rejects(certificates):
    """It has the right format."""
    openssl(certificates.directory, "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout",
            "short.key", "-out", "short.pem", "-subj", "/CN=short", "-days", "9")
    done = ackc("--tls", "--cert", "short.pem", "--key", "short.key", "h",
                cwd=certificates.directory)
    assert (done.status, done.err.splitlines()[0]) == (64, "ackc: --cert: short.pem: ee key too small")


def test_trusted_certificate_needs_no_root(server, certificates):
    """The server's own, or that of any issuer in its chain, is enough for --ca."""
    done = ackc("--linger", "0.1", "--tls", "--ca", certificates["server.pem"], "localhost",
                server().port, "x")
    assert (done.status, done.out, done.err) == (0, "x\n", "")
    port = server(name="elsewhere").port
    done = ackc("--tls", "--ca", certificates["server.pem"], "localhost", port, "x")
    assert (done.status, "has an unknown issuer: CN=Test CA" in done.err) == (1, True), done


def test_encrypted_key_is_an_error(certificates):
    """ackc does not ask for the passphrase."""
    openssl(certificates.directory, "pkey", "-in", "client.key", "-out", "secret.key", "-aes256",
            "-passout", "pass:word")
    done = ackc("--tls", "--cert", "client.pem", "--key", "secret.key", "h",
                cwd=certificates.directory)
    assert done.err == "ackc: --key: secret.key: the key is encrypted with a passphrase\n"
