#!/usr/bin/env python3
"""Compares sessions with a model of the contract that uses CPython's codecs.

Usage: session_vs_cpython.py DRIVER [SEED]

Writes cases for the driver (session_driver.c): every charset, decode handler, reply charset, encode
handler, framing and reply, with fixed and random inputs. The driver cuts them into reads and compares
the output. If ACKD_UTF8_SUITES names a directory of decode suites (*.jsonl) and encode suites
(encode/*.jsonl), every row runs as well and is compared with the result in the suite.
ACKD_TEST_SAMPLE=N selects one case in N.
"""

import codecs
import itertools
import json
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
from typing import NamedTuple, Optional

import escaping
import sample

NEVER = float("inf")
IS_WHOLE = "ACKD_TEST_ALL" in os.environ  # otherwise, some combinations get a share of the inputs


class Frame(NamedTuple):
    """The parameters of delimited, length and fixed framing."""
    start: bytes = b""
    end: bytes = b""
    length_bytes: int = 0
    order: str = "big"
    includes_header: bool = False
    size: int = 0
    bare: bool = False

    def words(self):
        return (f"{hexed(self.start)} {hexed(self.end)} {self.length_bytes} {self.order} "
                f"{str(self.includes_header).lower()} {self.size} {str(self.bare).lower()}")

    def header(self, n):
        n += self.length_bytes if self.includes_header else 0
        return n.to_bytes(self.length_bytes, self.order)

    def reply_max(self):
        most = 256 ** self.length_bytes - 1
        return most - (self.length_bytes if self.includes_header else 0)


class Policy(NamedTuple):
    reply: str = "echo"
    framing: str = "stream"
    source: str = "utf-8"
    decode: str = "strict"
    charset: str = "utf-8"
    encode: str = "strict"
    nak: bool = True
    max_message: int = 65536
    greeting: str = ""
    prefix: str = ""
    suffix: str = ""
    frame: Frame = Frame()
    text: str = ""
    nak_text: Optional[str] = None
    quit: Optional[bytes] = None

    def encodes(self):
        """Returns whether the reply contains text of the message."""
        return self.reply in ("echo", "ack") or (self.reply == "text" and "${field" in self.text)

    def line(self):
        nak_text = "unset" if self.nak_text is None else hexed(self.nak_text.encode())
        quit_bytes = "unset" if self.quit is None else hexed(self.quit)
        templates = " ".join(hexed(t.encode()) for t in (self.greeting, self.prefix, self.suffix))
        return (f"policy {self.reply} {self.framing} {self.source} {self.decode} {self.charset} "
                f"{self.encode} {str(self.nak).lower()} {self.max_message} {templates} "
                f"{self.frame.words()} {hexed(self.text.encode())} {nak_text} {quit_bytes}\n")


class Unit(NamedTuple):
    """A character or an ill-formed subsequence: data[start:end]."""
    start: int
    end: int
    proof: float  # index of the byte that determines it; NEVER: only the end of input does
    text: str     # result of the decode handler
    reason: str   # error of a strict decoder; "" for a character


class Fault(NamedTuple):
    offset: int
    proof: float
    reason: str


def hexed(data):
    return data.hex() or "-"


# ---- the model ----

errors_seen = []


def note_error(error):
    errors_seen.append((error.start, error.end, error.reason))
    return "", error.end


codecs.register_error("ackd-note", note_error)


# Bytes are not text; here, each stands for the character of the same number.
CODECS = {"binary": "iso-8859-1"}


def decoded(data, policy):
    return data.decode(CODECS.get(policy.source, policy.source), policy.decode)


def encoded(text, policy):
    return text.encode(CODECS.get(policy.charset, policy.charset),
                       escaping.encode_handler(policy.decode, policy.encode))


def reason_of(reason):
    single_byte = ("ordinal not in range(128)", "character maps to <undefined>")
    return "byte not in charset" if reason in single_byte else reason


def units_of(data, policy):
    """Cuts data into units; CPython determines which are ill-formed and why."""
    errors_seen.clear()
    codec = CODECS.get(policy.source, policy.source)
    data.decode(codec, "ackd-note")
    units = []
    at = 0
    for start, end, reason in [*errors_seen, (len(data), len(data), "")]:
        for character in data[at:start].decode(codec):
            n = len(character.encode(codec))
            units.append(Unit(at, at + n, at + n - 1, character, ""))
            at += n
        if reason:
            proof = {"invalid continuation byte": end, "unexpected end of data": NEVER}.get(reason, start)
            text = "" if policy.decode == "strict" else decoded(data[start:end], policy)
            units.append(Unit(start, end, proof, text, reason_of(reason)))
        at = end
    return units


def is_character(data):
    try:
        return len(data.decode("utf-8")) == 1
    except UnicodeDecodeError:
        return False


def fault_of(unit, policy):
    """Returns the fault of a unit under strict handlers, or None."""
    if unit.reason and policy.decode == "strict":
        return Fault(unit.start, unit.proof, unit.reason)
    if not policy.encodes():
        return None
    try:
        encoded(unit.text, policy)
    except UnicodeEncodeError as error:
        code_point = ord(error.object[error.start])
        return Fault(unit.start, unit.proof, f"cannot encode U+{code_point:04X}")
    return None


def field_of(text, separator, number, policy):
    """Returns a field of the text, encoded: at most 256 bytes of it, cut between characters."""
    fields = text.split(separator)
    field = b""
    for character in fields[number - 1] if number <= len(fields) else "":
        more = encoded(character, policy)
        if len(field) + len(more) > 256:
            break
        field += more
    return field


class Reply:
    """The replies on one connection."""

    def __init__(self, policy):
        self.policy = policy
        self.faults = b""
        self.messages = 0
        self.out = self.expand(policy.greeting)
        self.skipped = 0
        self.ill_formed = 0
        self.has_quit = False

    def expand(self, template, n_bytes=0, text="", fault=None):
        values = {"peer": "peer", "host": "host", "listener": "listener", "connection": 1,
                  "local": "local", "message": self.messages, "bytes": n_bytes,
                  "characters": len(text)}
        if fault:
            values.update(offset=fault.offset, reason=fault.reason)
        charset = "utf-8" if self.policy.charset == "binary" else self.policy.charset
        out = b""
        at = 0
        for found in re.finditer(r"\$\{(?:field:(.):(\d+)|(\w+))\}", template, re.DOTALL):
            out += template[at:found.start()].encode(charset)
            at = found.end()
            if found[1]:
                out += field_of(text, found[1], int(found[2]), self.policy)
            else:
                out += str(values[found[3]]).encode(charset)
        return out + template[at:].encode(charset)

    def message(self, raw, text, terminator=b"", offset=0):
        policy = self.policy
        self.messages += 1
        self.has_quit = raw == policy.quit
        if policy.reply == "discard":
            return
        if policy.reply == "text":
            body = self.expand(policy.text, len(raw), text)
            terminator = b""
        else:
            body = encoded(text, policy)
        if policy.reply == "ack":
            body = (self.expand(policy.prefix, len(raw), text) + body +
                    self.expand(policy.suffix, len(raw), text))
        if policy.framing == "length" and len(body) > policy.frame.reply_max():
            self.nak(Fault(offset, NEVER, "reply too long"))
            return
        self.out += self.framed(body) + terminator

    def framed(self, body):
        if self.policy.frame.bare:
            return body
        if self.policy.framing == "delimited":
            return self.policy.frame.start + body + self.policy.frame.end
        if self.policy.framing == "length":
            return self.policy.frame.header(len(body)) + body
        return body

    def refused(self, fault):
        """A message is answered with a NAK."""
        self.messages += 1
        self.nak(fault)

    def nak(self, fault):
        line = f"NAK {fault.offset} {fault.reason}\n".encode()
        self.faults += line
        is_framed = self.policy.framing in ("delimited", "length") and not self.policy.frame.bare
        if self.policy.nak and self.policy.nak_text is not None:
            self.out += self.framed(self.expand(self.policy.nak_text, fault=fault))
        elif self.policy.nak and is_framed:
            self.out += self.framed(line[:-1])
        elif self.policy.nak:
            if self.out and not self.out.endswith(b"\n"):
                self.out += b"\n"
            self.out += line


def model_stream(data, policy, cuts):
    """A message is the text completed by one read."""
    reply = Reply(policy)
    units = units_of(data, policy)
    ends = [*cuts, len(data), NEVER]
    at = 0
    for end in ends:
        taken = []
        fault = None
        while at < len(units) and not fault and (units[at].proof < end or end == NEVER):
            fault = fault_of(units[at], policy)
            if not fault:
                taken.append(units[at])
                reply.ill_formed += units[at].reason != ""
            at += 1
        text = "".join(unit.text for unit in taken)
        if text:
            reply.message(data[taken[0].start:taken[-1].end], text)
        if fault:
            reply.nak(fault)
        if fault or reply.has_quit:
            break
    return reply


def line_fault(data, start, end, terminator, policy):
    """Returns the fault of the line data[start:end] before the terminator, or None, and the proofs of
    the ill-formed units before it."""
    ill_formed = []
    for unit in units_of(data[start:end] + terminator, policy):
        fault = fault_of(unit, policy)
        if fault:
            return Fault(start + fault.offset, start + fault.proof, fault.reason), ill_formed
        if unit.reason:
            ill_formed.append(start + unit.proof)
    return None, ill_formed


def model_line(data, policy):
    reply = Reply(policy)
    start = 0
    while start < len(data):
        lf = data.find(b"\n", start)
        end = lf if lf >= 0 else len(data)
        terminator = b"\n" if lf >= 0 else b""
        if terminator and end > start and data[end - 1] == 0x0d:
            end -= 1
            terminator = b"\r\n"
        fault, ill_formed = line_fault(data, start, end, terminator, policy)
        excess = start + policy.max_message
        if end - start > policy.max_message:
            proof = excess + 1 if data[excess] == 0x0d else excess
            if not fault or proof < fault.proof or (proof == fault.proof and
                                                    excess < fault.offset):
                reply.messages += 1
                reply.ill_formed += sum(1 for proof in ill_formed if proof <= excess)
                reply.nak(Fault(start, proof, "line too long"))
                break
        reply.ill_formed += len(ill_formed)
        if fault:
            reply.messages += 1
            reply.nak(fault)
        else:
            reply.message(data[start:end], decoded(data[start:end], policy), terminator)
        if reply.has_quit:
            break
        start = lf + 1 if lf >= 0 else len(data)
    return reply


def frame_fault(data, start, end, is_whole, policy, reply):
    """Returns the first fault of the text data[start:end], of which more follows unless is_whole.
    Counts the ill-formed units before it."""
    for unit in units_of(data[start:end], policy):
        fault = fault_of(unit, policy)
        is_proven = is_whole or unit.proof < end - start
        if fault and is_proven:
            return fault._replace(offset=start + fault.offset)
        reply.ill_formed += unit.reason != "" and not fault and is_proven
    return None


def partial_mark(data, mark):
    """Returns how many bytes at the end of data may begin the mark."""
    return next(n for n in range(min(len(mark) - 1, len(data)), -1, -1)
                if data.endswith(mark[:n]))


def next_delimited(data, at, policy, reply):
    """Returns the offsets of the frame, its text, the end of its text, and the end of the frame, or None.

    The last one is None for an unfinished frame. Then the text ends before what may begin the end.
    """
    start, end = policy.frame.start, policy.frame.end
    frame = data.find(start, at)
    reply.skipped += (frame if frame >= 0 else len(data)) - at
    if frame < 0 or frame == len(data):
        return None
    text = frame + len(start)
    stop = data.find(end, text)
    if stop >= 0:
        return frame, text, stop, stop + len(end)
    return frame, text, len(data) - partial_mark(data[text:], end), None


def next_counted(data, at, policy):
    """The same for length and fixed framing. The text is None if the header is incomplete."""
    n = policy.frame.size
    text = at + policy.frame.length_bytes
    if at == len(data):
        return None
    if text > len(data):
        return at, None, None, None
    if policy.framing == "length":
        n = int.from_bytes(data[at:text], policy.frame.order)
        n -= policy.frame.length_bytes if policy.frame.includes_header else 0
    return at, text, text + n, text + n if text + n <= len(data) else None


def model_framed(data, policy):
    reply = Reply(policy)
    most = policy.max_message
    at = 0
    while True:
        found = next_delimited(data, at, policy, reply) if policy.framing == "delimited" else \
            next_counted(data, at, policy)
        if not found:
            return reply
        frame, text, stop, at = found
        n = stop - text if text is not None else 0
        fault = None
        if n < 0:
            reply.refused(Fault(frame, NEVER, "invalid frame length"))
            return reply
        if n <= most and text is not None:
            fault = frame_fault(data, text, min(stop, len(data)), at is not None, policy,
                                reply)
        elif n > most:
            if policy.framing == "delimited":
                fault = frame_fault(data, text, text + most, False, policy, reply)
            if not fault:
                reply.refused(Fault(frame, NEVER, "frame too long"))
                return reply
        if not fault and at is None:
            fault = Fault(frame, NEVER, "unexpected end of frame")
        if fault:
            reply.refused(fault)
        else:
            reply.message(data[text:stop], decoded(data[text:stop], policy), offset=frame)
        if at is None or reply.has_quit:
            return reply


# ---- the cases ----

class Cases:
    def __init__(self):
        self.n = 0
        self.lines = []
        self.policy = None

    def add(self, policy, reads, data, out, faults, messages, skipped=0, ill_formed=-1):
        """Adds one case, independent of the sample."""
        if policy != self.policy:
            self.lines.append(policy.line())
            self.policy = policy
        reads = ",".join(map(str, reads)) or "-" if reads != "all" else reads
        self.n += 1
        self.lines.append(f"case {reads} {hexed(data)} {hexed(out)} {hexed(faults)} "
                          f"{messages} {skipped} {ill_formed}\n")

    def add_model(self, policy, data, rng):
        if not sample.is_taken():
            return
        if policy.frame != Frame():
            reply = model_framed(data, policy)
            self.add(policy, "all", data, reply.out, reply.faults, reply.messages, reply.skipped,
                     reply.ill_formed)
        elif policy.framing == "line":
            reply = model_line(data, policy)
            self.add(policy, "all", data, reply.out, reply.faults, reply.messages,
                     ill_formed=reply.ill_formed)
        elif policy.reply in ("echo", "discard") and policy.quit is None:
            reply = model_stream(data, policy, [])
            self.add(policy, "all", data, reply.out, reply.faults, -1, ill_formed=reply.ill_formed)
        else:
            for cuts in some_cuts(len(data), rng):
                reply = model_stream(data, policy, cuts)
                self.add(policy, cuts, data, reply.out, reply.faults, reply.messages,
                         ill_formed=reply.ill_formed)


def some_cuts(n, rng):
    """Returns cuts: whole, byte by byte, in two at a few places, in several pieces."""
    yield []
    if n > 1:
        yield list(range(1, n))
        for _ in range(4):
            yield [rng.randrange(1, n)]
        for _ in range(2):
            yield sorted(rng.sample(range(1, n), rng.randrange(1, n)))


CHARSETS = ("utf-8", "ascii", "iso-8859-1", "cp1252")
DECODE = ("strict", "replace", "ignore", "backslashreplace", "surrogateescape")
ENCODE = ("strict", "replace", "ignore", "xmlcharrefreplace", "backslashreplace")


def every_policy(framing, reply):
    """Yields every combination of charset, errors, reply_charset and reply_errors."""
    for source, decode, charset in itertools.product(CHARSETS, DECODE, CHARSETS):
        for encode in ENCODE if charset != "utf-8" else ENCODE[:1]:
            yield Policy(reply, framing, source, decode, charset, encode)
    yield Policy(reply, framing, "binary", charset="binary")


FIXED = [bytes.fromhex(h) if isinstance(h, str) else h for h in (
    b"", b"a", b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\n", b"a\r", b"a\rb\r\nc", b"\r\n\r\n",
    b"hello\nworld\r\nthe end", b"\x00\n\x7f",
    "c3a9", "c3a90a", "c3a90d0a", "e282ac", "f09f9880", "efbbbf61", "efbfbe", "f48fbfbf",
    "e2820a", "e2820d0a", "e282", "f09f98", "c30a", "f0900a62",
    "ff", "ff0a", "fe610a620a", "80", "bf80", "c080", "c1bf0a", "e08080", "e09f80", "f08080800a",
    "eda080", "edbfbf0a61", "ed9fbf", "ee8080", "f4908080", "f5808080", "f880808080",
    "61e2f09f98ff62", "e2e2e282ac", "f0f09ff09f98f09f9880", "c3c3a9", "e2c3a9", "f09f98c3",
    "c280", "c281c28dc28fc290c29d", "c2a0c3bf", "c592e282ace284a2c5b8", "d0800a61",
    "61c3a90aff0a62e282ac0a63ff", "61e282ac0aff", "ff61e282ac", "e282acff",
)]

# For single-byte charsets: each kind of byte alone, before and after others, and at a line's end.
BYTES = [bytes.fromhex(h) for h in (
    "", "61", "80", "81", "c3a9", "e90a", "810a", "610d0a9d", "a0ff8d", "61e962814a0a63", "0ae90d0ae9",
    "9f8f0a90", "e28281e282ac0aff", "0080ff0d", "41420a",
)] + [bytes(range(256)), bytes(range(0x7e, 0x100)) + b"\n"]

PIECES = [p if isinstance(p, bytes) else bytes.fromhex(p) for p in (
    b"a", b"b c", b"hello", b"0123456789", b"\n", b"\r\n", b"\r", b"\n", b"\x00", b"\t", b"$",
    "c3a9", "c2a0", "c3bf", "d09f", "dfbf", "e282ac", "e0a080", "ed9fbf", "efbfbd", "f09f9880",
    "f48fbfbf", "c593", "c281", "ff", "80", "c3", "e2", "e282", "f0", "f09f", "f09f98", "eda0",
    "ed", "c0af", "f490", "e09f", "f08f",
)]

CLEAN = [p for p in PIECES if is_character(p) or p.isascii()]


def random_input(rng, most):
    """Returns mostly valid lines with some faults, or many faults."""
    weight = rng.choice((0.02, 0.1, 0.5))
    return b"".join(rng.choice(PIECES if rng.random() < weight else CLEAN)
                    for _ in range(rng.randrange(1, most)))


def add_matrix(cases, rng):
    """Adds cases of every combination. UTF-8 gets all inputs. The others, which have fewer
    kinds of units, get a share each."""
    combinations = set()
    n_before = cases.n
    for framing, reply in itertools.product(("stream", "line"), ("echo", "ack", "discard")):
        for policy in every_policy(framing, reply):
            combinations.add((policy.source, policy.decode, policy.charset, policy.encode))
            inputs = FIXED + [random_input(rng, 14) for _ in range(12)] + [random_input(rng, 70)]
            if policy.source != "utf-8" or policy.decode == "surrogateescape":
                some = BYTES if IS_WHOLE else rng.sample(BYTES, 6)
                inputs = some + (inputs if IS_WHOLE else rng.sample(inputs, 12))
            for data in inputs:
                cases.add_model(varied(policy, rng), data, rng)
    print(f"{len(combinations)} combinations of charset, errors, reply_charset and reply_errors: "
          f"{cases.n - n_before} cases, those with \"all\" reads cut at every place")


def varied(policy, rng):
    """Returns the same handlers with other settings."""
    changes = {"nak": rng.random() < 0.9}
    if policy.framing == "line":
        changes["max_message"] = rng.choice((1, 2, 3, 4, 5, 7, 10, 20, 65536, 65536, 65536))
    if rng.random() < 0.2:
        changes["greeting"] = rng.choice(("hi\n", "hi ", "${listener} ${peer} ${host}\n"))
    if policy.reply == "ack":
        changes["prefix"] = rng.choice(("Got ", "", "${message} ${bytes} ", "${characters}:"))
        changes["suffix"] = rng.choice(("", "", "!", " ${message}/${characters}", "\n"))
    return policy._replace(**changes)


def add_max_line(cases, rng):
    """Adds lines of each length around each limit, with each terminator and several last bytes."""
    ends = (b"", b"\n", b"\r\n", b"\r", b"\r\r\n", b"\rx\n", b"\nx")
    for limit, extra in itertools.product((1, 2, 5), range(-1, 5)):
        for tail in (b"", b"\xc3\xa9", b"\xe2\x82\xac", b"\xff", b"\xe2\x82", b"\r\xff"):
            body = b"x" * max(0, limit + extra - len(tail)) + tail
            for end in ends:
                for decode, charset in (("strict", "utf-8"), ("replace", "ascii")):
                    policy = Policy("echo", "line", "utf-8", decode, charset, max_message=limit)
                    cases.add_model(policy, b"a\n" + body + end, rng)


FRAMES = [
    ("delimited", Frame(b"\x0b", b"\x1c\r")),        # MLLP
    ("delimited", Frame(b"\x02", b"\x03")),
    ("delimited", Frame(end=b"\r")),
    ("delimited", Frame(b"<", b">", bare=True)),
    ("delimited", Frame(end=b"aab")),                 # a prefix of itself
    ("delimited", Frame(b"abab", b"\xa9")),           # each may be a part of a character
    ("delimited", Frame(b"\xc3", b"\x82\xac")),
    ("delimited", Frame(b"aa", b"aaaaaaaa")),
    ("length", Frame(length_bytes=1)),
    ("length", Frame(length_bytes=2, order="little")),
    ("length", Frame(length_bytes=4)),
    ("length", Frame(length_bytes=2, includes_header=True)),
    ("length", Frame(length_bytes=1, includes_header=True)),
    ("length", Frame(length_bytes=4, order="little", includes_header=True)),
    ("fixed", Frame(size=1)),
    ("fixed", Frame(size=3)),
    ("fixed", Frame(size=8)),
]


def framed_input(framing, frame, rng):
    """Returns mostly whole frames, some of which are cut off, wrong or contain a fault."""
    data = b""
    for _ in range(rng.randrange(1, 6)):
        text = random_input(rng, 5)
        data += rng.choice((b"", b"", b"\r\n", b"junk", frame.start[:2], b"\x00"))
        if framing == "delimited":
            tail = rng.choice((b"",) * 4 + (frame.end[:-1], frame.end[:1] + b"x", frame.end[:2] * 3))
            data += frame.start + text + tail + frame.end
        elif framing == "length":
            header = bytearray(frame.header(min(len(text), frame.reply_max())))
            if rng.random() < 0.1:
                header[rng.randrange(len(header))] = rng.choice((0, 1, 2, 3, 255))
            data = data[:len(data) if rng.random() < 0.1 else 0] + bytes(header) + text
        else:
            data += (text * frame.size)[:frame.size]
    return data[:rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data


def add_frames(cases, rng):
    """Adds every framing with every reply, and a share of the charsets and handlers."""
    for (framing, frame), reply in itertools.product(FRAMES, ("echo", "ack", "discard")):
        policies = list(every_policy(framing, reply))
        for policy in policies if IS_WHOLE else rng.sample(policies, 64):
            policy = varied(policy._replace(frame=frame), rng)
            if framing == "fixed":
                policy = policy._replace(max_message=max(policy.max_message, frame.size))
            for _ in range(2):
                cases.add_model(policy, framed_input(framing, frame, rng), rng)


def add_frame_bounds(cases, rng):
    """Adds frames of each length around each limit, with several last bytes."""
    for (framing, frame), limit, extra in itertools.product(FRAMES, (1, 2, 5), range(-1, 3)):
        for tail in (b"", b"\xc3\xa9", b"\xff", b"\xe2\x82", frame.end[:1]):
            body = b"x" * max(0, limit + extra - len(tail)) + tail
            for rest in (b"", b"\r" + frame.end, frame.start, frame.start + b"y" + frame.end):
                head = frame.header(len(body)) if framing == "length" else frame.start
                policy = Policy("echo", framing, max_message=max(limit, frame.size), frame=frame)
                cases.add_model(policy, head + body + frame.end + rest, rng)


def add_reply_bounds(cases, rng):
    """Adds replies of each length around those that a header can state."""
    for n_bytes, includes in ((1, False), (1, True), (2, False), (2, True)):
        frame = Frame(length_bytes=n_bytes, includes_header=includes)
        for reply, prefix, extra in itertools.product(
                ("ack",), ("", "Got ", "${characters} "), range(-2, 3)):
            n = frame.reply_max() - len(prefix.replace("${characters}", "123")) + extra
            for unit, charset in (("x", "utf-8"), ("\u00e9", "iso-8859-1"), ("\u20ac", "ascii")):
                policy = Policy(reply, "length", "utf-8", "replace", charset,
                                "backslashreplace", prefix=prefix, frame=frame)
                size = len(unit.encode(charset, "backslashreplace"))
                text = (unit * (n // size) + "y" * (n % size)).encode()
                if n_bytes == 2 and not sample.is_taken():
                    continue
                if len(text) <= frame.reply_max():
                    data = frame.header(len(text)) + text + frame.header(1) + b"z"
                    model = model_framed(data, policy)
                    for reads in ([], [1, 2, len(data) // 2]):
                        cases.add(policy, reads, data, model.out, model.faults, model.messages)


TEXTS = ("\x06", "", "${message} ${bytes}/${characters} ${local}\n", "${field:,:2}",
         "${field:a:1}|${field:a:2};", "é${field:,:1}", "${field:é:2}${field:€:1}",
         "<${field:\\:2}>", "${field:\ufffd:1}${field:x:2}", "${field:\n:1}")
NAK_TEXTS = (None, None, "\x15", "", "${offset} ${reason} ${message}\n", "no ${peer}")
QUITS = (None, None, b"q", b"\xc3\xa9", b"", b"a,a")
FIELD_PIECES = (b",", b",", b"a", b"x", b"q", b"a,a", b"\\", b"f", "é".encode(), "€".encode(), b"\xff",
                b"\xe2", b"\xef\xbf\xbd", b"\xe9", b"\x81")


def field_input(rng):
    return b"".join(rng.choice(FIELD_PIECES) for _ in range(rng.randrange(0, 7)))


def is_encodable(template, charset):
    try:
        re.sub(r"\$\{.*?\}", "", template).encode("utf-8" if charset == "binary" else charset)
        return True
    except UnicodeEncodeError:
        return False


def add_texts(cases, rng):
    """Adds replies with texts, fields, texts of NAKs and quit messages, in every framing."""
    n_before = cases.n
    framings = [("stream", Frame()), ("line", Frame()), *FRAMES[:3], *FRAMES[8:10], FRAMES[15]]
    for framing, frame in framings:
        policies = [policy for reply in ("text", "ack", "discard")
                    for policy in every_policy(framing, reply)]
        for policy in policies if IS_WHOLE else rng.sample(policies, 90):
            texts = [text for text in TEXTS if is_encodable(text, policy.charset)]
            policy = policy._replace(
                frame=frame, text=rng.choice(texts), suffix=rng.choice(texts), prefix=rng.choice(texts),
                nak_text=rng.choice(NAK_TEXTS), quit=rng.choice(QUITS), nak=rng.random() < 0.9)
            if policy.reply != "text":
                policy = policy._replace(text="")
            inputs = [field_input(rng) for _ in range(rng.randrange(1, 4))]
            for wanted in (policy.quit, b""):
                data = [*inputs, wanted or b"", *inputs]
                cases.add_model(policy, framed_texts(framing, frame, data), rng)
    print(f"texts, fields and quit messages: {cases.n - n_before} cases")


def framed_texts(framing, frame, texts):
    if framing == "delimited":
        return b"\n".join(frame.start + text.replace(frame.end, b"") + frame.end for text in texts)
    if framing == "length":
        return b"".join(frame.header(len(text)) + text for text in texts)
    return (b"\n" if framing == "line" else b"").join(texts)


def add_long(cases, rng):
    """Adds lines and reads that are longer than all buffers."""
    for size in (1023, 1024, 1025, 65535, 65536, 65537, 70000, 200000):
        for unit in (b"x", "\u20ac".encode(), b"ab\n"):
            data = (unit * (size // len(unit) + 1))[:size]
            cuts = sorted(rng.sample(range(1, size), 5))
            for framing in ("line", "stream"):
                for charset in ("utf-8", "ascii"):
                    policy = Policy("echo", framing, "utf-8", "replace", charset,
                                    "xmlcharrefreplace")
                    taken = sample.sampled([[], cuts])
                    if not taken:
                        continue  # the model of a long input takes a tenth of a second
                    model = model_line(data, policy) if framing == "line" else \
                        model_stream(data, policy, [])
                    for reads in taken:
                        cases.add(policy, reads, data, model.out, model.faults, -1)


# ---- the suites ----

def suite_rows(pattern):
    directory = os.environ.get("ACKD_UTF8_SUITES")
    for path in sorted(pathlib.Path(directory).glob(pattern)) if directory else []:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def add_decode_row(cases, row, rng):
    data = bytes.fromhex(row["hex"])
    n = len(data)
    reads = ["all"] if n <= 256 else [sorted(rng.sample(range(1, n), 20)) for _ in range(3)]
    own = sorted({cut for cut in row.get("splits", ()) if 0 < cut < n})
    if own:
        reads.append(own)
    outcomes = [("replace", row["replace_utf8_hex"])]
    for decode in ("ignore", "backslashreplace"):
        key = decode + "_utf8_hex"
        if row["valid"] or key in row:
            outcomes.append((decode, row["hex"] if row["valid"] else row[key]))
    for decode, out in outcomes:
        for r in reads:
            cases.add(Policy(decode=decode), r, data, bytes.fromhex(out), b"", -1)
    out, nak = data, b""
    if not row["valid"]:
        start, _, reason = row["err"]
        nak = f"NAK {start} {reason}\n".encode()
        out = data[:start]
        out += (b"\n" if out and not out.endswith(b"\n") else b"") + nak
    for r in reads:
        cases.add(Policy(), r, data, out, nak, -1)


def add_encode_row(cases, row):
    data = bytes.fromhex(row["hex"])
    policy = Policy(charset=row["charset"], encode=row["policy"])
    if row.get("error"):
        text = data.decode()
        start = row["error"][0]
        before = text[:start].encode(row["charset"])
        nak = f"NAK {len(text[:start].encode())} cannot encode U+{ord(text[start]):04X}\n".encode()
        between = b"\n" if before and not before.endswith(b"\n") else b""
        cases.add(policy, "all", data, before + between + nak, nak, -1)
    else:
        cases.add(policy, "all", data, bytes.fromhex(row["out_hex"]), b"", -1)


def add_suites(cases, rng):
    n_decode = n_encode = n_left_out = 0
    for row in suite_rows("*.jsonl"):
        if sample.is_taken():
            add_decode_row(cases, row, rng)
            n_decode += 1
    for row in suite_rows("encode/*.jsonl"):
        if row["policy"] == "namereplace":
            n_left_out += 1  # supported by CPython, not by the contract
            continue
        if sample.is_taken():
            add_encode_row(cases, row)
            n_encode += 1
    if n_decode or n_encode:
        print(f"suites: {n_decode} decode rows, {n_encode} encode rows "
              f"({n_left_out} more are for namereplace)")
    else:
        print("suites: none (ACKD_UTF8_SUITES is not set)")


def main():
    driver = sys.argv[1]
    seed = sys.argv[2] if len(sys.argv) > 2 else "ackd"
    rng = random.Random(seed)
    cases = Cases()
    add_matrix(cases, rng)
    add_max_line(cases, rng)
    add_frames(cases, rng)
    add_frame_bounds(cases, rng)
    add_reply_bounds(cases, rng)
    add_long(cases, rng)
    add_texts(cases, rng)
    add_suites(cases, rng)
    if sample.note():
        print(sample.note())
    print(f"seed {seed}, CPython {sys.version.split()[0]}", flush=True)
    if os.environ.get("ACKD_KEEP_CASES"):
        pathlib.Path(os.environ["ACKD_KEEP_CASES"]).write_text("".join(cases.lines))
    # an emulator for a cross build
    command = [*shlex.split(os.environ.get("MESON_EXE_WRAPPER", "")), driver]
    done = subprocess.run(command, input="".join(cases.lines), text=True, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
