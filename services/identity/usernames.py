"""Which names accounts may have, and which names are too much alike: pure rules, no store and no network.

A name must not deceive whoever reads it on a board. Scripts and look-alikes are judged as Unicode Technical Standard 39
has it: one script a name (5.2, highly restrictive), and no two names of one skeleton (4).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from confusable_homoglyphs.categories import alias as script_of
from confusable_homoglyphs.confusables import confusables_data

from services.identity.accounts import InvalidAccountError

MIN_USERNAME: Final = 2
MAX_USERNAME: Final = 32
# Marks that one letter may carry; more of them run into the lines above and below.
MAX_MARKS: Final = 3
_JOINERS: Final = "_-."
# Letters and marks that show nothing: Default_Ignorable_Code_Point of DerivedCoreProperties.txt, as far as L and M go.
_INVISIBLE: Final = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
# Scripts that are written together; each name may also have digits and marks that belong to no script.
_TOGETHER: Final = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
)
_NO_SCRIPT: Final = frozenset({"COMMON", "INHERITED"})


def normalise_username(username: str) -> str:
    """The form in which a username is stored and shown: NFKC.

    Raises InvalidAccountError unless it then has 2 to 32 characters, each a letter or digit, up to three marks that belong
    to a letter, or one of ``_ - .``, begins and ends with a letter, digit or mark, shows everything it has, and is
    written in one script (or in those that Chinese, Japanese and Korean mix).
    """
    name = unicodedata.normalize("NFKC", username)
    if not MIN_USERNAME <= len(name) <= MAX_USERNAME:
        raise _invalid(f"A username has {MIN_USERNAME} to {MAX_USERNAME} characters.")
    if _INVISIBLE & {*name}:
        raise _invalid("A username has nothing that can't be seen.")
    before, marks = "", 0
    for character in name:
        kind = unicodedata.category(character)[0]
        if kind not in "LMN" and character not in _JOINERS:
            raise _invalid("A username has letters, digits, '_', '-' and '.' only.")
        marks = marks + 1 if kind == "M" else 0
        if (marks and before not in ("L", "M")) or marks > MAX_MARKS:
            raise _invalid(f"A combining mark must follow a letter, which carries up to {MAX_MARKS}.")
        before = kind
    if name[0] in _JOINERS or name[-1] in _JOINERS:
        raise _invalid("A username begins and ends with a letter or digit.")
    scripts = {script_of(character) for character in name} - _NO_SCRIPT
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        raise _invalid("A username is written in one script.")
    return name


def username_key(username: str) -> str:
    """The form in which usernames are compared: NFKC, without case, NFKC again. Total: any text has a key."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


def username_skeleton(username: str) -> str:
    """What a name looks like: the same for all that a reader would take for one another. Total, and never shown.

    The skeleton of UTS 39 (4), of the name as it is shown and then once more without case.
    """
    return _prototypes(_prototypes(unicodedata.normalize("NFKC", username)).casefold())


def names_for(wanted: str, user_id: str) -> Iterator[str]:
    """Names for a player who has chosen none here, the best first: as wanted, then made of it and the id, then of the id."""
    mark = user_id.replace("-", "")
    for name in (wanted, f"{wanted.strip()[: MAX_USERNAME - 9]}-{mark[:8]}", f"player-{mark[:24]}"):
        with suppress(InvalidAccountError):
            yield normalise_username(name)


def _prototypes(text: str) -> str:
    found = "".join(map(_prototype, unicodedata.normalize("NFD", text)))
    return unicodedata.normalize("NFD", found)


def _prototype(character: str) -> str:
    """What the character looks like; itself if others look like it.

    The table has each pair in both directions: what stands for others names several, what is like another names that one.
    """
    alike = confusables_data.get(character, ())
    if len(alike) != 1:
        return character
    other: str = alike[0]["c"].strip("\u200e")  # which the table puts around what is written from right to left
    return min(character, other) if len(confusables_data.get(other, ())) == 1 else other


def _invalid(message: str) -> InvalidAccountError:
    return InvalidAccountError("username", message)
