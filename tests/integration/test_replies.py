"""Texts as replies and NAKs, the quit message, close, logged messages, and parts of messages."""

import re
import socket

import pytest

from harness import converse, is_silent, read_exactly, read_to_end, wait_until
from test_proxy import v1, v2

DEBUG = ' log = { level = "debug"; };'

ADT = (
    b"MSH|^~\\&|ADT1|MCM|LABADT|MCM|198808181126|SECURITY|ADT^A01|MSG00001|P|2.4\r"
    b"EVN|A01|198808181123\r"
    b"PID|||PATID1234^5^M11||JONES^WILLIAM^A^III||19610615|M||C|1200 N ELM STREET^^GREENSBORO^NC\r"
    b"NK1|1|JONES^BARBARA^K|WIFE||||||NK^NEXT OF KIN\r"
    b"PV1|1|I|2000^2012^01||||004777^LEBAUER^SIDNEY^J.|||SUR||-||ADM|A0\r"
)


def test_ack_is_all_that_is_sent(ackd):
    daemon = ackd(
        'framing = "line"; reply = "text"; reply_text = "\\x06"; nak_text = "\\x15";'
    )
    assert daemon.exchange(b"one\ntwo\r\n\xff\nthree") == b"\x06\x06\x15\x06"


def test_text_in_stream_framing(ackd):
    daemon = ackd('reply = "text"; reply_text = "${message}:${bytes}\\n";')
    with daemon.connect() as s:
        for i in range(1, 4):
            s.sendall(b"x" * i)
            assert read_exactly(s, 4) == b"%d:%d\n" % (i, i)


def test_texts_are_framed(ackd):
    daemon = ackd(
        'framing = "delimited"; frame = { start = [0x02]; end = [0x03]; }; reply = "text";'
        ' reply_text = "${field:;:2}"; nak_text = "${offset} ${reason}";'
    )
    assert daemon.exchange(b"\x02a;b;c\x03\r\n\x02\xff\x03\x02d\x03\x02e") == (
        b"\x02b\x03\x0210 invalid start byte\x03\x02\x03\x0215 unexpected end of frame\x03"
    )
    daemon = ackd(
        'framing = "length"; frame = { length_bytes = 2; }; reply = "text";'
        ' reply_text = "ok ${field:;:2}"; nak_text = "no";'
    )
    assert daemon.exchange(b"\0\3a;b\0\1\xff\0\0") == b"\0\4ok b\0\2no\0\3ok "


def test_hl7_acknowledgement(ackd):
    daemon = ackd(
        'framing = "delimited"; frame = { start = [0x0b]; end = [0x1c, 0x0d]; };'
        ' encoding = { charset = "iso-8859-1"; }; reply = "text";'
        ' reply_text = "MSH|^~\\\\&|ACKD||${field:|:3}|${field:|:4}|||ACK|"'
        '"${connection}.${message}|P|2.4\\rMSA|AA|${field:|:10}\\r";'
    )
    answer = b"MSH|^~\\&|ACKD||ADT1|MCM|||ACK|1.%d|P|2.4\rMSA|AA|MSG0000%d\r"
    frame = b"\x0b%s\x1c\r"
    with daemon.connect() as s:
        for i in (1, 2):
            s.sendall(frame % ADT.replace(b"MSG00001", b"MSG0000%d" % i))
            expected = frame % (answer % (i, i))
            assert read_exactly(s, len(expected)) == expected


def test_nak_text_for_a_refused_client(ackd):
    daemon = ackd(
        'nak_text = "<${reason} ${offset} ${peer} ${local} ${connection}>";'
        " limits = { max_connections = 1; };"
    )
    with daemon.connect() as first:
        first.sendall(b"x")
        assert read_exactly(first, 5) == b"Got x"
        with daemon.connect() as s:
            peer, local = ("%s:%d" % name for name in (s.getsockname(), s.getpeername()))
            assert read_to_end(s) == f"<too many connections 0 {peer} {local} 0>".encode()


# ---- quit ----


@pytest.mark.parametrize("reply, answer", [
    ("ack", b"Got a\nGot exit\n"), ("discard", b""), ("text", b"++"),
])
def test_quit_ends_the_connection(ackd, reply, answer):
    text = 'reply_text = "+"; ' if reply == "text" else ""
    daemon = ackd(f'framing = "line"; quit = "exit"; reply = "{reply}"; {text}' + DEBUG)
    with daemon.connect() as s:
        s.sendall(b"a\nexit\nnot answered\n\xff\n")
        assert read_to_end(s) == answer
    daemon.wait_for(r"connection 1 from .* ended: quit; 2 messages, 7 bytes in")


def test_quit_in_stream_framing_is_one_read(ackd):
    daemon = ackd('quit = "выход";')
    with daemon.connect() as s:
        s.sendall("выход!".encode())
        expected = "Got выход!".encode()
        assert read_exactly(s, len(expected)) == expected
        s.sendall("выход".encode())
        assert read_to_end(s) == "Got выход".encode()


def test_quit_is_compared_before_decoding(ackd):
    """It is received in the charset of the input, whatever the charset of the reply is."""
    daemon = ackd(
        'framing = "line"; quit = "fin é"; encoding = { charset = "iso-8859-1"; reply_charset = "utf-8"; };'
    )
    with daemon.connect() as s:
        s.sendall("fin é\n".encode() + b"fin \xe9\nx\n")
        assert read_to_end(s) == "Got fin Ã©\nGot fin é\n".encode()


def test_reply_to_quit_reaches_a_client_that_sends(ackd):
    """The server does not close with unread input, which would reset the connection."""
    daemon = ackd('framing = "line"; quit = "exit";')
    with daemon.connect() as s:
        data = b"exit\n" + b"x" * 5_000_000
        assert converse(s, data, half_close=False) == b"Got exit\n"


# ---- close ----


def test_close_greets_and_closes(ackd):
    daemon = ackd('reply = "close"; greeting = "Hello ${peer}\\n";' + DEBUG)
    for _ in range(3):
        with daemon.connect() as s:
            assert read_to_end(s) == b"Hello %s:%d\n" % (b"127.0.0.1", s.getsockname()[1])
    daemon.wait_for(r"ended: reply is close; 0 messages, 0 bytes in, \d+ bytes out")


def test_greeting_of_close_reaches_a_client_that_sends(ackd):
    daemon = ackd(f'reply = "close"; greeting = "{"x" * 1000}";')
    with daemon.connect() as s:
        assert converse(s, b"y" * 5_000_000, half_close=False) == b"x" * 1000


def test_client_that_does_not_close_is_closed(ackd):
    daemon = ackd('reply = "close"; greeting = "hi";')
    before = daemon.n_sockets()
    with daemon.connect() as s:
        assert read_to_end(s) == b"hi"
        wait_until(lambda: daemon.n_sockets() == before, "the connection to end")


# ---- logged messages ----


def logged_texts(daemon):
    """Returns the length and the text of each message in the log."""
    return re.findall(r"message: ackd: message \d+ from .*?: (\d+) bytes?: (.*)$", daemon.log, re.M)


def test_messages_are_logged_as_python_shows_them(ackd):
    daemon = ackd('log_messages = true; framing = "length"; frame = { length_bytes = 2; };'
                  ' encoding = { charset = "binary"; };')
    every = bytes(range(256))
    messages = [b"", b"abc", every[:128], every[128:], every, every + b"x", b"'", b'"', b"'\"",
                b"a'b", "жук\n".encode(), b"\\\t\r\n\0\x7f", b"x" * 1000, b"%s%n"]
    with daemon.connect() as s:
        peer = "%s:%d" % s.getsockname()
        frames = b"".join(len(m).to_bytes(2, "big") + m for m in messages)
        converse(s, frames)
    daemon.wait_for(re.escape(f"message {len(messages)} from {peer}, connection 1: 4 bytes: b'%s%n'"))
    expected = [(str(len(m)), ascii(m[:256]) + ("..." if len(m) > 256 else "")) for m in messages]
    assert logged_texts(daemon) == expected


def test_refused_message_is_logged(ackd):
    daemon = ackd('log_messages = true; framing = "line"; reply = "discard";')
    assert daemon.exchange(b"ab\xffcd\nx\n") == b"NAK 2 invalid start byte\n"
    daemon.wait_for(r"message 1 from .*, connection 1: refused, 5 bytes: b'ab\\xffcd'$")
    daemon.wait_for(r"message 2 from .*, connection 1: 1 byte: b'x'$")


def test_logged_messages_are_limited(ackd):
    daemon = ackd('log_messages = true; framing = "line";')
    n = 300
    assert daemon.exchange(b"x\n" * n) == b"Got x\n" * n
    daemon.wait_for(r"\d+ message events suppressed: more than 50 per second")
    assert 100 <= len(logged_texts(daemon)) < n


def test_messages_are_not_logged_by_default(ackd):
    daemon = ackd('framing = "line";' + DEBUG)
    daemon.exchange(b"secret\n")
    daemon.wait_for("ended")
    assert "secret" not in daemon.log


# ---- local ----


def test_local_address(ackd, directory):
    template = 'greeting = "${local}\\n";'
    for address in ("127.0.0.1", "::1"):
        daemon = ackd(f'address = "{address}"; ' + template)
        with daemon.connect() as s:
            host, port = s.getpeername()[:2]
            host = f"[{host}]" if ":" in host else host
            assert converse(s, b"") == f"{host}:{port}\n".encode()
    daemon = ackd(f'path = "{directory}/é"; ' + template)
    assert daemon.exchange(b"") == f"{directory}/\\xc3\\xa9\n".encode()


def test_local_address_of_a_wildcard(ackd):
    """It is the address that the client has connected to."""
    daemon = ackd('address = "*"; ack_prefix = "${local} ";')
    port = daemon.addresses()[0].port
    for host in ("127.0.0.1", "127.0.0.2"):
        with socket.create_connection((host, port)) as s:
            assert converse(s, b"x") == f"{host}:{port} x".encode()


def test_local_address_behind_a_proxy(ackd):
    daemon = ackd('proxies = ["127.0.0.0/8"]; ack_prefix = "${local} ";')
    for header in (v1(), v2()):
        assert daemon.exchange(header + b"x") == b"192.0.2.1:10080 x"
    with daemon.connect() as s:
        own = "%s:%d" % s.getpeername()
        assert converse(s, b"PROXY UNKNOWN\r\nx") == f"{own} x".encode()


# ---- fields ----


def test_fields_in_an_acknowledgement(ackd):
    """A GPS tracker sends its number, and expects it back."""
    daemon = ackd(
        'framing = "delimited"; frame = { end = "\\r"; }; reply = "text";'
        ' reply_text = "ON ${field:,:2} ${field:::2}";'
    )
    assert daemon.exchange(b"imei:868,tracker,x\r##,none\r") == b"ON tracker 868,tracker,x\rON none \r"
    with daemon.connect() as s:
        s.sendall(b"##,")
        assert is_silent(s, 0.1)


def test_field_of_a_long_message(ackd):
    daemon = ackd(
        'framing = "line"; reply = "text"; reply_text = "<${field:,:2}>";'
        ' limits = { max_message = "2MiB"; };'
    )
    assert daemon.exchange(b"x" * 1_500_000 + b",end\n" + b"a,b\n") == b"<end><b>"
