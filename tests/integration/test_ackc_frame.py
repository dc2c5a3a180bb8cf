"""ackc --frame: messages in frames, and replies checked as such, by servers in Python."""

import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

import ackc_peers
from ackc_peers import (MLLP, Delimited, Fixed, Length, Running, ackc, echo, each_text, on_terminal,
                        silent, texts_of)
from harness import within

peer = ackc_peers.peer

FRAMES = {f.option: f for f in (
    MLLP, Delimited(b"\x03", b"\x02"), Delimited(b"\r"), Delimited(b"\0"), Length(1), Length(2),
    Length(2, inclusive=True), Length(4, "little", inclusive=True), Fixed(24))}

frames = pytest.mark.parametrize("option", FRAMES)


def framed_server(frame, prefix=b"", suffix=b"", greeting=b""):
    """Acknowledges each text; %c is the number of the connection, %m that of the message."""
    numbers = iter(range(8, 1 << 60))

    def handle(s):
        connection = next(numbers)

        def fill(template, message=0):
            return template.replace(b"%c", b"%d" % connection).replace(b"%m", b"%d" % message)

        s.sendall(fill(greeting))
        for i, text in enumerate(texts_of(s, frame), 1):
            s.sendall(frame.wrap(fill(prefix, i) + text + fill(suffix, i)))

    return handle


def recording(frame, got):
    def handle(s):
        while data := s.recv(65536):
            got.append(data)
            s.sendall(data)

    return handle


# ---- send ----


@frames
def test_texts_are_sent_in_frames(peer, option):
    frame = FRAMES[option]
    texts = ["four and twenty letters.", "another twenty and four."]
    got = []
    server = peer(recording(frame, got))
    done = ackc("--frame", option, "127.0.0.1", server.port, *texts)
    assert (done.status, done.err) == (0, "")
    assert b"".join(got) == b"".join(frame.wrap(t.encode()) for t in texts)
    end = "" if isinstance(frame, Fixed) else "\n"
    assert done.out == "".join(t + end for t in texts)


def test_lines_of_the_input_are_sent_in_frames(peer):
    """Only LF ends a line, and the last line may have none."""
    got = []
    server = peer(recording(MLLP, got))
    done = ackc("--frame", MLLP.option, "127.0.0.1", server.port, data=b"one\r\n\ntwo\0\xff\nlast")
    assert (done.status, done.raw) == (0, b"one\r\n\ntwo\0\xff\nlast\n")
    assert b"".join(got) == b"".join(map(MLLP.wrap, (b"one\r", b"", b"two\0\xff", b"last")))


@pytest.mark.parametrize("frame", [MLLP, Length(4)], ids=lambda f: f.option)
def test_whole_input_is_sent_in_one_frame(peer, frame):
    got = []
    server = peer(recording(frame, got))
    data = b"MSH|^~\\&|a\rPID|1\n\r" + bytes(i for i in range(256) if i != 0x1c) * 1000
    done = ackc("--frame", frame.option, "--whole", "127.0.0.1", server.port, data=data)
    assert (done.status, done.raw) == (0, data + b"\n")
    assert b"".join(got) == frame.wrap(data)


def test_slow_reader_is_no_timeout(peer):
    """-w limits the time without progress, and not that of a whole frame."""
    frame = Length(4)

    def handle(s):
        size = len(frame.wrap(data))
        while size > 0:
            size -= len(s.recv(1 << 20, socket.MSG_WAITALL))
            time.sleep(0.15)
        s.sendall(frame.wrap(b"slow"))
        silent(s)

    data = bytes(16 << 20)
    server = peer(handle, receive_buffer=1 << 18)
    done = ackc("-w", "1.2", "--linger", "0.1", "--frame", frame.option, "--whole", "127.0.0.1",
                server.port, data=data)
    assert (done.status, done.raw, done.err) == (0, b"slow\n", "")


def test_lines_are_sent_as_they_arrive(peer):
    run = Running("--frame", "length:2", "127.0.0.1", peer(framed_server(Length(2), b"Got ")).port,
                  stdin=subprocess.PIPE)
    for i in range(3):
        run.process.stdin.write(b"li")
        run.process.stdin.flush()
        run.process.stdin.write(b"ne %d\n" % i)
        run.process.stdin.flush()
        assert run.process.stdout.readline() == b"Got line %d\n" % i
    run.process.stdin.close()
    run.process.stdin = None
    assert run.end().status == 0


def test_replies_in_pieces_are_put_together(peer):
    def handle(s):
        for byte in MLLP.wrap(b"one\x1c") + MLLP.wrap(b"") + MLLP.wrap(b"three"):
            s.sendall(bytes([byte]))
        silent(s)

    done = ackc("--frame", MLLP.option, "127.0.0.1", peer(handle).port, "a", "b", "c")
    assert (done.status, done.raw, done.err) == (0, b"one\x1c\n\nthree\n", "")


def test_replies_longer_than_a_buffer_are_printed(peer):
    data = os.urandom(300_000)
    done = ackc("--frame", "length:4", "--whole", "127.0.0.1", peer(echo).port, data=data)
    assert (done.status, done.raw) == (0, data + b"\n")


def test_json_has_an_object_per_reply(peer):
    server = peer(framed_server(MLLP, b"Got ", greeting=b"hi\n"))
    done = ackc("--json", "--frame", MLLP.option, "127.0.0.1", server.port, "one", "two")
    *replies, summary = map(json.loads, done.out.splitlines())
    assert [(r["event"], r["reply"], r["text"]) for r in replies] == [
        ("data", 1, "Got one"), ("data", 2, "Got two")]
    assert (summary["messages"], summary["replies"], summary["skipped_bytes"]) == (2, 2, 3)
    assert (summary["naks"], summary["status"], done.status) == (0, 0, 0)


def test_replies_are_escaped_on_a_terminal(peer):
    server = peer(framed_server(MLLP, b"\x1b[2J"))
    status, shown = on_terminal("--frame", MLLP.option, "127.0.0.1", server.port, "x")
    assert (status, shown) == (0, b"^[[2Jx\r\n")


def test_bytes_outside_of_frames_are_reported(peer):
    server = peer(framed_server(MLLP, greeting=b"hello\n"))
    done = ackc("--frame", MLLP.option, "127.0.0.1", server.port, "x")
    assert (done.status, done.out) == (0, "x\n")
    assert done.err == f"ackc: 127.0.0.1:{server.port}: 6 bytes outside of frames: 'hello\\x0a'\n"


# name: (frame, reply to the only message, status, words)
FAULTS = {
    "no end": (MLLP, b"\x0babc\x1c", 1,
               "unfinished reply: 3 bytes without the end of the frame, 1c0d"),
    "cut text": (Length(2), b"\0\x05ab", 1, "unfinished reply: 2 of 5 bytes"),
    "cut length": (Length(2), b"\0", 1, "unfinished reply: 1 of 2 bytes of its length"),
    "small length": (Length(2, inclusive=True), b"\0\x01", 2,
                     "invalid frame: the length 1 is smaller than its own 2 bytes"),
    "huge length": (Length(4), b"\xff\xff\xff\xffab", 1,
                    "unfinished reply: 2 of 4294967295 bytes"),
    "no frame": (MLLP, b"plain\n", 1, "0 replies to 1 message"),
    "nothing": (MLLP, b"", 1, "no reply: "),
    "nak": (MLLP, MLLP.wrap(b"NAK 2 invalid start byte"), 2, "NAK 2 invalid start byte"),
    "nak with length": (Length(2), Length(2).wrap(b"NAK 0 frame too long"), 2,
                        "NAK 0 frame too long"),
    "nak line": (Fixed(1), b"NAK 0 unexpected end of frame\n", 2, "NAK 0 unexpected end of frame"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_replies_are_reported(peer, fault):
    frame, reply, status, words = FAULTS[fault]

    def handle(s):
        next(texts_of(s, frame))
        s.sendall(reply)
        silent(s)

    done = ackc("--frame", frame.option, "-w", within(0.5), "--linger", "0.1", "127.0.0.1",
                peer(handle).port, "x")
    assert (done.status, words in done.err) == (status, True), done


def test_missing_reply_is_reported(peer):
    def handle(s):
        texts = texts_of(s, MLLP)
        s.sendall(MLLP.wrap(next(texts)))
        for _ in texts:
            pass

    done = ackc("--frame", MLLP.option, "-w", within(0.5), "--linger", "0.1", "127.0.0.1",
                peer(handle).port, "1", "2")
    assert (done.status, done.out) == (1, "1\n")
    assert done.err.endswith(": 1 reply to 2 messages\n")


def test_half_close_waits_for_missing_replies(peer):
    """Longer than for other bytes, as a relay may close both directions."""
    def handle(s):
        next(texts_of(s, MLLP))
        threading.Event().wait(0.3)
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert s.recv(1)  # no half-close yet
        s.setblocking(True)
        s.sendall(MLLP.wrap(b"late"))
        silent(s)

    done = ackc("--frame", MLLP.option, "--linger", "0.01", "127.0.0.1", peer(handle).port, "x")
    assert (done.status, done.out) == (0, "late\n"), done


def test_echoed_nak_in_a_frame_is_no_nak(peer):
    done = ackc("--frame", MLLP.option, "127.0.0.1", peer(echo).port, "NAK 2 invalid start byte",
                "a\nNAK 1 b")
    assert (done.status, done.err) == (0, "")


def test_lines_before_a_bad_one_are_answered(peer):
    server = peer(echo)
    done = ackc("--frame", "delimited:3b", "127.0.0.1", server.port, data=b"one\ntwo\na;b\nfour\n")
    assert (done.status, done.out) == (1, "one\ntwo\n")
    assert done.err == ("ackc: standard input, line 3: the text contains the end of a frame, 3b, "
                        "at byte 1\n")
    done = ackc("--frame", "length:1", "--whole", "127.0.0.1", server.port, data=256 * b"x")
    assert done.err == ("ackc: standard input: the text has 256 bytes, but the length can state at "
                        "most 255\n")
    assert ackc("--frame", "length:1", "--whole", "127.0.0.1", server.port,
                data=255 * b"x").status == 0


def test_every_byte_is_echoed_unchanged(peer, tmp_path):
    """Without --frame, whatever the bytes are: NUL, all others, lines like those of a NAK."""
    server = peer(echo)
    path = tmp_path / "data"
    for data in (bytes(100_000), bytes(range(256)) * 500, os.urandom(1_000_000),
                 b"\0NAK 1 x\n" * 20_000 + b"\xff"):
        path.write_bytes(data)
        script = f'"$0" "$@" 127.0.0.1 {server.port} < {path} | cmp - {path}'
        done = subprocess.run(["bash", "-o", "pipefail", "-c", script, *ackc_peers.ackc_command()],
                              capture_output=True, timeout=within(30), check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# ---- ping and load ----

COMMANDS = {"ping": ("ping", "-c", "3", "-i", "0"), "load": ("load", "-n", "60", "-c", "3", "-p", "5")}


@frames
@pytest.mark.parametrize("prefix, suffix", [
    (b"", b""), (b"[%c.%m] ", b" <%c>"), (b"%m ", b" at %c")])
def test_framed_replies_are_verified(peer, option, prefix, suffix):
    frame = FRAMES[option]
    if isinstance(frame, Fixed):
        suffix = suffix.replace(b"%c", b"")  # nothing shows where a number at the end ends
    server = peer(framed_server(frame, prefix, suffix))
    for command in COMMANDS.values():
        done = ackc(*command, "--frame", option, "127.0.0.1", server.port)
        assert (done.status, done.err) == (0, ""), done
    assert "60 messages sent, 60 answered correctly, 0 lost" in done.out


@pytest.mark.parametrize("frame, greeting", [
    (MLLP, b"hello\n"), (MLLP, MLLP.wrap(b"hello %c")), (Length(2), b"hello"),
    (Length(2), Length(2).wrap(b"hello")), (Delimited(b"\r"), b"hello %c\r"), (Fixed(20), b"hello\n")],
    ids=lambda value: getattr(value, "option", None))
def test_greeting_is_learnt(peer, frame, greeting):
    """One that has frames may differ between connections."""
    server = peer(framed_server(frame, b"Got ", greeting=greeting))
    for command in COMMANDS.values():
        done = ackc(*command, "--frame", frame.option, "127.0.0.1", server.port)
        assert done.status == 0, done


def test_size_is_that_of_the_text(peer):
    server = peer(echo)
    done = ackc("ping", "-c", "1", "-s", "1000", "--frame", "length:2", "127.0.0.1", server.port)
    assert "1002 bytes from" in done.out
    done = ackc("ping", "-c", "1", "--frame", "fixed:5000", "127.0.0.1", server.port)
    assert "5000 bytes from" in done.out and done.status == 0
    done = ackc("load", "-n", "3", "-c", "1", "-s", "1000000", "--frame", "length:4", "127.0.0.1",
                server.port)
    assert done.status == 0
    assert ackc("ping", "-c", "2", "-i", "0", "--frame", "fixed:1", "127.0.0.1",
                server.port).status == 0


def test_given_prefix_and_suffix_are_checked(peer):
    server = peer(framed_server(MLLP, b"<", b">"))
    for command in COMMANDS.values():
        target = ("--frame", MLLP.option, "127.0.0.1", server.port)
        assert ackc(*command, "--prefix", "<", "--suffix", ">", *target).status == 0
        done = ackc(*command, "--prefix", "", *target)
        assert done.status == 2 and "prefix differs at byte 0" in done.err


def test_plugin_understands_frames(peer):
    server = peer(framed_server(MLLP, b"Got "))
    done = ackc("ping", "--plugin", "--frame", MLLP.option, "127.0.0.1", server.port)
    assert (done.status, done.out.startswith("ACKC OK")) == (0, True), done


def header_lie(more):
    def lie(frame, text):
        return frame.header(len(text) + more) + text

    return lie


# name: (frame, a wrong reply, status, words); once, after the probes from which ackc learns
LIES = {
    "length too small": (Length(2), header_lie(-1), 2,
                         "difference in the length of the frame: expected 64, received 63"),
    "length too large": (Length(2), header_lie(1), 2,
                         "difference in the length of the frame: expected 64, received 65"),
    "length in other order": (Length(2), lambda f, t: struct.pack("<H", len(t)) + t, 2,
                              "in the length of the frame: expected 64, received 16384"),
    "longer than allowed": (Length(2), lambda f, t: b"\xff\xff" + t, 2,
                            "in the length of the frame: expected 64, received 65535"),
    "no end": (MLLP, lambda f, t: b"\x0b" + t, 1, "65 of 67 bytes of the reply arrived"),
    "other end": (MLLP, lambda f, t: b"\x0b" + t + b"\x1c\n", 2, r"expected '\x0d', received '\x0a'"),
    "no start": (MLLP, lambda f, t: t + b"\x1c\r", 2, "bytes lost at byte 0"),
    "line end after": (MLLP, lambda f, t: f.wrap(t) + b"\r\n", 2,
                        r"expected nothing, received '\x0d\x0a'"),
    "bytes before": (MLLP, lambda f, t: b"\n" + f.wrap(t), 2, r"received '\x0a\x0b"),
    "bytes after": (Length(2), lambda f, t: f.wrap(t) + b"\0", 2, "at byte 66"),
    "end in the text": (MLLP, lambda f, t: f.wrap(t[:9] + b"\x1c\r" + t[9:]), 2, "at byte 10"),
    "nak": (MLLP, lambda f, t: f.wrap(b"NAK 0 invalid start byte"), 2, "NAK 0 invalid start byte"),
    "nak with length": (Length(1), lambda f, t: f.wrap(b"NAK 0 frame too long"), 2,
                        "NAK 0 frame too long"),
    "nak line": (Fixed(64), lambda f, t: b"NAK 63 unexpected end of frame\n", 2,
                 "NAK 63 unexpected end of frame"),
    "bit": (Length(2), lambda f, t: f.wrap(t[:9] + bytes([t[9] ^ 4]) + t[10:]), 2,
            "bit flipped at byte 11"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("lie", LIES)
def test_wrong_frames_are_detected(peer, lie, command):
    frame, make, status, words = LIES[lie]
    server = peer(each_text(frame, lambda s, t: s.sendall(make(frame, t)), honest=3))
    arguments = {"ping": ("ping", "-c", "2", "-i", "0"), "load": ("load", "-n", "2", "-c", "1")}
    done = ackc(*arguments[command], "-w", within(0.5), "--frame", frame.option, "127.0.0.1",
                server.port)
    assert (done.status, words in done.err) == (status, True), done


@pytest.mark.parametrize("lie", LIES)
def test_wrong_frames_are_detected_while_learning(peer, lie):
    frame, make, status, words = LIES[lie]
    server = peer(each_text(frame, lambda s, t: s.sendall(make(frame, t))))
    done = ackc("ping", "-c", "1", "-w", within(0.5), "-s", "64", "--frame", frame.option,
                "127.0.0.1", server.port)
    assert done.status in (1, 2), done
    assert done.status == 2 or status == 1 or "before" in lie or "no start" in lie, done


def test_nak_in_pieces_is_recognized(peer):
    """It is not taken for another wrong reply when only its first byte has arrived."""
    def reply(s, text):
        for byte in MLLP.wrap(b"NAK 3 no"):
            s.sendall(bytes([byte]))

    server = peer(each_text(MLLP, reply, honest=3))
    for command in (("ping", "-c", "2", "-i", "0"), ("load", "-n", "2", "-c", "1")):
        done = ackc(*command, "--frame", MLLP.option, "127.0.0.1", server.port)
        assert (done.status, "NAK 3 no" in done.err) == (2, True), done


def test_unframed_server_is_reported(peer):
    """One that answers with frames of another kind."""
    server = peer(each_text(MLLP, lambda s, t: s.sendall(t + b"\x1c\r")))
    done = ackc("ping", "-c", "1", "--frame", MLLP.option, "127.0.0.1", server.port)
    assert done.status == 2
    assert "the reply is not one frame as --frame says: received '" in done.err


def test_lines_of_a_file_are_sent_in_frames(peer, tmp_path):
    path = tmp_path / "messages"
    path.write_bytes(b"MSH|1\rPID\r\nMSH|2\r\n\n\xff\0")
    server = peer(framed_server(MLLP, b"Got "))
    done = ackc("load", "-n", "50", "-c", "3", "-p", "4", "--file", path, "--frame", MLLP.option,
                "127.0.0.1", server.port)
    assert (done.status, "50 answered correctly" in done.out) == (0, True), done
    path.write_bytes(b"one\ntwo\rthree\n")
    done = ackc("load", "-n", "5", "--file", path, "--frame", "delimited:0d", "127.0.0.1", server.port)
    assert done.status == 1
    assert f"{path}: a line cannot be sent in a frame\n" in done.err
    assert "first: line 2: the text contains the end of a frame, 0d, at byte 3\n" in done.err


# ---- ackd ----

DAEMONS = {
    MLLP.option: 'framing = "delimited"; frame = { start = [0x0b]; end = [0x1c, 0x0d]; };',
    "delimited:03:02": 'framing = "delimited"; frame = { start = "\\x02"; end = "\\x03"; };',
    "delimited:0d": 'framing = "delimited"; frame = { end = "\\r"; };',
    "delimited:00": 'framing = "delimited"; frame = { end = [0]; };',
    "length:1": 'framing = "length"; frame = { length_bytes = 1; };',
    "length:2": 'framing = "length"; frame = { length_bytes = 2; };',
    "length:2:inclusive":
        'framing = "length"; frame = { length_bytes = 2; length_includes_header = true; };',
    "length:4:little:inclusive": 'framing = "length"; frame = { length_bytes = 4; '
                                 'length_order = "little"; length_includes_header = true; };',
    "fixed:24": 'framing = "fixed"; frame = { size = 24; };',
}


def port_of(daemon):
    return daemon.address().port


@frames
def test_ackd_replies_are_verified(ackd, option):
    fixed = option.startswith("fixed")
    daemon = ackd(DAEMONS[option] + 'ack_prefix = "${message}/${connection} ${bytes} "; '
                  f'ack_suffix = " of ${{peer}}{"." if fixed else ""}"; greeting = "hello\\n";')
    for command in (("ping", "-c", "12", "-i", "0"), ("load", "-n", "500", "-c", "3", "-p", "16")):
        done = ackc(*command, "--frame", option, daemon.address().sockaddr[0], port_of(daemon))
        assert done.status == 0, done
    echo_port = port_of(ackd(DAEMONS[option] + 'reply = "echo"; encoding = { charset = "binary"; };'))
    done = ackc("load", "-n", "500", "-p", "16", "--frame", option, "localhost", echo_port)
    assert done.status == 0, done
    data = b"twenty-three and a \xff\xc3"
    data += bytes(24 - len(data)).replace(b"\0", b"\x7f")
    done = ackc("--frame", option, "localhost", echo_port, data=data)
    assert (done.status, done.raw.removesuffix(b"\n")) == (0, data), done


@frames
def test_naks_of_ackd_are_reported(ackd, option):
    """It continues after a fault in a text."""
    port = port_of(ackd(DAEMONS[option]))
    lines = [b"a" * 24, b"abc" + b"\xff" * 21, b"z" * 24]
    done = ackc("--frame", option, "localhost", port, data=b"\n".join(lines))
    assert done.status == 2, done
    assert re.fullmatch(rf"ackc: localhost:{port}: NAK \d+ invalid start byte\n", done.err)
    assert b"Got " + lines[0] in done.raw
    assert b"Got " + lines[2] in done.raw


@pytest.mark.parametrize("option", [MLLP.option, "length:2"])
def test_too_long_frames_are_reported(ackd, option):
    """ackd closes after it: the NAK must not get lost after a failed write."""
    port = port_of(ackd(DAEMONS[option] + "limits = { max_message = 100; };"))
    for command in (("ping", "-c", "1", "-s", "100"), ("load", "-n", "20", "-s", "100")):
        assert ackc(*command, "--frame", option, "localhost", port).status == 0
    for command in (("ping", "-c", "1", "-s", "101"), ("load", "-n", "20", "-p", "8", "-s", "60000")):
        done = ackc(*command, "--frame", option, "localhost", port)
        assert done.status == 2, done
        assert "NAK" in done.err and "frame too long" in done.err, done
    done = ackc("--frame", option, "localhost", port, 101 * "x")
    assert (done.status, "frame too long" in done.err) == (2, True), done


# ---- the command line ----


@pytest.mark.parametrize("arguments, words", [
    (("--frame", "mllp", "h"),
     "--frame: 'mllp': a frame is delimited:END[:START], length:N[:little][:inclusive] or fixed:N"),
    (("--frame", "delimited:1c0", "h"),
     "--frame: 'delimited:1c0': END is 1 to 8 bytes, two hexadecimal digits each"),
    (("--frame", "length:3", "h"), "--frame: 'length:3': a length has 1, 2 or 4 bytes"),
    (("--frame", "length:2:big", "h"),
     "--frame: 'length:2:big': after length:N only ':little' and ':inclusive' may follow"),
    (("--frame", "fixed:0", "h"),
     "--frame: 'fixed:0': a fixed size is a number of bytes from 1 to 16777216"),
    (("--frame", "fixed:4", "h", "1", "abcd", "ab"),
     "TEXT 2: the text has 2 bytes, but a frame has 4"),
    (("--frame", "delimited:62", "h", "1", "abc"),
     "TEXT 1: the text contains the end of a frame, 62, at byte 1"),
    (("--frame", "length:1", "h", "1", 256 * "x"),
     "TEXT 1: the text has 256 bytes, but the length can state at most 255"),
    (("--whole", "h"), "'--whole' needs '--frame'"),
    (("--whole", "--frame", "length:2", "h", "1", "x"),
     "'--whole' sends standard input; it cannot be combined with TEXT"),
    (("ping", "--frame", "delimited:20", "h"),
     "--frame: the messages to send consist of letters, digits and spaces, and so does END, 20"),
    (("ping", "--frame", "fixed:8", "-s", "9", "h"),
     "--size: a message of 9 bytes is not a frame of 8"),
    (("load", "--frame", "length:1", "-s", "256", "h"),
     "--size: a message has 256 bytes, but the length can state at most 255"),
    (("load", "--frame", "length:1", "--lines", "h"),
     "'--frame' cannot be combined with '--lines'"),
    (("load", "--frame", "length:1", "--file", "x", "-s", "9", "h"),
     "'--size' cannot be combined with '--frame' and '--file'"),
], ids=lambda a: re.sub("x{9,}", "x", " ".join(a)) if isinstance(a, tuple) else None)
def test_usage_errors(arguments, words):
    done = ackc(*arguments)
    assert (done.status, done.err.splitlines()[0]) == (64, f"ackc: {words}")
