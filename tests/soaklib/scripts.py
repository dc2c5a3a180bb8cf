"""The input of the clients and the expected replies, computed with CPython's codecs."""

import random

from oracle import Fault, Text, split_lines

MAX_LINE = 4096

CONFIG = f"""
listeners = (
    {{ name = "lines"; port = 0; framing = "line"; ack_prefix = "${{message}} ${{bytes}} "; }},
    {{ name = "ascii"; port = 0; framing = "line"; reply = "echo";
      encoding = {{ errors = "backslashreplace"; reply_charset = "ascii";
                   reply_errors = "xmlcharrefreplace"; }}; }},
    {{ name = "strict"; port = 0; reply = "echo"; }},
    {{ name = "replace"; port = 0; reply = "echo"; encoding = {{ errors = "replace"; }}; }},
    {{ name = "local"; path = "%s/socket"; reply = "echo";
      encoding = {{ errors = "ignore"; reply_charset = "iso-8859-1";
                   reply_errors = "backslashreplace"; }}; }}
);
limits = {{ max_connections = %d; max_line = {MAX_LINE}; idle_timeout = %d; }};
log = {{ level = "debug"; }};
"""

TEXTS = {
    "lines": Text(),
    "ascii": Text("backslashreplace", "ascii", "xmlcharrefreplace"),
    "strict": Text(),
    "replace": Text("replace"),
    "local": Text("ignore", "iso-8859-1", "backslashreplace"),
}
LISTENERS = tuple(TEXTS)

# Ill-formed in every way: stray, overlong, surrogate, too large, truncated.
ILL_FORMED = (
    b"\x80", b"\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"\xf0\x9f\x98", b"\xe2\x82", b"\xd0", b"\xf8\x88\x80\x80\x80",
)


class Script:
    """All bytes that one connection sends and must receive.

    marks: (bytes sent, bytes received) at which no reply is pending; closes: the server closes the
    connection after the last byte of the reply.
    """

    def __init__(self, listener, segments):
        self.listener = listener
        self.closes = False
        self.data = b""
        self.reply = b""
        self.marks = []
        self._text = TEXTS[listener]
        self._messages = 0
        for segment in segments:
            self._add(segment)
            if self.closes:
                break

    def _add(self, segment):
        reply = self._lines(segment) if self.listener in ("lines", "ascii") else self._stream(segment)
        self.data += segment
        self.reply += reply
        if segment.endswith(b"\n") and not self.closes:
            self.marks.append((len(self.data), len(self.reply)))

    def _stream(self, segment):
        try:
            return self._text.convert(segment)
        except Fault as fault:
            self.closes = True
            before = self.reply + fault.before
            gap = b"\n" if before and not before.endswith(b"\n") else b""
            fault.offset += len(self.data)
            return fault.before + gap + fault.line()

    def _lines(self, segment):
        replies = []
        offset = len(self.data)
        for body, terminator in split_lines(segment):
            self._messages += 1
            prefix = b"%d %d " % (self._messages, len(body)) if self.listener == "lines" else b""
            try:
                if len(body) > MAX_LINE:
                    self.closes = True
                    raise Fault(0, "line too long")
                # The terminator is included, because it proves that a character is truncated.
                reply = self._text.convert(body + terminator)
                replies.append(prefix + reply)
            except Fault as fault:
                fault.offset += offset
                replies.append(fault.line())
            offset += len(body) + len(terminator)
            if self.closes:
                break
        return b"".join(replies)


def words(rng, n_characters):
    """Text with characters of every length, without line ends."""
    ranges = ((0x20, 0x7F), (0x20, 0x7F), (0x430, 0x450), (0x4E00, 0x4F00), (0x1F600, 0x1F640))
    return "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(n_characters)).encode()


def line(rng, n_characters):
    return words(rng, n_characters) + rng.choice((b"\n", b"\n", b"\r\n"))


def broken_line(rng):
    return words(rng, rng.randrange(20)) + rng.choice(ILL_FORMED) + line(rng, rng.randrange(20))


def good(rng, listener):
    return Script(listener, [line(rng, rng.choice((1, 10, 60, 400))) for _ in range(12)])


def short(rng, listener):
    return Script(listener, [line(rng, 12) for _ in range(3)])


def broken(rng, listener):
    segments = [line(rng, 10) for _ in range(rng.randrange(3))]
    segments += [rng.choice((broken_line, lambda r: line(r, 20)))(rng) for _ in range(6)]
    segments.append(broken_line(rng))
    if listener in ("lines", "ascii") and rng.random() < 0.3:
        segments.append(b"x" * (MAX_LINE + 1) + b"\n")
    return Script(listener, segments)


def unfinished(rng, listener):
    """Ends within a line, or within a character."""
    tail = words(rng, 5) + rng.choice((b"", b"\xd0", b"\xe2\x82", b"\xf0\x9f\x98", b"\r"))
    return Script(listener, [line(rng, 30) for _ in range(rng.randrange(4))] + [tail])


def long(rng, listener):
    block = b"".join(line(rng, 100) for _ in range(100))
    return Script(listener, [block] * (1 + (1 << 20) // len(block)))


MAKERS = {"good": (good, 60), "short": (short, 60), "broken": (broken, 150),
          "unfinished": (unfinished, 60), "long": (long, 2)}


def make_all(seed):
    """Returns {kind: [Script...]}, the same for the same seed."""
    rng = random.Random(seed)
    scripts = {
        kind: [make(rng, listener) for listener in LISTENERS for _ in range(n)]
        for kind, (make, n) in MAKERS.items()
    }
    # The buffers of a UNIX socket are small, so the daemon must hold unread replies.
    scripts["long"] += [script for script in scripts["long"] if script.listener == "local"] * 4
    return scripts
