#!/usr/bin/python3
"""Compares the text engine with CPython's codecs, which compute the expected values.

Usage: text_oracle.py TEXT_DRIVER

TEXT_DRIVER answers questions with results of the engine (see text_driver.c, which also cuts every short
input at every two places, and uses each kernel). If ACKD_UTF8_SUITES names a directory of cases as JSON
lines, each row is tested, too. ACKD_TEST_SAMPLE=N asks one question in N.

With surrogateescape, the expected encode handler is surrogateescape for the characters that the decode
handler made, and the configured one for all others.
"""

import glob
import itertools
import json
import os
import random
import shlex
import subprocess
import sys
import unittest

import escaping
import sample

# For a driver of another architecture, meson names the emulator.
DRIVER = shlex.split(os.environ.get("MESON_EXE_WRAPPER", "")) + sys.argv[1:]
DECODE = ["replace", "ignore", "backslashreplace", "surrogateescape"]
CHARSETS = {"utf-8": "utf-8", "ascii": "ascii", "iso-8859-1": "iso-8859-1", "windows-1252": "cp1252"}
SINGLE_BYTE = [charset for charset in CHARSETS if charset != "utf-8"]
ENCODE = ["replace", "ignore", "xmlcharrefreplace", "backslashreplace"]
REASONS = {"invalid start byte": "start", "invalid continuation byte": "continuation",
           "unexpected end of data": "partial", "ordinal not in range(128)": "start",
           "character maps to <undefined>": "start"}

# One byte either side of every boundary of table 3-7 of the Unicode Standard.
EDGES = bytes.fromhex("007f808f909fa0bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5ff")

# The parts of random texts: characters of every width and charset, and every kind of fault.
PIECES = [b"a", b"\n", b"plain text ", b"\x00", b"\x7f", "é".encode(), "ÿ".encode(), "\x80".encode(),
          "€".encode(), "“”".encode(), "Ж".encode(), "漢字".encode(), "ﬀ".encode(), "\ufffd".encode(),
          "\ufeff".encode(), "😀".encode(), "\U0010ffff".encode(), b"\x80", b"\xbf", b"\xc0\xaf",
          b"\xc3", b"\xe2\x82", b"\xe0\x9f", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf0\x8f",
          b"\xf4\x90", b"\xf5\x80", b"\xff", b"\xfe"]


def ask(questions):
    """Returns the driver's answers, one for each question."""
    result = subprocess.run(DRIVER, input="\n".join(questions) + "\n", stdout=subprocess.PIPE,
                            text=True, check=True)
    return result.stdout.splitlines()


def hexed(raw):
    return raw.hex() or "-"


def expected_check(raw, charset="utf-8"):
    try:
        raw.decode(CHARSETS[charset])
    except UnicodeDecodeError as error:
        return f"{REASONS[error.reason]} {error.start} {error.end - error.start}"
    return f"complete {len(raw)} 0"


def expected_transcode(raw, source, decode, charset, encode):
    """Returns the answer, or None if a strict handler makes an error."""
    if source == "binary":
        return f"{raw.hex()} {len(raw)}"
    handler = escaping.encode_handler(decode, encode)
    try:
        text = raw.decode(CHARSETS[source], decode)
        return f"{text.encode(CHARSETS[charset], handler).hex()} {len(text)}"
    except UnicodeError:
        return None


def expected_encodable(text, source, charset):
    try:
        text.encode(CHARSETS[charset])
    except UnicodeEncodeError as error:
        text = text[:error.start]
    return str(len(text.encode(CHARSETS[source])))


def random_raw(generator, length):
    pieces = generator.choices(PIECES, k=length)
    if generator.random() < 0.3:
        pieces.insert(generator.randrange(length), b"0123456789abcdef" * generator.randrange(1, 20))
    return b"".join(pieces)


class Oracle(unittest.TestCase):
    def compare(self, cases):
        """@cases: pairs of a question and its answer. Returns how many there were."""
        if not cases:
            return 0  # not in the sample
        questions, expected = zip(*cases)
        answers = ask(questions)
        self.assertEqual(len(answers), len(expected))
        for question, answer, wanted in zip(questions, answers, expected):
            if answer != wanted:
                self.fail(f"{question[:2000]}\n  is {answer[:2000]}\n  not {wanted[:2000]}")
        return len(questions)

    def check(self, raws, charset="utf-8"):
        return self.compare([(f"check {charset} {hexed(raw)}", expected_check(raw, charset))
                             for raw in sample.sampled(raws)])

    def transcode(self, raws, decode=DECODE, charsets=CHARSETS, encode=ENCODE, sources=("utf-8",)):
        """Asks each combination that has a result."""
        return self.compare([
            (f"transcode {s} {d} {c} {e} {hexed(raw)}", wanted)
            for raw, s, d, c, e in sample.sampled(
                (raw, s, d, c, e) for raw in raws for s in sources for d in decode for c in charsets
                for e in (encode if c != "utf-8" else encode[:1]))
            if (wanted := expected_transcode(raw, s, d, c, e)) is not None])

    def test_every_string_of_one_and_two_bytes(self):
        self.check([bytes(pair) for n in range(3) for pair in itertools.product(range(256), repeat=n)])

    def test_every_string_of_three_bytes(self):
        # A letter follows each, so that the next one is separate.
        raw = bytearray(b"...a" * 0x10000)
        raw[1::4] = bytes(i >> 8 for i in range(0x10000))
        raw[2::4] = bytes(i & 0xff for i in range(0x10000))
        for first in sample.sampled(range(256)):
            raw[0::4] = bytes([first]) * 0x10000
            self.transcode([raw], ["replace"], ["utf-8"], ["replace"])

    def test_boundary_strings(self):
        self.check([bytes(s) for s in itertools.product(EDGES, repeat=3)])
        self.check([bytes(s) for s in itertools.product(range(0xf0, 0x100), EDGES, EDGES, EDGES)])

    def test_boundary_strings_with_every_handler(self):
        pairs = [bytes(pair) for pair in itertools.product(EDGES, repeat=2)]
        self.transcode(pairs + [pair + b"\x80\x80z" for pair in pairs])

    def test_every_code_point(self):
        for start in range(0, 0x110000, 0x800):
            text = "".join(map(chr, range(start, start + 0x800)))
            raw = text.encode("utf-8", "surrogatepass")
            self.transcode([raw], ["replace"])

    def test_random_texts(self):
        generator = random.Random(20261123)
        self.transcode([random_raw(generator, n) for n in range(1, 60)])
        self.transcode([random_raw(generator, n) for n in range(100, 2000, 170)])
        self.check([random_raw(generator, generator.randrange(1, 12)) for _ in range(5000)])

    def test_every_combination(self):
        """Every byte, alone and between others, under every combination of charsets and handlers."""
        every = bytes(range(256))
        raws = [bytes([byte]) for byte in every] + [b"ab" + bytes([byte]) + b"z" for byte in every[128:]]
        raws += [every, every[::-1], every[128:] * 40, b"plain text " * 30 + every + b"z" * 33]
        count = self.transcode(raws, ["strict"] + DECODE, CHARSETS, ["strict"] + ENCODE, CHARSETS)
        count += self.transcode(raws, ["strict"], ["binary"], ["strict"], ["binary"])
        print(f"{count} cases of every combination", file=sys.stderr)

    def test_single_byte_charsets(self):
        pairs = [bytes(pair) for pair in itertools.product(range(256), repeat=2)]
        for charset in SINGLE_BYTE:
            self.check(pairs[::7] + [b"x" * 40 + pair for pair in pairs[::11]], charset)

    def test_random_single_byte_texts(self):
        generator = random.Random(20261129)
        raws = [random_raw(generator, n) for n in range(1, 40)]
        raws += [random_raw(generator, n) for n in (100, 1000)]
        self.transcode(raws, sources=SINGLE_BYTE)

    def test_encodable(self):
        generator = random.Random(7)
        texts = [random_raw(generator, n).decode("utf-8", "ignore") for n in range(1, 200)]
        texts += [chr(c) for c in range(0x2200)]
        self.compare([(f"encodable utf-8 {charset} {hexed(text.encode())}",
                       expected_encodable(text, "utf-8", charset))
                      for text, charset in sample.sampled(itertools.product(texts, CHARSETS))])
        for source in SINGLE_BYTE:
            raws = [bytes(range(256)), bytes(range(255, -1, -1)), b"a" * 50 + bytes(range(128, 256))]
            raws += [bytes([byte]) for byte in range(256)]
            texts = [raw.decode(CHARSETS[source], "ignore") for raw in raws]
            self.compare([(f"encodable {source} {charset} {hexed(text.encode(CHARSETS[source]))}",
                           expected_encodable(text, source, charset))
                          for text, charset in itertools.product(texts, CHARSETS)])


def decode_questions(row, raw):
    yield "check utf-8 " + hexed(raw), expected_row_check(row, raw)
    yield f"transcode utf-8 surrogateescape utf-8 strict {hexed(raw)}", \
        f"{raw.hex()} {len(raw.decode('utf-8', 'surrogateescape'))}"
    for handler in DECODE:
        wanted = row.get(handler + "_utf8_hex")
        if wanted is not None:
            yield (f"transcode utf-8 {handler} utf-8 replace {hexed(raw)}",
                   f"{wanted} {len(bytes.fromhex(wanted).decode())}")


def encode_questions(row, raw):
    charset = {"cp1252": "windows-1252"}.get(row["charset"], row["charset"])
    if row["policy"] == "strict":
        good = len(raw.decode()[:row["error"][0]].encode()) if "error" in row else len(raw)
        yield f"encodable utf-8 {charset} {hexed(raw)}", str(good)
    elif row["policy"] in ENCODE:
        yield (f"transcode utf-8 replace {charset} {row['policy']} {hexed(raw)}",
               f"{row['out_hex']} {len(raw.decode())}")


def suite_questions(path):
    """Yields the (question, answer) pairs of each row of a file of cases, and none for a handler that
    the engine lacks."""
    with open(path, encoding="utf-8") as file:
        for row in map(json.loads, file):
            raw = bytes.fromhex(row["hex"])
            yield list((encode_questions if "charset" in row else decode_questions)(row, raw))


def expected_row_check(row, raw):
    if row["valid"]:
        return f"complete {len(raw)} 0"
    start, end, reason = row["err"]
    return f"{REASONS[reason]} {start} {end - start}"


class Suites(unittest.TestCase):
    def test_every_row(self):
        directory = os.environ.get("ACKD_UTF8_SUITES")
        if not directory:
            self.skipTest("ACKD_UTF8_SUITES is not set")
        paths = sorted(glob.glob(os.path.join(directory, "**", "*.jsonl"), recursive=True))
        self.assertTrue(paths, "no cases in ACKD_UTF8_SUITES")
        asked = [sample.sampled(suite_questions(path)) for path in paths]
        rows = sum(len(suite) for suite in asked)
        count = Oracle.compare(self, [case for suite in asked for row in suite for case in row])
        print(f"{rows} rows of {len(paths)} suites, {count} questions", file=sys.stderr)


if __name__ == "__main__":
    if sample.note():
        print(sample.note(), file=sys.stderr)
    unittest.main(argv=sys.argv[:1], verbosity=2)
