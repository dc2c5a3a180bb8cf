"""The expected replies of ackd, computed with CPython's codecs."""

import codecs

PYTHON_CHARSET = {
    "utf-8": "utf-8",
    "ascii": "ascii",
    "iso-8859-1": "iso-8859-1",
    "windows-1252": "cp1252",
}
CHARSETS = tuple(PYTHON_CHARSET)
DECODE_ERRORS = ("strict", "replace", "ignore", "backslashreplace", "surrogateescape")
ENCODE_ERRORS = ("strict", "replace", "ignore", "xmlcharrefreplace", "backslashreplace")


def escape_or(handler):
    """Registers the encode handler that writes escaped bytes, and leaves other characters to @handler."""

    def handle(error):
        code = ord(error.object[error.start])
        if 0xDC80 <= code <= 0xDCFF:
            return bytes([code - 0xDC00]), error.start + 1
        alone = (error.encoding, error.object, error.start, error.start + 1, error.reason)
        return codecs.lookup_error(handler)(UnicodeEncodeError(*alone))

    codecs.register_error("surrogateescape+" + handler, handle)


for encode_errors in ENCODE_ERRORS:
    escape_or(encode_errors)


class Fault(Exception):
    """An error in the data, which causes a NAK."""

    def __init__(self, offset, reason, before=b""):
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason
        self.before = before  # the reply to the text before the error

    def line(self):
        return b"NAK %d %s\n" % (self.offset, self.reason.encode())


class Text:
    """Text conversion by a listener's `encoding` group."""

    def __init__(self, errors="strict", charset="utf-8", reply_errors="strict", source="utf-8"):
        self.errors = errors
        self.charset = PYTHON_CHARSET[charset]
        self.reply_errors = reply_errors
        if errors == "surrogateescape":
            self.reply_errors = "surrogateescape+" + reply_errors
        self.source = PYTHON_CHARSET[source]

    def characters(self, data):
        """Returns (character, offset of its first byte) pairs of @data, and the fault or None."""
        characters = []
        start = 0
        while start < len(data):
            rest = data[start:]
            try:
                text, error = rest.decode(self.source), None
            except UnicodeDecodeError as e:
                text, error = rest[: e.start].decode(self.source), e
            offset = start
            for character in text:
                characters.append((character, offset))
                offset += len(character.encode(self.source))
            if error is None:
                return characters, None
            if self.errors == "strict":
                is_utf8 = self.source == "utf-8"
                return characters, Fault(offset, error.reason if is_utf8 else "byte not in charset")
            replacement, _ = codecs.lookup_error(self.errors)(error)
            characters += [(character, offset) for character in replacement]
            start += error.end
        whole = data.decode(self.source, self.errors)
        assert "".join(character for character, _ in characters) == whole
        return characters, None

    def encode(self, characters):
        """Returns the reply for the result of characters(); raises Fault for a character without one."""
        text = "".join(character for character, _ in characters)
        try:
            return text.encode(self.charset, self.reply_errors)
        except UnicodeEncodeError as e:
            offset = characters[e.start][1]
            reason = "cannot encode U+%04X" % ord(text[e.start])
            before = text[: e.start].encode(self.charset, self.reply_errors)
            raise Fault(offset, reason, before) from None

    def convert(self, data):
        """Returns the reply bytes for @data; raises the first Fault, with the reply before it."""
        characters, fault = self.characters(data)
        converted = self.encode(characters)
        if fault:
            fault.before = converted
            raise fault
        return converted


def stream_echo(data, text, nak=True):
    """Returns the answer to a client that sends @data to an echo in stream framing and half-closes."""
    try:
        return text.convert(data)
    except Fault as fault:
        if not nak:
            return fault.before
        gap = b"\n" if fault.before and not fault.before.endswith(b"\n") else b""
        return fault.before + gap + fault.line()


def split_lines(data):
    """Yields (body, terminator) of each line."""
    *lines, last = data.split(b"\n")
    result = []
    for line in lines:
        if line.endswith(b"\r"):
            result.append((line[:-1], b"\r\n"))
        else:
            result.append((line, b"\n"))
    if last:
        result.append((last, b""))
    return result


def line_replies(data, text, prefix=b"", suffix=b"", max_line=65536, nak=True):
    """Returns the answer to a client that sends @data in line framing and half-closes."""
    replies = []
    offset = 0
    for body, terminator in split_lines(data):
        fault = None
        if len(body) > max_line:
            fault = Fault(offset, "line too long")
        else:
            try:
                # The terminator is included, because it proves that a character is truncated.
                converted = text.convert(body + terminator)
                converted = converted[: len(converted) - len(terminator)]
                replies.append(prefix + converted + suffix + terminator)
            except Fault as e:
                fault = Fault(offset + e.offset, e.reason)
        if fault:
            if nak:
                replies.append(fault.line())
            if fault.reason == "line too long":
                break
        offset += len(body) + len(terminator)
    return b"".join(replies)
