"""Delimited, length and fixed framing."""

import socket
import struct

import pytest

from harness import converse, read_exactly, read_to_end
from prom import is_built, scrape

MLLP = 'framing = "delimited"; frame = { start = [0x0b]; end = [0x1c, 0x0d]; };'
STX = 'framing = "delimited"; frame = { start = "\\x02\\x02"; end = "\\x03\\x03\\x03"; };'
CR = 'framing = "delimited"; frame = { end = "\\r"; };'
LENGTH = 'framing = "length"; frame = { length_bytes = 2; };'
OWN_LENGTH = (
    'framing = "length"; frame = { length_bytes = 4; length_order = "little";'
    " length_includes_header = true; };"
)
FIXED = 'framing = "fixed"; frame = { size = 4; };'


def mllp(text):
    return b"\x0b" + text + b"\x1c\r"


def stx(text):
    return b"\x02\x02" + text + b"\x03\x03\x03"


def length(text):
    return struct.pack(">H", len(text)) + text


def own_length(text):
    return struct.pack("<I", len(text) + 4) + text


def cr(text):
    return text + b"\r"


def fixed(text):
    return text


# configuration, the function that makes a frame, texts
FRAMINGS = [
    pytest.param(MLLP, mllp, id="mllp"),
    pytest.param(STX, stx, id="stx"),
    pytest.param(CR, cr, id="cr"),
    pytest.param(LENGTH, length, id="length"),
    pytest.param(OWN_LENGTH, own_length, id="own_length"),
    pytest.param(FIXED, fixed, id="fixed"),
]


@pytest.mark.parametrize("config,frame", FRAMINGS)
def test_messages_are_answered_in_frames(ackd, config, frame):
    daemon = ackd(config)
    texts = [b"one.", "кк".encode(), b"\n\0\n\0", "😀".encode()]
    data = b"".join(map(frame, texts))
    replies = b"".join(frame(b"Got " + text) for text in texts)
    assert daemon.exchange(data) == replies
    with daemon.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            s.sendall(bytes([byte]))
        assert read_exactly(s, len(replies)) == replies
        s.shutdown(socket.SHUT_WR)
        assert read_to_end(s) == b""


@pytest.mark.parametrize("config,frame", FRAMINGS)
def test_fault_replaces_one_reply(ackd, config, frame):
    daemon = ackd(config + ' reply = "echo";')
    nak = b"NAK %d invalid start byte" % frame(b"ab").index(b"ab")
    replies = frame(nak) if frame != fixed else nak + b"\n"
    assert daemon.exchange(frame(b"\xffbcd") + frame(b"next")) == replies + frame(b"next")
    quiet = ackd(config + ' reply = "echo"; nak = false;')
    assert quiet.exchange(frame(b"\xffbcd") + frame(b"next")) == frame(b"next")


def test_character_does_not_continue_after_its_frame(ackd):
    """The end of the frame is no byte of the character, even where it could be one."""
    daemon = ackd('framing = "delimited"; frame = { end = [0xac]; }; reply = "echo";')
    assert daemon.exchange(b"a\xe2\x82\xac") == b"NAK 1 unexpected end of data\xac"
    daemon = ackd(FIXED)
    assert daemon.exchange(b"abc\xc3\xa9abc") == (
        b"NAK 3 unexpected end of data\nNAK 4 invalid start byte\n"
    )


@pytest.mark.parametrize("config,frame", FRAMINGS)
def test_unfinished_frame_is_reported_at_its_first_byte(ackd, config, frame):
    daemon = ackd(config)
    whole = frame(b"good")
    nak = b"NAK %d unexpected end of frame" % len(whole)
    expected = frame(b"Got good")
    expected += frame(nak) if frame != fixed else b"\n" + nak + b"\n"
    assert daemon.exchange(whole + frame(b"half")[:-1]) == expected


def test_bytes_between_frames_are_skipped_and_counted(ackd, config_file):
    with_metrics = is_built(config_file)
    daemon = ackd(MLLP + (' metrics = { address = "127.0.0.1"; port = 0; };' if with_metrics else ""))
    data = b"\r\n" + mllp(b"1") + b"\r" + mllp(b"2") + b"junk\xff"
    assert daemon.exchange(data) == mllp(b"Got 1") + mllp(b"Got 2")
    if with_metrics:
        metrics = scrape(daemon.address("metrics"))
        assert metrics["ackd_skipped_bytes_total", "ackd"] == 8
        assert metrics["ackd_messages_total", "ackd"] == 2


def test_too_long_frame_closes_the_connection(ackd):
    limit = " limits = { max_message = 5; };"
    for config, frame in ((MLLP, mllp), (STX, stx), (CR, cr), (LENGTH, length),
                          (OWN_LENGTH, own_length)):
        daemon = ackd(config + limit)
        data = frame(b"12345") + frame(b"123456") + frame(b"x")
        nak = b"NAK %d frame too long" % len(frame(b"12345"))
        assert daemon.exchange(data) == frame(b"Got 12345") + frame(nak)
        # it is known before the frame is complete
        with daemon.connect() as s:
            s.sendall(frame(b"123456" + b"x" * 10)[: len(frame(b"123456"))])
            assert read_to_end(s) == frame(b"NAK 0 frame too long")


def test_length_smaller_than_its_header_closes_the_connection(ackd):
    daemon = ackd(OWN_LENGTH)
    data = own_length(b"ok") + struct.pack("<I", 3) + own_length(b"lost")
    assert daemon.exchange(data) == own_length(b"Got ok") + own_length(
        b"NAK 6 invalid frame length"
    )


def test_reply_too_long_for_its_header(ackd):
    daemon = ackd('framing = "length"; frame = { length_bytes = 1; };')

    def frame(text):
        return bytes([len(text)]) + text

    data = frame(b"x" * 251) + frame(b"y" * 252) + frame(b"z")
    assert daemon.exchange(data) == (
        frame(b"Got " + b"x" * 251) + frame(b"NAK 252 reply too long") + frame(b"Got z")
    )


def test_refused_client_gets_a_frame(ackd):
    daemon = ackd(LENGTH + " limits = { max_connections = 1; };")
    with daemon.connect() as s:
        s.sendall(length(b"x"))
        assert read_exactly(s, 7) == length(b"Got x")
        with daemon.connect() as refused:
            assert read_to_end(refused) == length(b"NAK 0 too many connections")


def test_long_frame_arrives_in_pieces(ackd):
    """Frames larger than every buffer, and a reply of another length."""
    daemon = ackd(
        OWN_LENGTH + ' limits = { max_message = "1MiB"; }; encoding = { errors = "replace";'
        ' reply_charset = "ascii"; reply_errors = "xmlcharrefreplace"; };'
    )
    text = "й".encode() * (1 << 19)
    reply = b"Got " + b"&#1081;" * (1 << 19)
    with daemon.connect() as s:
        assert converse(s, own_length(text) * 2) == own_length(reply) * 2


# ---- from one process to the next ----


def handed_over(unit, daemon, cases, config=None):
    """Sends the first part of each case, restarts, sends the second part, compares all replies.

    A message that is refused precedes the first part: its NAK shows that both have been read.
    """
    clients = []
    for before, _, first, _ in cases:
        s = daemon.connect()
        s.sendall(before)
        assert read_exactly(s, len(first)) == first
        clients.append(s)
    daemon = unit.again(daemon, config)
    for s, (before, after, _, rest) in zip(clients, cases):
        s.sendall(after)
        s.shutdown(socket.SHUT_WR)
        assert read_to_end(s) == rest, (before, after)
        s.close()


def refusal(frame, offset):
    nak = b"NAK %d invalid start byte" % offset
    return nak + b"\n" if frame == fixed else frame(nak)


@pytest.mark.parametrize("config,frame", FRAMINGS)
@pytest.mark.parametrize("reply", ["echo", "discard"])
def test_every_state_is_handed_over(unit, config, frame, reply):
    """Connections that are at each place in a frame continue there; also in a refused message."""
    config = f'{config} reply = "{reply}"; workers = 1; address = "127.0.0.1";'
    head = frame(b"text").index(b"text")
    marker = frame(b"\xffabc")
    first = refusal(frame, head)
    data = frame(b"some") + frame(b"more")
    cases = []
    for at in range(1, len(data)):
        early = len(frame(b"some")) if at >= len(frame(b"some")) else 0
        answered, rest = (data[:early], data[early:]) if reply == "echo" else (b"", b"")
        cases.append((marker + data[:at], data[at:], first + answered, rest))
    refused = frame(b"\xffbcd")
    for at in range(head + 1, len(refused)):
        cases.append((
            marker + refused[:at], refused[at:] + frame(b"more"),
            first + refusal(frame, len(marker) + head),
            frame(b"more") if reply == "echo" else b"",
        ))
    handed_over(unit, unit.start(config), cases)


@pytest.mark.parametrize("config,frame", FRAMINGS)
def test_next_process_can_have_another_framing(unit, config, frame):
    """It reads the unfinished message, with what frames it, from its first byte."""
    common = ' reply = "echo"; address = "127.0.0.1";'
    half = frame(b"half")[:-1]
    marker = frame(b"\xffabc")
    first = refusal(frame, marker.index(b"\xff"))
    handed_over(unit, unit.start(config + common),
                [(marker + half, b" line\nx\n", first, half + b" line\nx\n")],
                'framing = "line";' + common)
