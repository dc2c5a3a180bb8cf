"""Line framing."""

import re
import subprocess
import time

import pytest

from harness import converse, have, read_exactly, read_to_end, wait_until
from oracle import Text, line_replies


def lines_daemon(ackd, more=""):
    return ackd(f'framing = "line"; {more}')


def answer(data, **options):
    return line_replies(data, Text(), prefix=b"Got ", **options)


@pytest.mark.parametrize(
    "data",
    [
        b"one\n",
        b"one\r\n",
        b"\n",
        b"\r\n",
        b"\r\r\n",
        b"\n\n\r\n\n",
        b"a\rb\n",
        b"a\r",
        b"\r",
        b"last line without terminator",
        b"one\ntwo\r\nthree",
        "кириллица\r\nи ещё\n😀".encode(),
        b"nul\0inside\nend\n",
        b"",
    ],
)
def test_terminator_of_the_line_ends_the_reply(ackd, data):
    assert lines_daemon(ackd).exchange(data) == answer(data)


def test_oracle_matches_fixed_answers():
    """Compares the oracle with fixed answers."""
    assert answer(b"one\r\n\ntwo") == b"Got one\r\nGot \nGot two"
    assert answer(b"a\xff\nb\n") == b"NAK 1 invalid start byte\nGot b\n"
    assert answer(b"a\n\xe2\x82\nb\xd0") == (
        b"Got a\nNAK 2 invalid continuation byte\nNAK 6 unexpected end of data\n"
    )
    assert answer(b"ab\nabc\nd\n", max_line=2) == b"Got ab\nNAK 3 line too long\n"


def test_lines_are_answered_before_the_end(ackd):
    with lines_daemon(ackd).connect() as s:
        for line in ("раз\n", "два\r\n", "\n"):
            s.sendall(line.encode())
            expected = ("Got " + line).encode()
            assert read_exactly(s, len(expected)) == expected


def test_line_in_pieces_is_answered_once(ackd):
    """CR and LF, and the bytes of one character, arrive separately."""
    data = "слово\r\nи слово\n".encode()
    with lines_daemon(ackd).connect() as s:
        for i in range(len(data)):
            s.sendall(data[i : i + 1])
            time.sleep(0.002)  # most arrive alone; the answer does not depend on it
        expected = answer(data)
        assert read_exactly(s, len(expected)) == expected


@pytest.mark.parametrize("max_line", [1, 2, 5, 1000, 65536, 65537, 200000])
@pytest.mark.parametrize("terminator", [b"\n", b"\r\n", b""])
def test_max_line_is_exact(ackd, max_line, terminator):
    daemon = lines_daemon(ackd, f"limits = {{ max_line = {max_line}; }};")
    fits = b"x" * max_line + terminator
    assert daemon.exchange(fits) == b"Got " + fits
    too_long = b"ok\n" if max_line >= 2 else b"k\n"
    too_long += b"x" * (max_line + 1) + terminator + b"not any more\n"
    assert daemon.exchange(too_long) == answer(too_long, max_line=max_line)


def test_cr_counts_towards_max_line_unless_lf_follows(ackd):
    daemon = lines_daemon(ackd, "limits = { max_line = 4; };")
    assert daemon.exchange(b"abcd\r\nabc\r") == b"Got abcd\r\nGot abc\r"
    assert daemon.exchange(b"abcd\rx\n") == b"NAK 0 line too long\n"
    assert daemon.exchange(b"abcd\r") == b"NAK 0 line too long\n"


def test_line_too_long_is_reported_before_the_end_of_line(ackd):
    daemon = lines_daemon(ackd, "limits = { max_line = 100; };")
    with daemon.connect() as s:
        s.sendall(b"ok\n" + b"x" * 101)
        # Neither LF nor a half-close is needed: byte 101 is no CR, which proves it.
        assert read_to_end(s) == b"Got ok\nNAK 3 line too long\n"


def test_fault_affects_only_its_line(ackd):
    daemon = lines_daemon(ackd)
    faults = [b"\xff", b"ab\xc0\x80", b"\xe2\x82", "я".encode() + b"\xd0", b"\xed\xa0\x80" * 3]
    for bad in range(5):
        for fault in faults:
            lines = ["строка %d" % i for i in range(5)]
            encoded = [line.encode() for line in lines]
            encoded[bad] = fault
            data = b"\n".join(encoded) + b"\n"
            replies = daemon.exchange(data)
            assert replies == answer(data)
            assert replies.count(b"NAK ") == 1
            assert replies.count(b"Got ") == 4


def test_rest_of_an_invalid_line_is_skipped(ackd):
    daemon = lines_daemon(ackd, "limits = { max_line = 1000; };")
    data = b"before\n\xff" + b"x" * 3_000_000 + b"\xfe\nafter\n"
    expected = b"Got before\nNAK 7 invalid start byte\nGot after\n"
    before = daemon.rss_kib()
    assert daemon.exchange(data) == expected
    assert daemon.rss_kib() - before < 4096


def test_unencodable_character_affects_only_its_line(ackd):
    daemon = lines_daemon(ackd, 'encoding = { reply_charset = "iso-8859-1"; };')
    assert daemon.exchange("é\n€uro\nü\n".encode()) == (
        b"Got \xe9\nNAK 3 cannot encode U+20AC\nGot \xfc\n"
    )


def test_discard_answers_only_faults(ackd):
    daemon = lines_daemon(ackd, 'reply = "discard";')
    assert daemon.exchange(b"a\nb\xff\n\nc") == b"NAK 3 invalid start byte\n"


def pipelined(n):
    return "".join(f"строка {i}\n" for i in range(n)).encode()


def test_10000_pipelined_lines_are_answered(ackd):
    daemon = lines_daemon(ackd)
    data = pipelined(10_000)
    with daemon.connect() as s:
        replies = converse(s, data, chunk=len(data))
    assert replies == answer(data)
    assert replies.count(b"\n") == 10_000


def test_pipelined_lines_need_few_writes(ackd, capsys):
    if not have("strace"):
        pytest.skip("strace is not installed")
    daemon = lines_daemon(ackd, "workers = 1;")
    trace = daemon.directory / "trace"
    strace = subprocess.Popen(
        ["strace", "-f", "-p", str(daemon.pid), "-o", str(trace)]
        + ["-e", "trace=write,writev,?send,sendmsg,sendto,sendmmsg"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = strace.stderr.readline()
        if "attached" not in said:
            pytest.skip(f"strace cannot attach: {said.strip()}")
        # -f attaches to one thread after another, so this asks until the trace has an answer.
        wait_until(
            lambda: daemon.exchange(b"probe\n") and b"Got probe" in trace.read_bytes(),
            "a traced write",
        )
        before = len(trace.read_bytes().splitlines())
        data = pipelined(10_000)
        with daemon.connect() as s:
            assert converse(s, data, chunk=len(data)) == answer(data)
        daemon.exchange(b"probe\n")
        wait_until(lambda: trace.read_bytes().count(b"Got probe") >= 2, "the last traced write")
    finally:
        strace.terminate()
        strace.communicate()
    calls = trace.read_bytes().splitlines()[before:]
    writes = [call for call in calls if re.search(rb"(write|writev|send\w*)\(.*(Got|\\32)", call)]
    with capsys.disabled():
        print(f"\n10,000 pipelined lines, {len(data)} bytes: {len(writes)} writes")
    assert 0 < len(writes) <= 60
