"""Every decode handler, reply charset and encode handler over sockets, compared with CPython."""

import itertools
import json
import os
import pathlib
import random
import socket
import subprocess

import pytest

from harness import build_directory, read_exactly, read_to_end
from oracle import CHARSETS, DECODE_ERRORS, ENCODE_ERRORS, Text, line_replies, stream_echo

COMBINATIONS = list(itertools.product(DECODE_ERRORS, CHARSETS, ENCODE_ERRORS))

WELL_FORMED = [
    "",
    "plain ASCII",
    "\0\x01\x7f",
    "\ufeffwith a byte order mark",
    "café naïve ÿ ¡",
    "“quotes” – dash… €uro ™ Š ž Ÿ",
    "\x80\x81\x8d\x8f\x90\x9d\x9f\xa0",
    "Привет",
    "漢字かな",
    "👋🏽👨‍👩‍👧‍👦",
    "\ufdd0\ufffe\uffff\U0001fffe\U0010ffff",
    "\u07ff\u0800\ud7ff\ue000\U00010000",
    "a\u0430b\u0431c",
    "x" * 5000 + "я" * 5000 + "😀" * 3000,
]

ILL_FORMED = [
    b"\x80",
    b"\xff",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xed\xa0\x80",
    b"\xed\xa0",
    b"\xe0\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xe2\x28\xa1",
    b"ok \xe2\x82 then \xff and \xf0\x9f\x98\x80 end",
    b"line\nend\xf1\x80\x80\xe1\x80\xc2",
    "кириллица ".encode() + b"\xd0" + "дальше".encode(),
    "café ".encode() + b"\xe9" + " “x”".encode(),
    b"x" * 3000 + b"\xe2\x82" + b"y" * 3000,
    b"\xff" * 700,
]

CASES = [text.encode() for text in WELL_FORMED] + ILL_FORMED


def listener_name(*combination):
    return ".".join(combination)


def config_of_all(**settings):
    """Returns a configuration with a UNIX socket for every combination."""
    more = " ".join(f"{k} = {json.dumps(v)};" for k, v in settings.items())
    listeners = ",\n".join(
        f'{{ name = "{listener_name(e, c, r)}"; path = "{listener_name(e, c, r)}"; encoding = {{'
        f' errors = "{e}"; reply_charset = "{c}"; reply_errors = "{r}"; }}; }}'
        for e, c, r in COMBINATIONS
    )
    return f"workers = 1; {more}\nlisteners = (\n{listeners}\n);\n"


class Listeners:
    """Connects to listeners by name without searching the log each time."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.paths = {}

    def socket(self, name):
        if name not in self.paths:
            self.paths[name] = f"{self.daemon.directory}/{name}"
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(self.paths[name])
        return s

    def ask_all(self, questions):
        """Returns the answers to (listener, data) pairs, each on a separate connection."""
        answers = []
        for begin in range(0, len(questions), 64):
            sockets = []
            for name, data in questions[begin : begin + 64]:
                s = self.socket(name)
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                sockets.append(s)
            for s in sockets:
                answers.append(read_to_end(s))
                s.close()
        return answers


def absolute(config, directory):
    return config.replace('path = "', f'path = "{directory}/')


@pytest.fixture
def all_combinations(ackd):
    def make(**settings):
        daemon = ackd(start=False)
        daemon.write_config(absolute(config_of_all(**settings), daemon.directory))
        return Listeners(daemon.start())

    return make


def check(listeners, questions, expectations):
    wrong = []
    answers = listeners.ask_all([(name, data) for name, data in questions])
    for (name, data), answer, expected in zip(questions, answers, expectations, strict=True):
        if answer != expected:
            wrong.append(f"{name}: {data[:80]!r}: got {answer[:160]!r}, not {expected[:160]!r}")
    assert not wrong, f"{len(wrong)} of {len(questions)} wrong:\n" + "\n".join(wrong[:20])


def test_every_combination_matches_cpython(all_combinations):
    listeners = all_combinations(reply="echo")
    for combination in COMBINATIONS:
        text = Text(*combination)
        name = listener_name(*combination)
        check(
            listeners,
            [(name, data) for data in CASES],
            [stream_echo(data, text) for data in CASES],
        )


def test_every_combination_matches_cpython_in_lines(all_combinations):
    """All cases are lines of one connection; a fault affects only its line."""
    listeners = all_combinations(reply="echo", framing="line")
    data = b"\r\n".join(case.replace(b"\n", b"") for case in CASES) + b"\n\nlast"
    for combination in COMBINATIONS:
        check(
            listeners,
            [(listener_name(*combination), data)],
            [line_replies(data, Text(*combination))],
        )


def test_other_charsets_match_cpython(ackd):
    """Each charset, handler and reply charset, with one of the handlers for replies."""
    handlers = itertools.cycle(ENCODE_ERRORS)
    combinations = [
        (errors, charset, next(handlers), source)
        for source, errors, charset in itertools.product(CHARSETS[1:], DECODE_ERRORS, CHARSETS)
    ]
    daemon = ackd(start=False)
    listeners = ",\n".join(
        f'{{ name = "{".".join(c)}"; path = "{daemon.directory}/{".".join(c)}"; encoding = {{'
        f' errors = "{c[0]}"; reply_charset = "{c[1]}"; reply_errors = "{c[2]}";'
        f' charset = "{c[3]}"; }}; }}'
        for c in combinations
    )
    daemon.write_config(f'workers = 1; reply = "echo";\nlisteners = (\n{listeners}\n);\n')
    listeners = Listeners(daemon.start())
    every = bytes(range(256))
    cases = [every, every[::-1], b"caf\xe9 \x80\x81\r\n", b"plain", b"x" * 70000 + b"\x9d\xe9" * 9]
    for combination in combinations:
        check(
            listeners,
            [(listener_name(*combination), data) for data in cases],
            [stream_echo(data, Text(*combination)) for data in cases],
        )


@pytest.mark.parametrize("framing", ["stream", "line"])
@pytest.mark.parametrize("encoding", [
    'charset = "binary";',
    'errors = "surrogateescape";',
    'charset = "windows-1252"; errors = "surrogateescape";',
    'charset = "iso-8859-1";',
])
def test_any_file_comes_back_unchanged(ackd, directory, encoding, framing):
    """ackc sends a random file, and receives the same bytes."""
    if not (build_directory() / "src/ackc/ackc").exists():
        pytest.skip("needs ackc")
    daemon = ackd(f'reply = "echo"; framing = "{framing}"; limits = {{ max_line = "4MiB"; }};'
                  f"encoding = {{ {encoding} }};")
    data = random.Random(3).randbytes(3 << 20)
    path = pathlib.Path(directory, "file")
    path.write_bytes(data)
    with path.open("rb") as file:
        done = subprocess.run(
            [build_directory() / "src/ackc/ackc", *daemon.address().text.rsplit(":", 1)],
            stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == data


def test_replies_without_nak_are_otherwise_equal(all_combinations):
    listeners = all_combinations(reply="echo", nak=False)
    for combination in COMBINATIONS[:: len(ENCODE_ERRORS)]:
        text = Text(*combination)
        check(
            listeners,
            [(listener_name(*combination), data) for data in CASES],
            [stream_echo(data, text, nak=False) for data in CASES],
        )


def test_generated_cases_match_cpython(all_combinations):
    """The data are random mixtures of characters, truncated characters and invalid bytes."""
    listeners = all_combinations(reply="echo")
    rng = random.Random(1)
    pieces = [text.encode() for text in ("a", "é", "Ж", "€", "漢", "😀", "\x81", "\n", "word ")]
    pieces += [b"\x80", b"\xc0", b"\xc3", b"\xe2\x82", b"\xf0\x9f", b"\xf0\x9f\x98", b"\xed\xa0"]
    pieces += [b"\xf4\x90", b"\xff", b"\xe0\x9f"]
    questions, expectations = [], []
    for _ in range(3000):
        data = b"".join(rng.choices(pieces, k=rng.randint(1, 30)))
        combination = rng.choice(COMBINATIONS)
        questions.append((listener_name(*combination), data))
        expectations.append(stream_echo(data, Text(*combination)))
    check(listeners, questions, expectations)


@pytest.mark.parametrize("errors", DECODE_ERRORS)
def test_replies_do_not_depend_on_read_boundaries(ackd, errors):
    """Sends single bytes, each after receiving the complete reply to the bytes before it."""
    daemon = ackd(f'reply = "echo"; encoding = {{ errors = "{errors}"; }};')
    text = Text(errors)
    for data in ("aя€😀b".encode(), b"\xe2\x82\xf0\x9f\x98\x80\xffz\xc3", b"\xed\xa0\x80\xf4\x90z"):
        whole = stream_echo(data, text)
        received = b""
        with daemon.connect() as s:
            for i in range(len(data)):
                # The part that later bytes cannot change; a truncated end may still become a character.
                sure = text.characters(data[:i])
                done = text.encode([(c, o) for c, o in sure[0] if o < i - 3])
                received += read_exactly(s, max(0, len(done) - len(received)))
                try:
                    s.sendall(data[i : i + 1])
                except (BrokenPipeError, ConnectionResetError):
                    break  # the NAK is on its way
            s.shutdown(socket.SHUT_WR)
            received += read_to_end(s)
        assert received == whole


def suite_files():
    directory = os.environ.get("ACKD_UTF8_SUITES")
    if not directory:
        pytest.skip("ACKD_UTF8_SUITES names no directory of cases")
    return pathlib.Path(directory)


def rows_of(files):
    for file in sorted(files):
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def test_decode_suites_match(all_combinations, capsys):
    """Each row is tested with each decode handler, and with one of the other charsets in turn."""
    rows = list(rows_of(suite_files().glob("*.jsonl")))
    assert rows
    listeners = all_combinations(reply="echo")
    others = itertools.cycle(c for c in COMBINATIONS if c[1] != "utf-8")
    questions, expectations = [], []
    for row in rows:
        data = bytes.fromhex(row["hex"])
        combinations = [(errors, "utf-8", "strict") for errors in DECODE_ERRORS]
        for combination in [*combinations, next(others)]:
            questions.append((listener_name(*combination), data))
            expectations.append(stream_echo(data, Text(*combination)))
    check(listeners, questions, expectations)
    with capsys.disabled():
        print(f"\n{len(rows)} rows of decode suites over sockets, {len(questions)} exchanges")


def test_encode_suites_match(all_combinations, capsys):
    rows = list(rows_of((suite_files() / "encode").glob("*.jsonl")))
    assert rows
    listeners = all_combinations(reply="echo")
    names = {"latin-1": "iso-8859-1", "iso8859-1": "iso-8859-1", "cp1252": "windows-1252"}
    questions, expectations, unknown = [], [], set()
    for row in rows:
        combination = ("strict", names.get(row["charset"], row["charset"]), row["policy"])
        if combination not in COMBINATIONS:
            unknown.add(combination)
            continue
        data = bytes.fromhex(row["hex"])
        expected = stream_echo(data, Text(*combination))
        if "out_hex" in row:
            assert expected == bytes.fromhex(row["out_hex"])
        questions.append((listener_name(*combination), data))
        expectations.append(expected)
    check(listeners, questions, expectations)
    # Only handlers of Python may be unknown; ackd has every charset of the suites.
    assert {charset for _, charset, _ in unknown} <= set(CHARSETS)
    with capsys.disabled():
        print(
            f"\n{len(rows)} rows of encode suites, {len(questions)} over sockets, not ackd's: "
            + (", ".join(sorted({policy for _, _, policy in unknown})) or "none")
        )
