"""Errors in the data: the text and the delivery of NAKs."""

import pytest

from harness import converse, read_exactly, read_to_end
from oracle import Text, stream_echo


@pytest.mark.parametrize(
    "data, reply",
    [
        (b"\xff", b"NAK 0 invalid start byte\n"),
        (b"ab\xff", b"ab\nNAK 2 invalid start byte\n"),
        (b"ab\n\xff", b"ab\nNAK 3 invalid start byte\n"),
        (b"\xe2\x28", b"NAK 0 invalid continuation byte\n"),
        (b"x\xed\xa0\x80", b"x\nNAK 1 invalid continuation byte\n"),
        ("я\n".encode() + b"\xf0\x9f\x98", "я\nNAK 3 unexpected end of data\n".encode()),
        (b"\xc0\x80", b"NAK 0 invalid start byte\n"),
    ],
)
def test_stream_echo_ends_with_the_nak(ackd, data, reply):
    assert stream_echo(data, Text()) == reply
    assert ackd('reply = "echo";').exchange(data) == reply


def test_ack_answers_valid_text_before_the_nak(ackd):
    daemon = ackd('ack_prefix = "<"; ack_suffix = ">";')
    assert daemon.exchange("да".encode() + b"\xff rest") == (
        "<да>\nNAK 4 invalid start byte\n".encode()
    )
    assert daemon.exchange(b"\xff") == b"NAK 0 invalid start byte\n"


def test_discard_reports_faults(ackd):
    daemon = ackd('reply = "discard";')
    assert daemon.exchange(b"fine") == b""
    assert daemon.exchange(b"fine \xff") == b"NAK 5 invalid start byte\n"


def test_nak_after_a_greeting_is_a_separate_line(ackd):
    assert ackd('greeting = "hi";').exchange(b"\xff") == b"hi\nNAK 0 invalid start byte\n"
    assert ackd('greeting = "hi\\n";').exchange(b"\xff") == b"hi\nNAK 0 invalid start byte\n"


def test_offset_counts_the_whole_connection(ackd):
    with ackd('reply = "echo";').connect() as s:
        for _ in range(3):
            s.sendall("десять".encode())
            assert read_exactly(s, 12) == "десять".encode()
        s.sendall(b"ab\xfe")
        assert read_to_end(s) == b"ab\nNAK 38 invalid start byte\n"


def test_offset_of_a_split_character_is_its_beginning(ackd):
    """The offset is that of the first byte, even if an earlier read contained it."""
    with ackd('reply = "echo";').connect() as s:
        s.sendall(b"ab\xe2\x82")
        assert read_exactly(s, 2) == b"ab"
        s.sendall(b"z")
        assert read_to_end(s) == b"\nNAK 2 invalid continuation byte\n"


@pytest.mark.parametrize(
    "charset, text, reply",
    [
        ("ascii", "ok é", b"ok \nNAK 3 cannot encode U+00E9\n"),
        ("iso-8859-1", "é €", b"\xe9 \nNAK 3 cannot encode U+20AC\n"),
        ("windows-1252", "€ \x81", b"\x80 \nNAK 4 cannot encode U+0081\n"),
        ("ascii", "\U0010ffff", b"NAK 0 cannot encode U+10FFFF\n"),
        ("ascii", "\n😀", b"\nNAK 1 cannot encode U+1F600\n"),
    ],
)
def test_unencodable_character_gets_a_nak(ackd, charset, text, reply):
    daemon = ackd(f'reply = "echo"; encoding = {{ reply_charset = "{charset}"; }};')
    assert daemon.exchange(text.encode()) == reply


def test_first_of_two_faults_is_reported(ackd):
    daemon = ackd('reply = "echo"; encoding = { reply_charset = "ascii"; };')
    assert daemon.exchange("é".encode() + b"\xff") == b"NAK 0 cannot encode U+00E9\n"
    assert daemon.exchange(b"\xff" + "é".encode()) == b"NAK 0 invalid start byte\n"


def test_fault_is_reported_as_soon_as_it_is_proven(ackd):
    """Neither a half-close nor more data is necessary."""
    for data, reply in (
        (b"\xed\xa0", b"NAK 0 invalid continuation byte\n"),
        (b"\xe0\x80", b"NAK 0 invalid continuation byte\n"),
        (b"\xf4\x90", b"NAK 0 invalid continuation byte\n"),
        (b"\xf5", b"NAK 0 invalid start byte\n"),
        (b"a\x80", b"a\nNAK 1 invalid start byte\n"),
    ):
        with ackd('reply = "echo";').connect() as s:
            s.sendall(data)
            assert read_to_end(s) == reply


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_nak_is_delivered_while_the_client_sends(ackd, directory, where):
    """Unread bytes of the client must not turn the close into a reset."""
    listener = "" if where == "tcp" else f'path = "{directory}/s";'
    daemon = ackd('reply = "echo";' + listener)
    for extra in (1, 1000, 100_000, 8_000_000):
        with daemon.connect() as s:
            data = b"good\xff" + b"x" * extra
            assert converse(s, data) == b"good\nNAK 4 invalid start byte\n"


def test_line_too_long_is_delivered_while_the_client_sends(ackd):
    daemon = ackd('framing = "line"; limits = { max_line = 10; };')
    with daemon.connect() as s:
        assert converse(s, b"ok\n" + b"x" * 4_000_000) == b"Got ok\nNAK 3 line too long\n"


def test_nak_waits_for_a_slow_reader(ackd):
    """The replies before the fault exceed the socket buffers; nothing is lost."""
    daemon = ackd('reply = "echo";')
    with daemon.connect(receive_buffer=4096) as s:
        sent = daemon.fill(s, b"0123456789")
        received = converse(s, b"\xffxxx")
    expected = (b"0123456789" * (sent // 10 + 1))[:sent]
    assert received == expected + b"\nNAK %d invalid start byte\n" % sent


def test_nak_false_closes_without_an_answer(ackd):
    daemon = ackd('reply = "echo"; nak = false;')
    with daemon.connect() as s:
        s.sendall(b"good\xffbad")
        assert read_to_end(s) == b"good"
    line = ackd('reply = "echo"; nak = false; framing = "line"; limits = { max_line = 5; };')
    assert line.exchange(b"a\n\xff\nb\n123456\nc\n") == b"a\nb\n"
