"""Texts that look alike, by Unicode Technical Standard 39 (4)."""

from __future__ import annotations

import unicodedata

from confusable_homoglyphs.confusables import confusables_data


def skeleton(text: str) -> str:
    """Return a key that texts which look alike share. Every text has one; it is never shown.

    Computed from the text as shown, and then from its case-folded skeleton.
    """
    return _prototypes(_prototypes(unicodedata.normalize("NFKC", text)).casefold())


def _prototypes(text: str) -> str:
    prototypes = "".join(map(_prototype, unicodedata.normalize("NFD", text)))
    return unicodedata.normalize("NFD", prototypes)


def _prototype(character: str) -> str:
    """Return the prototype of a confusable character; the character itself if it has none.

    The table holds each pair in both directions: a prototype has several entries, a character that resembles one has one.
    """
    alike = confusables_data.get(character, ())
    if len(alike) != 1:
        return character
    other: str = alike[0]["c"].strip("\u200e")  # the table marks right-to-left characters with it
    return min(character, other) if len(confusables_data.get(other, ())) == 1 else other
