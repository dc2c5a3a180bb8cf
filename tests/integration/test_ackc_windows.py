"""Differences of ackc on Windows; collected only with $ACKD_ACKC. The other tests of ackc run there, too."""

import hashlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import ssl
import struct
import subprocess
import sysconfig

import pytest

import ackc_peers
import test_ackc_tls
from ackc_peers import Running, ackc, ackc_command, echo
from harness import SOON, environment, spawn, within

peer = ackc_peers.peer
certificates = test_ackc_tls.certificates
server = test_ackc_tls.server
COMMANDS = {"send": ("x",), "ping": (), "load": ()}


@pytest.mark.parametrize("command", COMMANDS)
def test_unix_sockets_are_refused(command):
    done = ackc(command, "unix:/run/ackd", *COMMANDS[command])
    assert (done.status, done.out) == (64, "")
    assert done.err.startswith("ackc: unix:/run/ackd: UNIX sockets are not supported on this system\n")


def test_many_connections_are_held(ackd, record_property):
    daemon = ackd("limits: { max_connections = 1000; };")
    done = ackc("load", "--json", "-c", "700", "-n", "2100", "-w", within(30), *daemon.address().sockaddr[:2],
                timeout=4 * SOON)
    summary = json.loads(done.out)
    assert done.status == 0, done
    assert (summary["opened"], summary["completed"], summary["errors"]) == (700, 2100, [])
    record_property("messages per second", int(summary["messages_per_second"]))


def test_any_character_is_sent(peer):
    text = "a\"b\\ *?.c 'é€Ж日😀"
    done = ackc("127.0.0.1", peer(echo).port, text, "")
    assert (done.status, done.out, done.err) == (0, text + "\n\n", "")


@pytest.mark.parametrize("name", ["plain.txt", "naïve Ж 日.txt"])
def test_file_is_sent_unchanged(peer, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"one\r\ntwo\n\x1athree\r\n\xff\n" * 100)
    done = ackc("load", "--json", "--lines", "--file", path, "-n", "400", "-c", "2", "127.0.0.1",
                peer(echo).port)
    assert (done.status, json.loads(done.out)["completed"]) == (0, 400), done
    with path.open("rb") as file:
        done = subprocess.run([*ackc_command(), "127.0.0.1", str(peer(echo).port)], stdin=file,
                              capture_output=True, timeout=SOON, check=False, env=environment())
    assert (done.returncode, done.stdout) == (0, path.read_bytes())


def test_interrupt_prints_the_statistics_of_ping(peer):
    with spawn([*ackc_command(), "ping", "-i", "0.1", "127.0.0.1", str(peer(echo).port)],
               stdout=subprocess.PIPE, env=environment()) as run:
        for _ in range(3):
            assert run.stdout.readline()
        run.send_signal(signal.SIGINT)
        out = run.stdout.read().decode()
        assert " 0% loss" in out
        assert run.wait(SOON) == 0


def test_interrupt_ends_send(peer):
    server = peer(echo)
    run = Running("127.0.0.1", server.port, stdin=subprocess.PIPE)
    server.wait_for_connection()
    run.process.stdin.write(b"hello\n")
    run.process.stdin.flush()
    assert run.process.stdout.read(6) == b"hello\n"
    done = run.end(signal.SIGINT)
    assert (done.status, done.out) == (1, ""), done
    assert done.err.endswith(": interrupted: 6 bytes sent, 6 received\n")


def test_missing_reader_ends_ackc(peer):
    with spawn([*ackc_command(), "ping", "-i", "0.01", "127.0.0.1", str(peer(echo).port)],
               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as run:
        run.stdout.readline()
        run.stdout.close()
        assert run.wait(SOON) == 1
        assert run.stderr.read().startswith(b"ackc: standard output: ")


# ---- certificates ----

CERTIFICATE, USAGE = 0x20, 9  # properties of a certificate in the registry
FOR_CLIENTS = bytes.fromhex("300a06082b06010505070302")  # the extended key usage clientAuth


@pytest.fixture
def windows(tmp_path):
    """A Windows, with a registry, of this test alone: windows(PROGRAM, ARGUMENTS...)."""
    wine, ackc_exe = ackc_command()
    programs = pathlib.Path("/usr/lib", sysconfig.get_config_var("MULTIARCH"), "wine/x86_64-windows")
    shutil.copy(ackc_exe, tmp_path / "ackc.exe")
    shutil.copy(programs / "reg.exe", tmp_path)

    def run(program, *arguments, wrapper=()):
        env = {k: v for k, v in environment().items() if not k.startswith("SSL_CERT_")}
        return subprocess.run([*wrapper, wine, tmp_path / program, *map(str, arguments)], text=True, env=env,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=SOON, check=False)

    return run


def test_roots_of_windows_are_trusted(windows, server, certificates):
    der = ssl.PEM_cert_to_DER_cert(certificates["ca.pem"].read_text())
    port = server().port

    def put(store, properties):
        blob = b"".join(struct.pack("<III", key, 1, len(value)) + value for key, value in properties.items())
        done = windows("reg.exe", "add", "HKCU\\Software\\Microsoft\\SystemCertificates\\" + store +
                       "\\Certificates\\" + hashlib.sha1(der).hexdigest().upper(), "/v", "Blob", "/t",
                       "REG_BINARY", "/d", blob.hex(), "/f")
        assert done.returncode == 0, done

    def is_trusted():
        done = windows("ackc.exe", "--linger", "0.1", "--tls", "localhost", port, "x")
        assert done.stdout == "x\n" or "unknown issuer" in done.stderr, done
        return done.returncode == 0

    assert not is_trusted()
    put("Root", {CERTIFICATE: der})
    assert is_trusted()
    put("Root", {USAGE: FOR_CLIENTS, CERTIFICATE: der})
    assert not is_trusted()
    put("Root", {CERTIFICATE: der})
    put("Disallowed", {CERTIFICATE: der})
    assert not is_trusted()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can replace /etc/ssl")
def test_files_that_any_user_may_create_are_not_read(windows, server, certificates):
    """wine takes /etc of Unix for the directory without a drive that OpenSSL was built with."""
    config = "openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nMaxProtocol=TLSv1.2\n"
    wrapper = ["unshare", "-m", "sh", "-c",
               "mount -t tmpfs none /etc/ssl && "
               f"cp {shlex.quote(str(certificates['ca.pem']))} /etc/ssl/cert.pem && "
               f"printf {shlex.quote(config)} >/etc/ssl/openssl.cnf && exec \"$@\"", "sh"]
    port = server().port
    done = windows("ackc.exe", "--linger", "0.1", "--tls", "localhost", port, "x", wrapper=wrapper)
    assert (done.returncode, done.stdout) == (1, "") and "unknown issuer" in done.stderr, done
    done = windows("ackc.exe", "--linger", "0.1", "--json", "--tls", "--insecure", "localhost", port, "x",
                   wrapper=wrapper)
    assert json.loads(done.stdout.splitlines()[-1])["tls"]["version"] == "TLS 1.3"
