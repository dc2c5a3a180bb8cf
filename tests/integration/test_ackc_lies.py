"""Servers that lie: ping and load find each lie, name it, and exit with the right status."""

import json
import threading

import pytest

import ackc_peers
from ackc_peers import ackc, each_line, lines_of, reset
from harness import SOON, within

peer = ackc_peers.peer

# The probes by which ackc learns how the server answers: an echo server is asked twice.
LEARNING = 2


def change(line, at, mask):
    return line[:at] + bytes([line[at] ^ mask]) + line[at + 1:]


def reply(make):
    """A reply made of the line."""
    return lambda s, line: s.sendall(make(line))


def swapped():
    held = []

    def answer(s, line):
        held.append(line)
        if len(held) % 2 == 0:
            s.sendall(held[-1] + held[-2])

    return answer


def half_then(end):
    def answer(s, line):
        s.sendall(line[:20])
        return end(s)

    return answer


def nothing(s, line):
    return None


# name: (reply, kind of fault for JSON, words of ping, exit status)
WRONG = {
    "bit": (reply(lambda l: change(l, 30, 0x04)), "bit changed", "one bit changed: byte 30 is 0x"),
    "first bit": (reply(lambda l: change(l, 0, 0x01)), "bit changed", "one bit changed: byte 0 is"),
    "line end": (reply(lambda l: change(l, 63, 0x01)), "bit changed", "one bit changed: byte 63 is"),
    "byte": (reply(lambda l: change(l, 30, 0x0F)), "byte changed", "byte 30 is 0x"),
    "dropped": (reply(lambda l: l[:30] + l[31:]), "byte dropped", "byte 30 (0x"),
    "doubled": (reply(lambda l: l[:31] + l[30:]), "byte doubled", "byte 30 (0x"),
    "doubled end": (reply(lambda l: l + b"\n"), "byte doubled", "byte 63 (0x0a) came twice"),
    "added": (reply(lambda l: l[:30] + b"~" + l[30:]), "byte added", "byte 30 (0x7e) was put in"),
    "extra": (reply(lambda l: l + b"more\n"), "unasked bytes", "bytes that answer nothing"),
    "other": (reply(lambda l: b"HTTP/1.1 400 Bad Request\r\n"), "other text",
              "other text from byte 0 on"),
    "upper case": (reply(lambda l: l.upper()), "other text", "other text from byte"),
    "late": (reply(lambda l: change(l, 7, 1)), "bit changed", "one bit changed: byte 7"),
    "nak": (reply(lambda l: b"NAK 128 invalid start byte\n"), "NAK", "NAK 128 invalid start byte"),
}


@pytest.mark.parametrize("lie", WRONG)
def test_ping_names_the_lie(peer, lie):
    answer, kind, words = WRONG[lie]
    server = peer(each_line(answer, honest=LEARNING + 1))
    done = ackc("ping", "-c", "2", "-i", "0", "-w", within(5), "127.0.0.1", server.port)
    assert done.status == 2
    assert words in done.err
    assert f"ackc: 127.0.0.1:{server.port}: " in done.err
    assert ", +" in done.out and " wrong" in done.out, done
    assert "--- " in done.out

    server = peer(each_line(answer, honest=LEARNING + 1))
    done = ackc("ping", "-c", "2", "-i", "0", "-w", within(5), "--json", "127.0.0.1", server.port)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [e["kind"] for e in events if e["event"] == "wrong"] == [kind]
    assert events[-1]["wrong"] == 1
    assert done.status == events[-1]["status"] == 2


@pytest.mark.parametrize("lie", WRONG)
def test_load_names_the_lie(peer, lie):
    answer, kind, words = WRONG[lie]
    server = peer(each_line(answer, honest=LEARNING + 50))
    done = ackc("load", "-n", "60", "-c", "1", "-w", within(1), "--json", "127.0.0.1", server.port,
                timeout=SOON)
    summary = json.loads(done.out)
    kinds = {e["kind"]: e for e in summary["errors"]}
    expected = "NAK invalid start byte" if kind == "NAK" else kind
    assert kinds[expected]["wrong"] is True, done
    assert words in summary["first_wrong"]
    assert done.status == summary["status"] == 2
    assert summary["completed"] >= 50
    assert "wrong reply: " in done.err


def test_swapped_replies(peer):
    server = peer(each_line(swapped(), honest=LEARNING))
    done = ackc("load", "-n", "40", "-c", "1", "-p", "4", "-w", within(1), "--json", "127.0.0.1",
                server.port)
    summary = json.loads(done.out)
    assert "replies swapped" in {e["kind"] for e in summary["errors"]}, done
    assert "the reply to message" in summary["first_wrong"]
    assert done.status == 2


def test_replies_of_the_neighbour(peer):
    """Two connections get each other's replies."""
    sockets = []
    first = []
    gate = threading.Event()

    def handle(s):
        lines = lines_of(s)
        if not first:
            first.append(s)
            for line in lines:
                s.sendall(line)
            return
        sockets.append(s)
        if len(sockets) == 2:
            gate.set()
        gate.wait(SOON)
        for line in lines:
            sockets[1 - sockets.index(s)].sendall(line)

    server = peer(handle)
    done = ackc("load", "-n", "20", "-c", "2", "-w", within(1), "--json", "127.0.0.1", server.port)
    assert done.status == 2, done
    assert json.loads(done.out)["first_wrong"]


# What breaks the connection or keeps silent is the network's failure.
FAILURES = {
    "silence": (nothing, "timed out waiting for a reply"),
    "close": (lambda s, line: False, "connection closed early"),
    "close in mid reply": (half_then(lambda s: False),
                           "connection closed early (20 of 64 bytes of the reply came)"),
    "reset": (lambda s, line: reset(s), "connection reset"),
    "reset in mid reply": (half_then(reset), "connection reset"),
    "half a reply": (half_then(lambda s: None),
                     "timed out waiting for a reply (20 of 64 bytes of the reply came)"),
    "no line end": (lambda s, line: s.sendall(line[:-1]),
                    "timed out waiting for a reply (63 of 64 bytes of the reply came)"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_ping_names_the_failure(peer, failure):
    answer, words = FAILURES[failure]
    server = peer(each_line(answer, honest=LEARNING + 1))
    done = ackc("ping", "-c", "2", "-i", "0", "-w", within(0.5), "127.0.0.1", server.port)
    assert done.err.startswith(f"ackc: 127.0.0.1:{server.port}: {words}"), done
    assert "2 probes transmitted, 1 received, +1 errors, 50% loss" in done.out
    assert done.status == 1


@pytest.mark.parametrize("failure", FAILURES)
def test_load_names_the_failure(peer, failure):
    answer, words = FAILURES[failure]
    server = peer(each_line(answer, honest=LEARNING + 10))
    done = ackc("load", "-n", "12", "-c", "1", "-w", within(0.5), "--json", "127.0.0.1",
                server.port)
    summary = json.loads(done.out)
    assert summary["errors"] == [{"kind": words.split(" (")[0], "wrong": False, "count": 2}], done
    assert (summary["completed"], summary["lost"]) == (10, 2)
    assert done.status == summary["status"] == 1


@pytest.mark.parametrize("honest", [0, 1])
@pytest.mark.parametrize("lie", ["bit", "dropped", "doubled", "added", "nak"])
def test_lies_from_the_beginning(peer, lie, honest):
    """While ackc still learns how the server answers."""
    answer, _, words = WRONG[lie]
    server = peer(each_line(answer, honest=honest))
    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "-w", within(3), "127.0.0.1", server.port)
        assert done.status == 2, done
        assert words.split("(")[0] in done.err


def test_silence_from_the_beginning(peer):
    server = peer(each_line(nothing))
    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "-w", within(0.3), "127.0.0.1", server.port)
        assert done.status == 1
        assert f"ackc: 127.0.0.1:{server.port}: timed out waiting for a reply\n" in done.err


def test_prefix_that_changes(peer):
    prefixes = iter([b"Got ", b"Gox "] * 10)
    server = peer(each_line(lambda s, line: s.sendall(next(prefixes) + line)))
    done = ackc("ping", "-c", "1", "127.0.0.1", server.port)
    assert done.status == 2
    assert "what stands before a text differs" in done.err


@pytest.mark.parametrize("option, value", [("--prefix", "Sent "), ("--suffix", "!"),
                                           ("--prefix", "")])
def test_prefix_and_suffix_that_were_not_expected(peer, option, value):
    server = peer(each_line(lambda s, line: s.sendall(b"Got " + line)))
    done = ackc("ping", "-c", "1", option, value, "127.0.0.1", server.port)
    assert done.status == 2
    assert f"its {option[2:]} is '" in done.err


def test_prefix_and_suffix_that_were_expected(peer):
    server = peer(each_line(lambda s, line: s.sendall(b"<" + line[:-1] + b">\n")))
    for command in (("ping", "-c", "2", "-i", "0"), ("load", "-n", "50", "-p", "4")):
        done = ackc(*command, "--prefix", "<", "--suffix", ">", "127.0.0.1", server.port)
        assert done.status == 0, done


@pytest.mark.parametrize("lie, words", [
    (lambda l: change(l, 50_000, 0x04), "one bit changed: byte 50000 is 0x"),
    (lambda l: l[:50_000] + l[50_001:], "byte 50000 (0x"),
    (lambda l: l[:50_001] + l[50_000:], "byte 50000 (0x"),
    (lambda l: change(l, len(l) - 1, 0x01), "one bit changed: byte 99999 is 0x"),
], ids=["bit", "dropped", "doubled", "last"])
def test_lies_far_into_a_long_reply(peer, lie, words):
    # What it learns from is shorter.
    server = peer(each_line(reply(lambda l: lie(l) if len(l) == 100_000 else l)))
    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "-s", "100000", "127.0.0.1", server.port)
        assert done.status == 2, done
        assert words in done.err


def test_what_a_server_puts_around_cannot_harm_a_terminal(peer):
    server = peer(each_line(lambda s, line: s.sendall(b"\x1b[31m\xff" + line)))
    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "--prefix", "x", "127.0.0.1", server.port)
        assert done.status == 2
        assert "its prefix is '\\x1b[31m\\xff', not 'x'" in done.err
