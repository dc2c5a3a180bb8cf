"""The encode handlers for text that was decoded with surrogateescape.

They write the escaped bytes, and leave other characters to the configured handler.
"""

import codecs


def register(handler):
    def handle(error):
        code = ord(error.object[error.start])
        if 0xdc80 <= code <= 0xdcff:
            return bytes([code - 0xdc00]), error.start + 1
        alone = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1,
                                   error.reason)
        return codecs.lookup_error(handler)(alone)

    codecs.register_error("surrogateescape+" + handler, handle)


for each in ("strict", "replace", "ignore", "xmlcharrefreplace", "backslashreplace"):
    register(each)


def encode_handler(decode, encode):
    """Returns the name of the handler for @encode, for text from the decode handler @decode."""
    return "surrogateescape+" + encode if decode == "surrogateescape" else encode
