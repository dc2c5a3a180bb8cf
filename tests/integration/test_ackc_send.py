"""ackc send: every byte is sent and received, with any slow side."""

import base64
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

import ackc_peers
from ackc_peers import Running, ackc, ackc_command, echo, on_terminal, reset, silent
from harness import SOON, wait_until, within

peer = ackc_peers.peer

# More than the capacity of all buffers on the path.
BIG = 32 * 1024 * 1024


def test_texts_are_sent_as_lines(peer):
    server = peer(echo)
    for command in ((), ("send",)):
        done = ackc(*command, "127.0.0.1", server.port, "hällo", "-x", "", "world")
        assert (done.status, done.raw, done.err) == (0, "hällo\n-x\n\nworld\n".encode(), "")


@pytest.mark.parametrize("data", [b"", b"x", b"no line end", b"\xff\xfe\x00\xc3\r\n\x1b[2J",
                                  os.urandom(300_000)], ids=len)
def test_input_and_replies_are_unchanged(peer, data):
    server = peer(echo)
    done = ackc("127.0.0.1", server.port, data=data)
    assert (done.status, done.raw) == (0, data)


def test_large_input_does_not_deadlock(peer):
    """The server echoes as it reads, so a client that only writes or only reads deadlocks."""
    server = peer(echo)
    data = os.urandom(1 << 20) * (BIG >> 20)
    done = ackc("-w", "60", "127.0.0.1", server.port, data=data, timeout=4 * SOON)
    assert done.status == 0
    assert done.raw == data


def test_reply_after_the_end_of_input_is_printed(peer):
    got = []

    def handle(s):
        while data := s.recv(65536):
            got.append(len(data))
        s.sendall(b"%d bytes\n" % sum(got))

    server = peer(handle)
    done = ackc("127.0.0.1", server.port, data=b"x" * 5_000_000)
    assert (done.status, done.out) == (0, "5000000 bytes\n")


def test_greeting_and_replies_are_printed_immediately(peer):
    def handle(s):
        s.sendall(b"hello\n")
        echo(s)

    server = peer(handle)
    run = Running("127.0.0.1", server.port, stdin=subprocess.PIPE)
    assert run.process.stdout.readline() == b"hello\n"
    for i in range(3):
        run.process.stdin.write(b"%d\n" % i)
        run.process.stdin.flush()
        assert run.process.stdout.readline() == b"%d\n" % i
    run.process.stdin.close()
    run.process.stdin = None
    assert run.end().status == 0


def test_regular_file_is_accepted_as_input(peer, tmp_path):
    server = peer(echo)
    path = tmp_path / "text"
    path.write_bytes(b"one\ntwo\n" * 20_000)
    with open(path, "rb") as f:
        run = Running("127.0.0.1", server.port, stdin=f)
        done = run.end()
    assert (done.status, done.raw) == (0, path.read_bytes())


def test_directory_as_input_is_an_error(peer, tmp_path):
    server = peer(echo)
    fd = os.open(tmp_path, os.O_RDONLY)
    done = Running("127.0.0.1", server.port, stdin=fd).end()
    os.close(fd)
    assert done.status == 1
    assert done.err.startswith("ackc: standard input: ")


def test_input_pipe_stays_blocking(peer):
    """Other processes share the pipe, and O_NONBLOCK would break them."""
    server = peer(echo)
    reader, writer = os.pipe()
    run = Running("127.0.0.1", server.port, stdin=reader)
    os.write(writer, b"x\n")
    assert run.process.stdout.readline() == b"x\n"
    assert os.get_blocking(reader)
    os.close(writer)
    assert run.end().status == 0
    os.close(reader)


def test_terminal_output_is_escaped(peer):
    def handle(s):
        silent(s)
        s.sendall("\x1b]0;title\x07 \x9b2J é\t\u202eevil\rok\r\n\x7f\n".encode() + b"\xc3(\xff\n")

    server = peer(handle)
    status, shown = on_terminal("127.0.0.1", server.port, "x")
    # The terminal itself puts a CR before each LF.
    assert shown == ("^[]0;title^G \\x9b2J é\t\\u202eevil^Mok\r\r\n^?\r\n"
                     "\\xc3(\\xff\r\n").encode()
    assert status == 0


def test_split_character_is_shown_on_a_terminal(peer):
    gate = threading.Event()

    def handle(s):
        for byte in "€\r\n".encode():
            s.sendall(bytes([byte]))
            gate.wait(0.02)
        silent(s)

    server = peer(handle)
    assert on_terminal("127.0.0.1", server.port, "x") == (0, "€\r\r\n".encode())


def test_silent_server_times_out(peer):
    server = peer(silent_for_ever)
    done = ackc("-w", within(0.5), "127.0.0.1", server.port, "x")
    assert done.status == 1
    assert done.err == f"ackc: 127.0.0.1:{server.port}: timed out waiting for a reply\n"


@pytest.mark.parametrize("reply", [b"good morning\n", b"good"])
def test_server_that_does_not_close_times_out(peer, reply):
    """The message states whether a reply, or a part of one, was received."""
    def handle(s):
        s.sendall(reply)
        silent_for_ever(s)

    server = peer(handle)
    done = ackc("-w", within(0.5), "127.0.0.1", server.port, "good morning")
    assert (done.status, done.raw) == (1, reply)
    assert done.err == (f"ackc: 127.0.0.1:{server.port}: timed out waiting for the server to close "
                        f"(13 bytes sent, {len(reply)} received)\n")


def silent_for_ever(s):
    silent(s)
    threading.Event().wait(SOON)


def test_timeout_applies_to_silence_only(peer):
    def handle(s):
        for i in range(8):
            s.sendall(b"%d" % i)
            threading.Event().wait(within(0.15))
        silent(s)

    server = peer(handle)
    done = ackc("-w", within(0.8), "127.0.0.1", server.port, "x")
    assert (done.status, done.out) == (0, "01234567")


def test_no_timeout_while_waiting_for_input(peer):
    server = peer(echo)
    run = Running("-w", within(0.5), "127.0.0.1", server.port, stdin=subprocess.PIPE)
    server.wait_for_connection()
    threading.Event().wait(within(1))
    run.process.stdin.write(b"late\n")
    done = run.end()
    assert (done.status, done.out) == (0, "late\n")


def test_server_that_reads_nothing_times_out(peer):
    server = peer(lambda s: threading.Event().wait(SOON))
    done = ackc("-w", within(0.5), "127.0.0.1", server.port, data=b"x" * BIG)
    assert done.status == 1
    assert done.err == f"ackc: 127.0.0.1:{server.port}: timed out waiting for a reply\n"


def test_close_before_the_end_of_input_is_reported(peer):
    server = peer(lambda s: s.sendall(b"bye\n"))
    run = Running("127.0.0.1", server.port, stdin=subprocess.PIPE)
    run.process.wait(SOON)
    done = run.end()
    assert (done.status, done.out) == (1, "bye\n")
    assert done.err == f"ackc: 127.0.0.1:{server.port}: connection closed early\n"


def test_reset_after_the_last_bytes_is_reported(peer):
    """Bytes received immediately before a reset do not hide it."""
    def handle(s):
        silent(s)
        s.sendall(b"some")
        reset(s)

    for _ in range(20):
        server = peer(handle)
        done = ackc("--linger", "0", "127.0.0.1", server.port, "x")
        assert done.status == 1
        assert done.err == f"ackc: 127.0.0.1:{server.port}: connection reset\n"


class EndOfInput:
    """A server that sends one reply per interval and measures the time of the half-close."""

    def __init__(self, replies=(), interval=0.0):
        self.replies = replies
        self.interval = interval
        self.last = time.monotonic()  # not after the last byte, either way, as seen by ackc
        self.silence = None  # seconds from then to the half-close

    def __call__(self, s):
        s.recv(65536)
        for reply in self.replies:
            time.sleep(self.interval)
            self.last = time.monotonic()
            s.sendall(reply)
        assert s.recv(65536) == b""
        self.silence = time.monotonic() - self.last


def test_half_close_waits_for_silence(peer):
    """Many relays close both directions at a half-close, so it must follow the last reply."""
    # A reply must arrive within the linger time, even on a busy machine.
    handler = EndOfInput((b"one", b"two", b"three"), interval=0.3)
    done = ackc("--linger", "4s", "127.0.0.1", peer(handler).port, "x")
    assert (done.status, done.out) == (0, "onetwothree")
    assert handler.silence > 3.9


def test_default_linger_time_is_used(peer):
    handler = EndOfInput()
    assert ackc("127.0.0.1", peer(handler).port, "x").status == 1
    assert handler.silence > 0.45


def test_half_close_is_immediate_without_linger(peer):
    """The server replies only after the half-close, and a linger time would outlast the test."""
    def handle(s):
        while s.recv(65536):
            pass
        s.sendall(b"all")

    server = peer(handle)
    for linger in ("0", "0.1"):
        done = ackc("--linger", linger, "127.0.0.1", server.port, "x")
        assert (done.status, done.out) == (0, "all")


def test_server_may_close_first(peer):
    """ackc does not wait for the linger time if the server has closed."""
    def handle(s):
        s.sendall(s.recv(65536))

    done = ackc("--linger", "1h", "127.0.0.1", peer(handle).port, "x")
    assert (done.status, done.out, done.err) == (0, "x\n", "")


def test_simultaneous_ends_are_not_an_error(peer, tmp_path):
    """The order in which ackc sees the end of input and the close does not matter."""
    def handle(s):
        s.sendall(s.recv(65536))

    server = peer(handle)
    path = tmp_path / "text"
    path.write_bytes(b"x\n")
    for _ in range(50):
        with open(path, "rb") as f:
            done = Running("127.0.0.1", server.port, stdin=f).end()
        assert (done.status, done.out, done.err) == (0, "x\n", "")


def test_end_of_a_pipe_together_with_the_close(peer):
    """Both are there when ackc continues."""
    closing = threading.Event()

    def handle(s):
        s.sendall(s.recv(65536))
        closing.wait(SOON)

    server = peer(handle)
    for _ in range(3):
        closing.clear()
        run = Running("--linger", SOON, "127.0.0.1", server.port, stdin=subprocess.PIPE)
        run.process.stdin.write(b"x\n")
        run.process.stdin.flush()
        assert run.process.stdout.readline() == b"x\n"
        run.process.send_signal(signal.SIGSTOP)
        closing.set()
        wait_until(lambda: not server.open, "the close")
        run.process.stdin.close()
        run.process.send_signal(signal.SIGCONT)
        out, err = run.process.stdout.read(), run.process.stderr.read()
        assert (run.process.wait(SOON), out, err) == (0, b"", b"")


def test_close_before_all_is_sent_is_reported(peer, tmp_path):
    server = peer(lambda s: s.sendall(s.recv(1)))
    path = tmp_path / "text"
    path.write_bytes(b"x" * (1 << 22))
    with open(path, "rb") as f:
        done = Running("127.0.0.1", server.port, stdin=f).end()
    assert (done.status, done.out == "x" or done.out == "") == (1, True)


NO_REPLY = "no reply: the server closed the connection (13 bytes sent)"
TRY_LONGER = "; for a slow server try a longer --linger"


@pytest.mark.parametrize("after, words", [
    ("the text", NO_REPLY), ("the half-close", NO_REPLY + TRY_LONGER),
], ids=["text", "half-close"])
def test_missing_reply_is_reported(peer, after, words):
    def handle(s):
        s.recv(65536)
        if after == "the half-close":
            silent(s)

    server = peer(handle)
    options = ("--linger", "0.1" if after == "the half-close" else "1h")
    done = ackc(*options, "127.0.0.1", server.port, "good morning")
    assert (done.status, done.out) == (1, "")
    assert done.err == f"ackc: 127.0.0.1:{server.port}: {words}\n"
    done = ackc("--json", *options, "127.0.0.1", server.port, "good morning")
    summary = json.loads(done.out)
    assert (done.status, summary["status"], summary["error"]) == (1, 1, words)


def test_greeting_does_not_count_as_reply(peer):
    def handle(s):
        s.sendall(b"hello\n")
        silent(s)

    server = peer(handle)
    run = Running("--linger", "0.1", "127.0.0.1", server.port, stdin=subprocess.PIPE)
    assert run.process.stdout.readline() == b"hello\n"
    run.process.stdin.write(b"good morning\n")
    done = run.end()
    assert (done.status, done.err) == (1, f"ackc: 127.0.0.1:{server.port}: {NO_REPLY}{TRY_LONGER}\n")


def test_nothing_sent_needs_no_reply(peer):
    done = ackc("--linger", "0", "127.0.0.1", peer(silent).port, data=b"")
    assert (done.status, done.out, done.err) == (0, "", "")


def test_linger_begins_after_the_last_acknowledgement(peer):
    """Bytes in the local send buffer count as unsent, so the half-close waits for them."""
    size = 200_000
    early = []

    def handle(s):
        time.sleep(3.5)  # the receive buffer is full, and the rest waits at the sender
        n = 0
        while n < size:
            n += len(s.recv(65536))
        s.settimeout(0)
        try:
            early.append(s.recv(1))
        except BlockingIOError:
            pass
        s.settimeout(SOON)
        s.sendall(b"%d" % n)

    server = peer(handle, receive_buffer=4096)
    done = ackc("--linger", "2", "127.0.0.1", server.port, data=b"x" * size)
    assert (done.status, done.out, early) == (0, str(size), [])


def test_peer_that_acknowledges_nothing_times_out(peer):
    server = peer(lambda s: time.sleep(SOON), receive_buffer=4096)
    done = ackc("-w", within(0.5), "--linger", "0.1", "127.0.0.1", server.port, data=b"x" * 200_000)
    assert (done.status, done.out) == (1, "")
    assert done.err == f"ackc: 127.0.0.1:{server.port}: timed out waiting for a reply\n"


def test_json_has_the_documented_members(peer):
    def handle(s):
        s.sendall(b"a\n")
        echo(s)

    server = peer(handle)
    done = ackc("--json", "127.0.0.1", server.port, data=b"\xff\"\n")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert done.status == 0
    data = b"".join(e["text"].encode() if "text" in e else base64.b64decode(e["base64"])
                    for e in events[:-1])
    assert data == b"a\n\xff\"\n"
    assert [e["event"] for e in events] == ["data"] * (len(events) - 1) + ["summary"]
    summary = events[-1]
    assert summary["sent_bytes"] == 3
    assert summary["received_bytes"] == 5
    assert summary["status"] == 0
    assert summary["error"] is None
    assert summary["address"] == f"127.0.0.1:{server.port}"


def test_json_reports_a_failure(peer):
    server = peer(silent_for_ever)
    done = ackc("--json", "-w", within(0.5), "127.0.0.1", server.port, "x")
    summary = json.loads(done.out)
    assert (done.status, summary["status"]) == (1, 1)
    assert summary["error"] == "timed out waiting for a reply"


def test_naks_set_the_exit_status(peer):
    def handle(s):
        s.sendall(b"Got ab\nNAK 2 invalid start byte\n")
        silent(s)

    server = peer(handle)
    done = ackc("127.0.0.1", server.port, "x")
    assert (done.status, done.out) == (2, "Got ab\nNAK 2 invalid start byte\n")
    assert done.err == f"ackc: 127.0.0.1:{server.port}: NAK 2 invalid start byte\n"


def test_nak_in_pieces_is_recognized(peer):
    def handle(s):
        for byte in b"x\nNAK 12 line too long\n":
            s.sendall(bytes([byte]))
        silent(s)

    assert ackc("127.0.0.1", peer(handle).port, "x").status == 2


def test_echoed_nak_is_no_nak(peer):
    done = ackc("127.0.0.1", peer(echo).port, "NAK 2 invalid start byte", "x")
    assert (done.status, done.err) == (0, "")


def test_text_resembling_a_nak_is_no_nak(peer):
    for text in ("NAK", "NAK x y", "NAK 1", "xNAK 1 y", "nak 1 y", "NAK  1 y"):
        server = peer(lambda s, text=text: (s.sendall(text.encode() + b"\n"), silent(s)))
        done = ackc("--linger", "0", "127.0.0.1", server.port, "x")
        assert (done.status, done.err) == (0, ""), text


def test_interrupt_ends_send(peer):
    server = peer(echo)
    run = Running("127.0.0.1", server.port, stdin=subprocess.PIPE)
    run.process.stdin.write(b"abc\n")
    run.process.stdin.flush()
    assert run.process.stdout.readline() == b"abc\n"
    done = run.end(signal.SIGINT)
    assert done.status == 1
    assert done.err == (f"ackc: 127.0.0.1:{server.port}: interrupted: 4 bytes sent, "
                        "4 received\n")


def test_sigpipe_ends_send(peer):
    """As in `ackc HOST PORT < file | head -1`: SIGPIPE ends ackc without a message."""
    server = peer(echo)
    run = Running("127.0.0.1", server.port, stdin=subprocess.PIPE)
    run.process.stdout.close()
    run.process.stdin.write(b"abc\n" * 1000)
    run.process.stdin.flush()
    assert run.process.wait(SOON) == -signal.SIGPIPE
    assert run.process.stderr.read() == b""
    run.process.stdin.close()
    run.process.stderr.close()


def test_full_output_is_an_error(peer):
    server = peer(echo)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*ackc_command(), "127.0.0.1", str(server.port), "x"], stdout=full,
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SOON,
                              check=False)
    assert done.returncode == 1
    assert b"standard output: No space left on device" in done.stderr


def test_unix_socket_is_supported(directory):
    path = f"{directory}/s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)

        def serve():
            s, _ = listener.accept()
            with s:
                echo(s)

        threading.Thread(target=serve, daemon=True).start()
        done = ackc(f"unix:{path}", "text", "8080")
    assert (done.status, done.out) == (0, "text\n8080\n")


def test_ipv6_is_supported(peer):
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener:
        port = listener.getsockname()[1]

        def serve():
            for _ in range(2):
                s, _ = listener.accept()
                with s:
                    echo(s)

        threading.Thread(target=serve, daemon=True).start()
        for host in ("::1", "[::1]"):
            done = ackc("-6", host, port, "text")
            assert (done.status, done.out) == (0, "text\n")
