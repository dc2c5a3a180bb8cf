"""ackc --proxy: every command supports listeners that expect PROXY headers."""

import json
import re
import socket
import threading

import pytest

import ackc_peers
from ackc_peers import ackc, echo

peer = ackc_peers.peer

CONFIG = """address = "127.0.0.1"; port = 0; proxies = ["127.0.0.1"]; greeting = "${peer}\\n";
ack_prefix = "Got ";"""

# (--proxy, the client address that the server uses)
CHOICES = [
    ("v1", r"127\.0\.0\.1:\d+"), ("v2", r"127\.0\.0\.1:\d+"),
    ("v1,192.0.2.7:5000", r"192\.0\.2\.7:5000"), ("v2,192.0.2.7:5000", r"192\.0\.2\.7:5000"),
    ("v1,[2001:db8::7]:5000", r"\[2001:db8::7\]:5000"),
    ("v2,[2001:db8::7]:5000", r"\[2001:db8::7\]:5000"),
]


@pytest.mark.parametrize("choice, client", CHOICES, ids=[c for c, _ in CHOICES])
def test_send_with_a_proxy_header(ackd, choice, client):
    port = ackd(CONFIG).address().port
    done = ackc("--proxy", choice, "127.0.0.1", port, "text")
    assert done.status == 0, done
    assert re.fullmatch(client + "\nGot text\n", done.out)


@pytest.mark.parametrize("choice", ["v1", "v2", "v2,192.0.2.7:5000"])
def test_ping_and_load_with_a_proxy_header(ackd, choice):
    config = CONFIG.replace("${peer}", "hello")
    port = ackd(config + ' framing = "line";').address().port
    for command in (("ping", "-c", "3", "-i", "0"), ("ping", "-c", "3", "-i", "0", "--new-connection"),
                    ("load", "-c", "5", "-n", "100")):
        done = ackc(*command, "--proxy", choice, "127.0.0.1", port)
        assert (done.status, done.err) == (0, ""), (command, done)


def test_connection_without_header_is_closed(ackd):
    """The listener closes connections without a header."""
    port = ackd(CONFIG).address().port
    assert ackc("127.0.0.1", port, "text").status == 1


@pytest.mark.parametrize("version, header", [
    ("v1", lambda s: b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (s.getpeername()[1],
                                                                    s.getsockname()[1])),
    ("v2", lambda s: b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"
     + s.getpeername()[1].to_bytes(2, "big") + s.getsockname()[1].to_bytes(2, "big")),
])
def test_header_is_sent_once_and_first(peer, version, header):
    """The header contains both addresses, and counts neither as text nor as a reply."""
    faults = []

    def handle(s):
        expected = header(s)
        got = s.recv(len(expected), socket.MSG_WAITALL)
        if got != expected:
            faults.append((got, expected))
        echo(s)

    done = ackc("--json", "--proxy", version, "127.0.0.1", peer(handle).port, data=b"x" * 100_000)
    summary = json.loads(done.out.splitlines()[-1])
    assert (done.status, faults) == (0, [])
    assert (summary["sent_bytes"], summary["received_bytes"]) == (100_000, 100_000)


@pytest.mark.parametrize("choice, header", [
    ("v1", b"PROXY UNKNOWN\r\n"), ("v1,192.0.2.7:5000", b"PROXY TCP4 192.0.2.7 0.0.0.0 5000 0\r\n"),
    ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"),
])
def test_unix_socket_with_a_proxy_header(directory, choice, header):
    path = f"{directory}/s"
    got = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)

        def serve():
            s, _ = listener.accept()
            with s:
                got.append(s.recv(len(header), socket.MSG_WAITALL))
                echo(s)

        threading.Thread(target=serve, daemon=True).start()
        done = ackc("--proxy", choice, f"unix:{path}", "text")
    assert (done.status, done.out, got) == (0, "text\n", [header])


@pytest.mark.parametrize("choice", ["", "v3", "v1,", "v2,localhost:1", "v2,192.0.2.1", "v1,::1:80"])
def test_invalid_proxy_options_are_rejected(choice):
    done = ackc("ping", "--proxy", choice, "localhost")
    assert done.status == 64
    assert done.err.startswith(f"ackc: --proxy: '{choice}' is not v1|v2[,SRC:PORT], where ")
