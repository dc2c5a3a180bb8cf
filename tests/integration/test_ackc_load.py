"""ackc load: counts, schedules, percentiles, real text; stalls that only a schedule reveals."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading

import pytest

import ackc_peers
from ackc_peers import Running, ackc, ackc_command, echo, lines_of
from harness import SOON, environment, sanitizer, spawn, wait_until, within

peer = ackc_peers.peer


def load(*arguments, status=0, **options):
    done = ackc("load", "--json", *arguments, **options)
    assert done.status == status, done
    return json.loads(done.out)


@pytest.mark.parametrize("arguments, messages", [
    ((), 100), (("-c", "3"), 100), (("-c", "7", "-t", "3"), 101), (("-p", "16"), 1000),
    (("-c", "8", "-t", "2", "-p", "5"), 999), (("-c", "20"), 5), (("-s", "2"), 50),
    (("-s", "100000", "-p", "4"), 60), (("--rate", "2000"), 200), (("--rate", "1e9"[:1] * 5), 50),
    (("-c", "3", "-t", "2", "-p", "2", "--rate", "5000"), 500),
])
def test_count_of_messages_is_exact(peer, arguments, messages):
    received = [0]
    lock = threading.Lock()

    def handle(s):
        for line in lines_of(s):
            with lock:
                received[0] += 1
            s.sendall(line)

    summary = load("-n", messages, *arguments, "127.0.0.1", peer(handle).port)
    assert (summary["sent"], summary["completed"]) == (messages, messages)
    assert (summary["lost"], summary["unsent"], summary["errors"]) == (0, 0, [])
    assert summary["latency_ms"]["count"] == messages
    assert summary["sent_bytes"] == summary["received_bytes"]
    assert received[0] == messages + 2  # the probes included


def test_duration_is_kept(peer):
    summary = load("-d", "0.5", "127.0.0.1", peer(echo).port)
    assert 500 <= summary["time_ms"] < 5000
    assert summary["completed"] > 100
    assert summary["messages_per_second"] == pytest.approx(
        summary["completed"] / summary["time_ms"] * 1000, rel=1e-3)


def test_rate_is_kept(peer):
    summary = load("-d", "2", "--rate", "250", "-c", "5", "-p", "100", "127.0.0.1", peer(echo).port)
    assert summary["sent"] + summary["unsent"] == 500
    assert summary["unsent"] < 250  # a busy machine may stop ackc at the end, but for less than 1 s
    assert summary["service_ms"]["count"] == summary["latency_ms"]["count"]


@pytest.mark.parametrize("arguments", [("-c", "1"), ("-c", "4", "-p", "8"),
                                       ("-c", "50", "-t", "2")], ids=" ".join)
def test_unreachable_rate_is_reported(peer, arguments):
    """Sent and unsent messages add up to all due ones, and most of the time goes into sending."""
    server = peer(echo)
    summary = load("-d", "1", "--rate", "100000000", *arguments, "127.0.0.1", server.port)
    assert summary["sent"] + summary["unsent"] == 10 ** 8
    assert summary["completed"] == summary["sent"] > 500
    assert summary["sent_per_second"] == pytest.approx(summary["sent"], rel=1e-3)
    done = ackc("load", "-d", "0.3", "--rate", "100000000", *arguments, "127.0.0.1", server.port)
    assert re.search(r"^rate not reached: 100000000 messages/s scheduled, \d+\.\d messages/s sent\n"
                     r"\d{8} messages were due but not sent$", done.out, re.M), done


def test_silent_connections_do_not_delay_the_schedule(peer):
    """Connections that wait for a reply take no CPU time while the schedule continues."""
    server = peer(ackc_peers.each_line(lambda s, line: None, honest=2))
    # The timeout is longer than the duration, so that no connection is opened again.
    summary = load("-d", "1", "-w", "4", "-c", "200", "--rate", "100000000", "127.0.0.1", server.port,
                   status=1)
    assert (summary["sent"], summary["unsent"]) == (200, 10 ** 8 - 200)
    assert [e["kind"] for e in summary["errors"]] == ["timed out waiting for a reply"]
    assert summary["cpu_ms"] < 500


def test_interrupted_load_counts_due_messages(peer):
    count = iter(range(1 << 60))
    enough = threading.Event()

    def handle(s):
        for line in lines_of(s):
            s.sendall(line)
            if next(count) == 200:
                enough.set()

    run = Running("load", "-d", "60", "-r", "1000000", "--json", "127.0.0.1", peer(handle).port)
    assert enough.wait(SOON)
    summary = json.loads(run.end(signal.SIGINT).out)
    assert summary["interrupted"] is True
    assert summary["unsent"] > 1000


def test_count_too_slow_for_its_rate_is_reported(peer):
    def handle(s):
        for line in lines_of(s):
            threading.Event().wait(0.02)
            s.sendall(line)

    done = ackc("load", "-n", "10", "-c", "1", "--rate", "1000", "127.0.0.1", peer(handle).port)
    assert "rate not reached: 1000 messages/s scheduled, " in done.out
    assert "due but not sent" not in done.out
    # reached unless the second one is half a second late
    done = ackc("load", "-n", "2", "-c", "1", "--rate", "2", "127.0.0.1", peer(handle).port)
    assert "rate not reached" not in done.out


def test_percentiles_are_in_order(peer):
    latency = load("-n", "2000", "127.0.0.1", peer(echo).port)["latency_ms"]
    values = [latency[k] for k in ("min", "p50", "p75", "p90", "p99", "p99_9", "p99_99", "max")]
    assert values == sorted(values)
    assert latency["min"] <= latency["avg"] <= latency["max"]


def test_json_has_the_documented_schema(peer):
    summary = load("-n", "10", "127.0.0.1", peer(echo).port)
    assert set(summary) == {
        "event", "command", "target", "address", "connections", "opened", "connected", "depth", "threads",
        "rate", "interrupted", "time_ms", "sent", "completed", "lost", "unsent", "sent_bytes",
        "received_bytes", "messages_per_second", "sent_per_second", "cpu_ms", "latency_ms", "service_ms",
        "connect_ms", "handshake_ms", "tls", "errors", "first_wrong", "status"}


def test_report_is_printed(peer):
    done = ackc("load", "-n", "300", "--histogram", "127.0.0.1", peer(echo).port)
    assert done.status == 0
    assert "300 messages sent, 300 answered correctly, 0 lost" in done.out
    assert "errors: none" in done.out
    assert re.search(r"^ +99\.99 % +\d+\.\d{3} ms$", done.out, re.M)
    bars = re.findall(r"^ +\d+\.\d{3} ms +(\d+) +\d+\.\d\d % +#*$", done.out, re.M)
    assert sum(map(int, bars)) == 300
    assert done.err == ""


def test_acknowledgements_in_lines_are_verified(peer):
    def handle(s):
        for line in lines_of(s):
            s.sendall(b"Got " + line)

    summary = load("-n", "500", "-p", "10", "127.0.0.1", peer(handle).port)
    assert summary["received_bytes"] == 500 * (64 + 4)


@pytest.mark.parametrize("prefix, suffix", [(b"Got ", b""), (b"Got ", b" ok"), (b"", b";"),
                                            (b"ab", b"c")])
def test_acknowledgements_of_a_stream_are_verified(peer, prefix, suffix):
    """The server acknowledges each of its reads, wherever these cut the messages."""
    def handle(s):
        n = 0
        # Two probes of 1000 bytes, from which ackc learns, fit.
        while data := s.recv(2100 + n % 1000):
            n += 37
            s.sendall(prefix + data + suffix)

    for arguments in ((), ("-p", "20"), ("-p", "3", "-s", "5000")):
        load("-n", "500", "-c", "2", *arguments, "127.0.0.1", peer(handle).port)
    assert ackc("ping", "-c", "3", "-i", "0", "-s", "3000", "127.0.0.1",
                peer(handle).port).status == 0


TEXT = "one\ntwo\r\n\ndrei: äöü €\n𝄞\n" * 50 + "no line end"


@pytest.mark.parametrize("prefix", [b"", b"Got "])
def test_file_is_sent_in_lines(peer, directory, prefix):
    lines = []

    def handle(s):
        for line in lines_of(s):
            lines.append(line)
            s.sendall(prefix + line)

    with open(f"{directory}/text", "w", encoding="utf-8", newline="") as f:
        f.write(TEXT)
    summary = load("-n", "502", "-c", "1", "-p", "8", "--lines", "--file", f"{directory}/text",
                   "127.0.0.1", peer(handle).port)
    assert summary["completed"] == 502
    sent = b"".join(lines[2 if not prefix else 4:])
    assert sent == (TEXT + "\n").encode() * 2


def test_file_is_sent_in_pieces(peer, directory):
    got = []

    def handle(s):
        while data := s.recv(65536):
            got.append(data)
            s.sendall(data)

    text = "aä€𝄞" * 100
    with open(f"{directory}/text", "w", encoding="utf-8") as f:
        f.write(text)
    load("-n", "40", "-c", "1", "-s", "7", "--file", f"{directory}/text", "127.0.0.1",
         peer(handle).port)
    for piece in got:
        piece.decode()  # no character is cut
        assert len(piece) <= 7 or piece.endswith(b"\n")


def test_file_of_unknown_size_is_read(peer, directory):
    """A pipe with more data than its buffer, and a file of /proc, whose size is 0."""
    os.mkfifo(f"{directory}/pipe")
    text = b"".join(b"%d\n" % i for i in range(300_000))

    def write():
        with open(f"{directory}/pipe", "wb") as f:
            f.write(text)

    threading.Thread(target=write, daemon=True).start()
    summary = load("-n", 300_000, "-c", "1", "-p", "1000", "-w", SOON, "--lines", "--file",
                   f"{directory}/pipe", "127.0.0.1", peer(echo).port)
    assert summary["sent_bytes"] == len(text)
    load("-n", "10", "--file", "/proc/cpuinfo", "127.0.0.1", peer(echo).port)


def test_too_large_file_is_rejected(peer):
    done = ackc("load", "--file", "/dev/zero", "127.0.0.1", peer(echo).port)
    assert done.status == 1
    assert "/dev/zero: file too large" in done.err


def test_interrupt_while_reading_a_file_ends_ackc(peer, directory):
    os.mkfifo(f"{directory}/pipe")
    run = Running("load", "--file", f"{directory}/pipe", "127.0.0.1", peer(echo).port)

    def writer():
        try:
            return os.open(f"{directory}/pipe", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # there is no reader yet
            return None

    fd = wait_until(writer, "ackc to open the pipe")
    assert run.end(signal.SIGINT).status in (1, -signal.SIGINT)
    os.close(fd)


def test_silence_lowers_the_rate(peer):
    """The rate is computed over the whole time, not until the last reply."""
    count = iter(range(1 << 60))

    def handle(s):
        for line in lines_of(s):
            if next(count) < 102:
                s.sendall(line)

    summary = load("-d", "2", "-w", within(0.5), "-c", "1", "127.0.0.1", peer(handle).port, status=1)
    assert summary["completed"] == 100
    assert summary["time_ms"] >= 2000
    assert summary["messages_per_second"] <= 50


@pytest.mark.parametrize("what, words", [("nosuch", "no such file or directory"),
                                         ("empty", "the file is empty"),
                                         (".", "")])
def test_unreadable_file_is_reported(peer, directory, what, words):
    open(f"{directory}/empty", "w", encoding="ascii").close()
    done = ackc("load", "--file", f"{directory}/{what}", "127.0.0.1", peer(echo).port)
    assert done.status == 1
    assert f"{directory}/{what}: {words}" in done.err


def test_lines_option_with_a_stream_server_is_reported(peer):
    def handle(s):
        while data := s.recv(65536):
            s.sendall(b"Got " + data)

    done = ackc("load", "--lines", "-n", "1", "127.0.0.1", peer(handle).port)
    assert done.status == 2
    assert "does not answer line by line" in done.err


def test_progress_is_shown_on_a_terminal(peer):
    main, side = pty.openpty()
    process = spawn([*ackc_command(), "load", "-d", "2.5", "-r", "1000", "127.0.0.1",
                     str(peer(echo).port)], stderr=side, stdout=subprocess.DEVNULL,
                    env=environment())
    os.close(side)
    shown = b""
    try:
        while part := os.read(main, 4096):
            shown += part
    except OSError:
        pass
    os.close(main)
    assert process.wait(SOON) == 0
    # after each second; a busy machine may delay the second one beyond the end
    assert len(re.findall(rb"\d+ messages, \d+/s, 0 errors, \d+ s left", shown)) in (1, 2)
    assert shown.endswith(b"\r\x1b[K")


def test_progress_is_shown_while_connecting(peer):
    """The server's queue is full, so ackc waits for pending connects."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4)
    accepted = []
    done = threading.Event()

    def serve():
        # Accepts only the connection for learning until the progress was seen.
        s, _ = listener.accept()
        threading.Thread(target=echo, args=(s,), daemon=True).start()
        done.wait(SOON)
        with contextlib.suppress(OSError):
            while True:
                s, _ = listener.accept()
                accepted.append(s)
                threading.Thread(target=echo, args=(s,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    main, side = pty.openpty()
    process = spawn([*ackc_command(), "load", "-n", "20", "-c", "20", "-w", str(SOON),
                     "127.0.0.1", str(listener.getsockname()[1])], stderr=side,
                    stdout=subprocess.PIPE, env=environment())
    os.close(side)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(main, 4096):
            shown += part
            if b" connections open, " in shown:
                done.set()
    os.close(main)
    done.set()
    out, _ = process.communicate(timeout=SOON)
    listener.close()
    assert re.search(rb"\r\x1b\[K\d of 20 connections open, 0 errors", shown), shown
    assert process.returncode == 0, out
    assert b"\n20 connections, depth 1, " in out


def test_connection_limit_of_the_server_is_a_nak(peer):
    first = []

    def handle(s):
        if len(first) < 4:  # the learner, and three
            first.append(s)
            echo(s)
        else:
            s.sendall(b"NAK 0 too many connections\n")

    done = ackc("load", "-n", "40", "-c", "4", "-w", within(1), "--json", "127.0.0.1",
                peer(handle).port)
    assert done.status == 2, done
    assert "NAK too many connections" in {e["kind"] for e in json.loads(done.out)["errors"]}


def stalled_load(peer, stall, *arguments):
    """Runs a load on one connection, in which the server pauses once for @stall s."""
    count = iter(range(1 << 60))

    def handle(s):
        for line in lines_of(s):
            if next(count) == 300:
                threading.Event().wait(stall)
            s.sendall(line)

    return load("-c", "1", *arguments, "127.0.0.1", peer(handle).port)


def test_schedule_reveals_a_stall(peer, record_property):
    """A stall of 0.1 s delays one fortieth of the messages that are due in 4 s."""
    summary = stalled_load(peer, 0.1, "--rate", "1000", "-n", "4000")
    record_property("p99.9 with a stall of 100 ms", f"{summary['latency_ms']['p99_9']} ms")
    assert summary["completed"] == 4000
    # The messages above p99.9 were due in the first 4 ms of the stall.
    assert summary["latency_ms"]["p99_9"] >= 80


def test_closed_loop_hides_a_stall(peer):
    """Latency from the send time delays one message only, so only the maximum shows the stall.

    The stall is long, because a busy machine causes short ones.
    """
    stall = 1.0
    scheduled = stalled_load(peer, stall, "--rate", "1000", "-n", "4000")
    closed = stalled_load(peer, stall, "-n", "6000")  # of less than 1000, that message would be p99.9
    for times in scheduled["service_ms"], closed["latency_ms"]:
        assert times["max"] >= 0.9 * stall * 1000
        assert times["p99_9"] < 0.5 * stall * 1000
    assert scheduled["latency_ms"]["p99_9"] >= 0.8 * stall * 1000


@pytest.mark.skipif(sanitizer() is not None, reason="the sanitizer's memory grows by itself")
@pytest.mark.parametrize("arguments, n, bound_kib", [
    # At its end ackc adds up histograms, which touches 552 KiB for the first time.
    (("load", "-q", "-p", "8", "-n", "{}"), 200_000, 1024),
    (("ping", "-q", "-i", "0", "-c", "{}"), 40_000, 512),
    (("send",), 400_000_000, 512),
], ids=("load", "ping", "send"))
def test_memory_does_not_grow(peer, arguments, n, bound_kib):
    """Memory is compared from a quarter of the time to the end; the smallest leak is 32 bytes.

    The peak of wait4() is not usable, because it includes that of Python before exec().
    """
    command = [*ackc_command(), *(a.format(n) for a in arguments), "127.0.0.1",
               str(peer(echo).port)]
    with spawn(["head", "-c", str(n), "/dev/zero"], stdout=subprocess.PIPE) as source:
        process = spawn(command, stdin=source.stdout, stdout=subprocess.DEVNULL,
                        env=environment())
        source.stdout.close()
        peaks = []
        while process.poll() is None:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
                peaks += re.findall(r"^VmHWM:\s+(\d+) kB$", f.read(), re.M)
            threading.Event().wait(0.005)
    assert process.returncode == 0
    assert len(peaks) > 20
    assert int(peaks[-1]) - int(peaks[len(peaks) // 4]) <= bound_kib
