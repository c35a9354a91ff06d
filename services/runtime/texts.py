"""Untrusted texts: which characters they may have, and how others are removed.

Control characters forge lines of a log or a terminal, and characters that change the direction of text make a name or reason
read as another. The form of a text in a request is declared in its contract (`topten.text.v1`); `requests` checks all of them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Bidi_Control of PropList.txt.
_BIDI: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# C0, DEL and C1, line and paragraph separators, the mark of a byte order, and surrogates, which no encoding has.
_CONTROL: Final = "\u007f-\u009f\u2028\u2029\ufeff\ud800-\udfff"
_NOT_IN_A_LINE: Final = re.compile(f"[\u0000-\u001f{_CONTROL}{_BIDI}]")
_NOT_IN_LINES: Final = re.compile(f"[\u0000-\u0008\u000b-\u001f{_CONTROL}{_BIDI}]")
# Letters and symbols that are drawn as nothing.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# Characters that are drawn as nothing between others, but for joiners and selectors, which change how those are drawn.
_UNDRAWN: Final = re.compile("[\u00ad\u034f\u180e\u200b\u2060-\u2064]")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def fault_of(text: str, *, lines: bool = False) -> str:
    """Return the fault of a text, empty if it has none. With `lines` it may have line feeds and tabs.

    An empty text has none: the contract says whether a text is required.
    """
    if text.isascii() and text.isprintable():  # as nearly every id is
        return "must not be blank" if text.isspace() else ""
    match = (_NOT_IN_LINES if lines else _NOT_IN_A_LINE).search(text)
    if match is not None:
        return f"must not contain the control character U+{ord(match[0]):04X}"
    return "must not be blank" if text and not _is_visible(text) else ""


def without_controls(text: str) -> str:
    """Return a text as one line, without the characters that `fault_of` refuses. For file names and headers."""
    return _NOT_IN_A_LINE.sub("", text)


def clipped(text: str, most: int) -> str:
    """Return a text of at most `most` characters; a longer one ends after a whole word, with an ellipsis."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    return f"{head.rpartition(' ')[0] or head}…"


def composed(text: str) -> str:
    """Return a text in NFC: in which form a device sends a letter with its accent is not the writer's choice."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def same_text_key(text: str) -> str:
    """Return a key that texts share if readers cannot tell them apart: NFC, white space collapsed, nothing undrawn."""
    return composed(" ".join(_UNDRAWN.sub("", text).split()))


def canonical_id(text: str) -> str:
    """Return a UUID in lower case; any other id as it is."""
    return text if text.islower() or not _UUID.fullmatch(text) else text.lower()


def _is_visible(text: str) -> bool:
    if text.isascii():
        return not text.isspace()
    return any(unicodedata.category(character)[0] in "LNPS" and character not in _BLANK for character in text)
