"""The literal displays of manual pages."""

import pathlib
import re

MAN = pathlib.Path(__file__).resolve().parent.parent / "man"
ESCAPES = {r"\e": "\\", r"\-": "-", r"\(dq": '"', r"\&": ""}


def plain(mdoc):
    """Replaces the escapes of mdoc."""
    return re.sub(r"\\(?:\(dq|[e&-])", lambda match: ESCAPES[match[0]], mdoc)


def displays(name, section=r"[^\n]*"):
    """Returns the displays of a page, or of the sections whose title matches the pattern @section."""
    page = (MAN / name).read_text(encoding="utf-8")
    parts = re.findall(rf"^\.Sh {section}$(.*?)(?=^\.Sh |\Z)", page, re.M | re.S)
    found = [a or b for part in parts
             for a, b in re.findall(r"^\.Bd[^\n]*\n(.*?)^\.Ed$|^\.D[l1] ([^\n]*)$", part, re.M | re.S)]
    return [plain(display).rstrip("\n") for display in found]
