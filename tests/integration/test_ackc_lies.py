"""Faulty servers: ping and load detect each wrong reply, classify it, and exit with its status."""

import json
import re
import threading

import pytest

import ackc_peers
from ackc_peers import ackc, each_line, lines_of, reset
from harness import SOON, within

peer = ackc_peers.peer

# The probes from which ackc learns the form of the replies; an echo server gets two.
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
    "bit": (reply(lambda l: change(l, 30, 0x04)), "bit flipped", "bit flipped at byte 30: expected '"),
    "first bit": (reply(lambda l: change(l, 0, 0x01)), "bit flipped", "bit flipped at byte 0: "),
    "line end": (reply(lambda l: change(l, 63, 0x01)), "bit flipped",
                 r"bit flipped at byte 63: expected '\x0a', received '\x0b'"),
    "byte": (reply(lambda l: change(l, 30, 0x0F)), "difference", "difference at byte 30: expected '"),
    "lost": (reply(lambda l: l[:30] + l[31:]), "bytes lost", "bytes lost at byte 30: expected '"),
    "five lost": (reply(lambda l: l[:30] + l[35:]), "bytes lost", "bytes lost at byte 30: "),
    "duplicated": (reply(lambda l: l[:31] + l[30:]), "bytes duplicated",
                   "bytes duplicated at byte 31: expected '"),
    "five duplicated": (reply(lambda l: l[:35] + l[30:]), "bytes duplicated",
                        "bytes duplicated at byte 35: "),
    "duplicated end": (reply(lambda l: l + b"\n"), "bytes duplicated",
                       r"bytes duplicated at byte 64: expected nothing, received '\x0a'"),
    "added": (reply(lambda l: l[:30] + b"~" + l[30:]), "difference", "received '~"),
    "extra": (reply(lambda l: l + b"more\n"), "unexpected bytes",
              r"unexpected bytes at byte 64: expected nothing, received 'more\x0a'"),
    "other": (reply(lambda l: b"HTTP/1.1 400 Bad Request\r\n"), "difference",
              "difference at byte 0: expected '"),
    "upper case": (reply(lambda l: l.upper()), "difference", "difference at byte "),
    "late": (reply(lambda l: change(l, 7, 1)), "bit flipped", "bit flipped at byte 7: "),
    "nak": (reply(lambda l: b"NAK 128 invalid start byte\n"), "NAK", "NAK 128 invalid start byte"),
}


@pytest.mark.parametrize("lie", WRONG)
def test_ping_classifies_wrong_replies(peer, lie):
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
def test_load_classifies_wrong_replies(peer, lie):
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


def test_swapped_replies_are_detected(peer):
    server = peer(each_line(swapped(), honest=LEARNING))
    done = ackc("load", "-n", "40", "-c", "1", "-p", "4", "-w", within(1), "--json", "127.0.0.1",
                server.port)
    summary = json.loads(done.out)
    assert "another message's reply" in {e["kind"] for e in summary["errors"]}, done
    assert "another message's reply at byte " in summary["first_wrong"]
    assert done.status == 2


def test_replies_of_another_connection_are_detected(peer):
    """Each of two connections gets the replies of the other."""
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


# A broken connection or silence counts as a network failure.
FAILURES = {
    "silence": (nothing, "timed out waiting for a reply"),
    "close": (lambda s, line: False, "connection closed early"),
    "close in mid reply": (half_then(lambda s: False),
                           "connection closed early (20 of 64 bytes of the reply arrived)"),
    "reset": (lambda s, line: reset(s), "connection reset"),
    "reset in mid reply": (half_then(reset), "connection reset"),
    "half a reply": (half_then(lambda s: None),
                     "timed out waiting for a reply (20 of 64 bytes of the reply arrived)"),
    "no line end": (lambda s, line: s.sendall(line[:-1]),
                    "timed out waiting for a reply (63 of 64 bytes of the reply arrived)"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_ping_classifies_network_failures(peer, failure):
    answer, words = FAILURES[failure]
    server = peer(each_line(answer, honest=LEARNING + 1))
    done = ackc("ping", "-c", "2", "-i", "0", "-w", within(0.5), "127.0.0.1", server.port)
    assert done.err.startswith(f"ackc: 127.0.0.1:{server.port}: {words}"), done
    assert "2 probes transmitted, 1 received, +1 error, 50% loss" in done.out
    assert done.status == 1


@pytest.mark.parametrize("failure", FAILURES)
def test_load_classifies_network_failures(peer, failure):
    answer, words = FAILURES[failure]
    server = peer(each_line(answer, honest=LEARNING + 10))
    done = ackc("load", "-n", "12", "-c", "1", "-w", within(0.5), "--json", "127.0.0.1",
                server.port)
    summary = json.loads(done.out)
    (error,) = summary["errors"]
    assert (error["kind"], error["wrong"], error["count"]) == (words.split(" (")[0], False, 2), done
    assert words.rstrip(")").partition(" (")[2] in (error["first"] or "")
    assert (summary["completed"], summary["lost"]) == (10, 2)
    assert done.status == summary["status"] == 1


@pytest.mark.parametrize("honest", [0, 1])
@pytest.mark.parametrize("lie", ["bit", "lost", "duplicated", "added", "nak"])
def test_wrong_replies_while_learning_are_detected(peer, lie, honest):
    """While ackc still learns how the server answers."""
    answer, _, words = WRONG[lie]
    server = peer(each_line(answer, honest=honest))
    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "-w", within(3), "127.0.0.1", server.port)
        assert done.status == 2, done
        assert words in done.err


# name: (reply, status, words), for servers that never reply correctly
FROM_THE_FIRST = {
    "other text": (reply(lambda l: b"502 Bad Gateway\r\n"), 2,
                   r"difference at byte 0: expected '\w{39}'\.\.\., received '502 Bad Gateway\\x0d\\x0a'"),
    "no line end": (reply(lambda l: b"+OK."), 2,
                    r"difference at byte 0: expected '\w{39}'\.\.\., received '\+OK\.'"),
    "nothing but a line end": (reply(lambda l: b"\n"), 2,
                               r"bytes lost at byte 0: expected '\w{39}'\.\.\., received '\\x0a'"),
    "small letters": (reply(lambda l: (b"Got " + l).lower()), 2,
                      r"(difference|bit flipped) at byte \d+: expected '"),
    # one bit, where the letters after the first small one happen to be capitals
    "capitals": (reply(lambda l: l.upper()), 2, r"(difference|bit flipped) at byte \d+: expected '"),
    "two bytes changed": (reply(lambda l: l[:30] + b"~~" + l[32:]), 2,
                          r"difference at byte 30: expected '\w+\\x0a', received '~~\w+\\x0a'"),
    "first two bytes missing": (reply(lambda l: l[2:]), 2,
                                r"bytes lost at byte \d: expected '\w{39}'\.\.\., received '\w{39}'"),
    "last byte missing": (reply(lambda l: l[:-2] + b"\n"), 2,
                          r"bytes lost at byte 62: expected '\w\\x0a', received '\\x0a'"),
    "cut": (reply(lambda l: l[:20] + b"\n"), 2,
            r"bytes lost at byte 20: expected '\w{39}'\.\.\., received '\\x0a'"),
    "twice": (reply(lambda l: l + l), 2,
              r"suffix changes at byte \d: expected '\w{39}'\.\.\., received '\w{39}'\.\.\.$"),
    # An incomplete reply may still become correct, until the timeout or the end.
    "half": (reply(lambda l: l[:20]), 1,
             r"timed out waiting for a reply.*received 20 bytes: '\w{20}'"),
    "all but the line end": (reply(lambda l: l[:-1]), 1, r"timed out waiting for a reply"
                             r".*received 63 bytes: '\w{39}'\.\.\."),
    "half and closes": (half_then(lambda s: False), 1,
                        r"connection closed early.*received 20 bytes: '\w{20}'"),
    "refuses and closes": (lambda s, line: s.sendall(b"421 no\x1b\n") or False, 1,
                           r"connection closed early.*received 8 bytes: '421 no\\x1b\\x0a'"),
}


@pytest.mark.parametrize("lie", FROM_THE_FIRST)
def test_wrong_first_reply_is_reported(peer, lie):
    """The message shows the received and the expected reply, before the timeout if possible."""
    answer, status, words = FROM_THE_FIRST[lie]
    wait = within(1) if "timed out" in words else 2 * SOON
    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "-w", wait, "127.0.0.1", peer(each_line(answer)).port)
        assert done.status == status, done
        said = done.err.replace("\nackc: ", " ").rstrip("\n")
        assert re.search(words, said), done


def test_reply_without_the_given_prefix_is_reported(peer):
    for prefix, reply_with in (("Got ", b"Gox\n"), ("Got ", b"Go")):
        server = peer(each_line(reply(lambda l: reply_with)))
        done = ackc("ping", "-c", "1", "-w", within(2), "--prefix", prefix, "127.0.0.1", server.port)
        assert done.status == 2, done
        assert re.search(r"at byte 2: expected 't \w+'\.\.\., received ('x\\x0a'|nothing)", done.err)


def test_wrong_second_reply_is_reported(peer):
    for end in (None, False):
        server = peer(each_line(lambda s, line: s.sendall(b"-no more\n") or end, honest=1))
        done = ackc("ping", "-c", "1", "-w", 2 * SOON, "127.0.0.1", server.port)
        assert done.status == 2, done
        assert re.search(r"at byte 0: expected '\w+'\.\.\., received '-no more\\x0a'", done.err)


def test_missing_second_reply_is_reported(peer):
    server = peer(each_line(nothing, honest=1))
    done = ackc("ping", "-c", "1", "-w", within(0.5), "--json", "127.0.0.1", server.port)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert done.status == 1, done
    assert events[0]["kind"] == "timed out waiting for a reply"
    assert events[0]["error"] == "timed out waiting for a reply (after reply 1)"
    assert events[-1]["error"] == events[0]["error"]


def test_greeting_without_reply_is_a_timeout(peer):
    """A greeting does not count as a wrong reply."""
    def handle(s):
        s.sendall(b"hello\n")
        ackc_peers.silent(s)

    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "-w", within(0.5), "127.0.0.1", peer(handle).port)
        assert done.status == 1, done
        assert "timed out waiting for a reply" in done.err
        assert r"received 6 bytes: 'hello\x0a'" in done.err


def test_slow_reply_after_a_greeting_is_learnt(peer):
    """The detection of wrong replies does not reject a server that is only slow."""
    asked = []

    def handle(s):
        s.sendall(b"hello\n")
        for line in lines_of(s):
            asked.append(line)
            threading.Event().wait(0.4)
            s.sendall(b"Got " + line)

    server = peer(handle)
    done = ackc("ping", "-c", "1", "-w", within(20), "127.0.0.1", server.port)
    assert done.status == 0, done
    assert "greeting: hello\n68 bytes from " in done.out
    assert (server.accepted, len(asked)) == (3, 7)  # the first two of seven on the first of three


def test_load_reports_an_incomplete_reply(peer):
    server = peer(each_line(lambda s, line: s.sendall(line[:20]), honest=LEARNING + 3))
    done = ackc("load", "-n", "4", "-c", "1", "-w", within(0.5), "--json", "127.0.0.1", server.port)
    summary = json.loads(done.out)
    assert summary["errors"] == [{"kind": "timed out waiting for a reply", "wrong": False, "count": 1,
                                  "first": "20 of 64 bytes of the reply arrived"}]
    assert summary["first_wrong"] is None
    assert f"ackc: 127.0.0.1:{server.port}: first: 20 of 64 bytes of the reply arrived\n" in done.err


def test_endless_number_of_a_nak_line_is_a_wrong_reply(peer):
    """It is longer than any NAK line, and than the room for a message about one."""
    nak = b"NAK " + 6000 * b"1" + b" x\n"

    def greets(s):
        s.sendall(nak)
        ackc_peers.silent(s)

    handlers = {"greeting": greets, "first reply": each_line(reply(lambda l: nak))}
    for honest in LEARNING, LEARNING + 1:
        handlers[f"reply {honest + 1}"] = each_line(reply(lambda l: nak), honest=honest)
    for name, handle in handlers.items():
        for command in (("ping", "-c", "2", "-i", "0"), ("load", "-n", "4", "-c", "1")):
            done = ackc(*command, "-w", within(0.5), "127.0.0.1", peer(handle).port)
            assert done.status == (1 if name == "greeting" else 2), (name, done)
            assert 10 * "1" in done.err, (name, done)  # the text may begin as the NAK does


def test_silent_server_is_reported(peer):
    server = peer(each_line(nothing))
    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "-w", within(0.5), "127.0.0.1", server.port)
        assert done.status == 1
        assert f"ackc: 127.0.0.1:{server.port}: timed out waiting for a reply\n" in done.err


def test_changing_prefix_is_reported(peer):
    prefixes = iter([b"Got ", b"Gox "] * 10)
    server = peer(each_line(lambda s, line: s.sendall(next(prefixes) + line)))
    done = ackc("ping", "-c", "1", "127.0.0.1", server.port)
    assert done.status == 2
    assert "prefix changes at byte 2: expected 't ', received 'x '" in done.err


@pytest.mark.parametrize("option, value", [("--prefix", "Sent "), ("--suffix", "!"),
                                           ("--prefix", "")])
def test_unexpected_prefix_and_suffix_are_reported(peer, option, value):
    server = peer(each_line(lambda s, line: s.sendall(b"Got " + line)))
    done = ackc("ping", "-c", "1", option, value, "127.0.0.1", server.port)
    assert done.status == 2
    assert f"{option[2:]} differs at byte 0: expected " in done.err


def test_given_prefix_and_suffix_are_accepted(peer):
    server = peer(each_line(lambda s, line: s.sendall(b"<" + line[:-1] + b">\n")))
    for command in (("ping", "-c", "2", "-i", "0"), ("load", "-n", "50", "-p", "4")):
        done = ackc(*command, "--prefix", "<", "--suffix", ">", "127.0.0.1", server.port)
        assert done.status == 0, done


@pytest.mark.parametrize("lie, words", [
    (lambda l: change(l, 50_000, 0x04), "bit flipped at byte 50000: "),
    (lambda l: l[:50_000] + l[50_001:], "bytes lost at byte 50000: "),
    (lambda l: l[:50_001] + l[50_000:], "bytes duplicated at byte 50001: "),
    (lambda l: change(l, len(l) - 1, 0x01), "bit flipped at byte 99999: "),
], ids=["bit", "lost", "duplicated", "last"])
def test_wrong_byte_far_into_a_long_reply_is_found(peer, lie, words):
    # The replies to learn from are shorter.
    server = peer(each_line(reply(lambda l: lie(l) if len(l) == 100_000 else l)))
    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "-s", "100000", "127.0.0.1", server.port)
        assert done.status == 2, done
        assert words in done.err


def test_learnt_prefix_is_escaped_for_terminals(peer):
    server = peer(each_line(lambda s, line: s.sendall(b"\x1b[31m\xff" + line)))
    for command in (("ping", "-c", "1"), ("load", "-n", "1")):
        done = ackc(*command, "--prefix", "x", "127.0.0.1", server.port)
        assert done.status == 2
        assert "prefix differs at byte 0: expected 'x', received '\\x1b[31m\\xff'" in done.err


# ---- replies that contain numbers of the connection ----


def numbered(make, framing="lines"):
    """A server whose reply is make(number of the connection, number of the message, text)."""
    numbers = iter(range(8, 1 << 60))

    def handle(s):
        connection = next(numbers)
        if framing == "lines":
            for i, line in enumerate(lines_of(s), 1):
                s.sendall(make(connection, i, line[:-1]) + b"\n")
        else:
            i = 0
            while data := s.recv(65536):
                i += 1
                s.sendall(make(connection, i, data))

    return handle


COMMANDS = {"ping": ("ping", "-c", "5", "-i", "0"),
            "ping anew": ("ping", "-c", "5", "-i", "0", "--new-connection"),
            "load": ("load", "-n", "300", "-c", "20", "-p", "3")}

OF_THE_CONNECTION = {
    "prefix": lambda c, i, t: b"%d: %s" % (c, t),
    "suffix": lambda c, i, t: b"%s (%d)" % (t, c),
    "both": lambda c, i, t: b"<%d> %s [%d.%d]" % (c, t, 1000 * c, c),
    "with counters": lambda c, i, t: b"%d/%d %s #%d-%d" % (c, i, t, i, c),
    "address": lambda c, i, t: b"127.0.0.1:%d [fe80::%d]:%d %s" % (40000 + c, 1000 - c, c, t),
    "nothing between it and the text": lambda c, i, t: b"Got %d%s" % (c, t),
    "nothing but it": lambda c, i, t: b"%d%s%d" % (c, t, c),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("reply", OF_THE_CONNECTION)
def test_connection_numbers_in_replies_are_learnt(peer, reply, command):
    done = ackc(*COMMANDS[command], "127.0.0.1", peer(numbered(OF_THE_CONNECTION[reply])).port)
    assert done.status == 0, done


@pytest.mark.parametrize("size", [2, 17, 5000])
def test_connection_numbers_with_sizes_are_learnt(peer, size):
    for reply in "both", "nothing between it and the text":
        server = peer(numbered(OF_THE_CONNECTION[reply]))
        for command in COMMANDS.values():
            done = ackc(*command, "-s", size, "127.0.0.1", server.port)
            assert done.status == 0, done


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("reply", [lambda c, i, t: b"%d> %s" % (c, t),
                                   lambda c, i, t: b"<%d %s>" % (c, t),
                                   lambda c, i, t: b"Got %d%s" % (c, t)],
                         ids=["prefix", "both", "nothing between"])
def test_connection_numbers_in_a_stream_are_learnt(peer, reply, command):
    done = ackc(*COMMANDS[command], "127.0.0.1", peer(numbered(reply, "stream")).port)
    assert done.status == 0, done


def test_connection_numbers_after_a_stream_are_learnt(peer):
    """Adjacent pieces are indistinguishable, so there is one message at a time."""
    server = peer(numbered(lambda c, i, t: b"%s(%d)" % (t, c), "stream"))
    for command in ("ping", "-c", "3", "-i", "0"), ("load", "-n", "50", "-c", "5"):
        done = ackc(*command, "127.0.0.1", server.port)
        assert done.status == 0, done
    done = ackc("load", "-n", "50", "-p", "2", "127.0.0.1", server.port)
    assert "use --depth 1" in done.err
    server = peer(numbered(lambda c, i, t: b"%s%d" % (t, c), "stream"))
    done = ackc("ping", "-c", "1", "127.0.0.1", server.port)
    # The end of a trailing number is ambiguous, so the number is constant.
    assert "at byte 64: expected '8', received '9'" in done.err
    assert done.status == 2


def test_connection_numbers_in_pieces_are_learnt(peer):
    """The reply arrives byte by byte."""
    def handle(s):
        connection = s.getpeername()[1]
        for line in lines_of(s):
            for byte in b"%d%s (%d)\n" % (connection, line[:-1], connection):
                s.sendall(bytes([byte]))

    for command in COMMANDS.values():
        done = ackc(*command, "127.0.0.1", peer(handle).port)
        assert done.status == 0, done


def test_constant_numbers_are_learnt(peer):
    server = peer(numbered(lambda c, i, t: b"v1.2 %s 3" % t))
    for command in COMMANDS.values():
        assert ackc(*command, "127.0.0.1", server.port).status == 0


def changing(make, after):
    """numbered(), but message @after of a connection gets make(connection, text)."""
    right = OF_THE_CONNECTION["both"]
    return lambda c, i, t: make(c, t) if i == after and c > 8 else right(c, i, t)


# name: (reply to one message, words); the right one is "<C> TEXT [1000C.C]"
LIES = {
    "letter": (lambda c, t: b"(%d> %s [%d.%d]" % (c, t, 1000 * c, c), "at byte 0: expected '<"),
    "letter after": (lambda c, t: b"<%d> %s [%d,%d]" % (c, t, 1000 * c, c), "received ',"),
    "no number": (lambda c, t: b"<x> %s [%d.%d]" % (t, 1000 * c, c),
                  "at byte 1: expected '8> ', received 'x> "),
    "number of 21 digits": (lambda c, t: b"<%021d> %s [%d.%d]" % (c, t, 1000 * c, c), "at byte 1: expected "),
    "text": (lambda c, t: b"<%d> %s [%d.%d]" % (c, change(t, 20, 4), 1000 * c, c),
             "bit flipped at byte "),
    "text lacks a byte": (lambda c, t: b"<%d> %s [%d.%d]" % (c, t[:20] + t[21:], 1000 * c, c),
                          "bytes lost at byte "),
    "no suffix": (lambda c, t: b"<%d> %s" % (c, t), r"received '\x0a'"),
    "nak": (lambda c, t: b"NAK 3 no", "NAK 3 no"),
}


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("lie", LIES)
def test_wrong_replies_with_connection_numbers_are_detected(peer, lie, after):
    """Wrong replies are detected: the first of a connection and later ones."""
    make, words = LIES[lie]
    for command in COMMANDS["ping"], ("load", "-n", "30", "-c", "3"):
        done = ackc(*command, "-w", within(5), "127.0.0.1", peer(numbered(changing(make, after))).port)
        assert done.status == 2, done
        # Later replies are compared as a whole, which changes the message.
        assert words in done.err or after > 1, done


@pytest.mark.parametrize("other", [lambda c: c + 1, lambda c: 10 * c, lambda c: c // 10])
def test_changing_connection_number_is_detected(peer, other):
    """The number in the first reply of a connection must not change later."""
    make = changing(lambda c, t: b"<%d> %s [%d.%d]" % (other(c), t, 1000 * c, c), 3)
    for command in COMMANDS["ping"], COMMANDS["load"]:
        done = ackc(*command, "127.0.0.1", peer(numbered(make)).port)
        assert done.status == 2, done


def test_swapped_replies_with_connection_numbers_are_detected(peer):
    def handle(s):
        connection = s.getpeername()[1]
        held = []
        for i, line in enumerate(lines_of(s), 1):
            held.append(b"%d %s" % (connection, line))
            if i < 10 or len(held) == 2:
                s.sendall(b"".join(reversed(held)))
                held.clear()

    done = ackc("load", "-n", "40", "-c", "1", "-p", "4", "-w", within(2), "--json", "127.0.0.1",
                peer(handle).port)
    assert done.status == 2, done
    assert "another message's reply" in {e["kind"] for e in json.loads(done.out)["errors"]}


def test_letters_that_differ_per_connection_are_rejected(peer):
    server = peer(numbered(lambda c, i, t: b"%c1 %s" % (97 + c, t)))
    done = ackc("ping", "-c", "1", "127.0.0.1", server.port)
    assert done.status == 2
    assert "difference at byte 0: expected 'i1 ', received 'j1 " in done.err


def test_given_prefix_replaces_learning(peer):
    server = peer(numbered(OF_THE_CONNECTION["prefix"]))
    done = ackc("ping", "-c", "2", "-i", "0", "--prefix", "8: ", "127.0.0.1", server.port)
    assert done.status == 2, done
