"""Texts that strangers write: which characters they may have, and what becomes of those that may not.

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
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def fault_of(text: str, *, lines: bool = False) -> str:
    """Return what is wrong with a text, empty if nothing is. With `lines` it may have line feeds and tabs.

    An empty text is right: whether there must be one is the contract's matter.
    """
    match = (_NOT_IN_LINES if lines else _NOT_IN_A_LINE).search(text)
    if match is not None:
        return f"must not contain the control character U+{ord(match[0]):04X}"
    return "must not be blank" if text and not _is_visible(text) else ""


def without_controls(text: str) -> str:
    """Return a text as one line: without what `fault_of` refuses. For what a client did not choose to write."""
    return _NOT_IN_A_LINE.sub("", text)


def clipped(text: str, most: int) -> str:
    """Return a text of at most `most` characters; a longer one ends after a whole word, with an ellipsis."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    return f"{head.rpartition(' ')[0] or head}…"


def same_text_key(text: str) -> str:
    """Return the form in which texts are compared that readers must be able to tell apart: NFC, white space collapsed."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def canonical_id(text: str) -> str:
    """Return a UUID in lower case; any other id as it is."""
    return text.lower() if _UUID.fullmatch(text) else text


def _is_visible(text: str) -> bool:
    return any(unicodedata.category(character)[0] in "LNPS" and character not in _BLANK for character in text)
