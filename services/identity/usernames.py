"""Which usernames are allowed, and which look alike. Pure.

A name must not deceive its readers on a board. By Unicode Technical Standard 39 a name has one script (5.2, highly
restrictive), and no two names have the same skeleton (4).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from confusable_homoglyphs.categories import alias as script_of

from services.identity.accounts import InvalidAccountError
from services.runtime.confusables import skeleton

MIN_USERNAME: Final = 2
MAX_USERNAME: Final = 32
# Combining marks on one letter; more of them run into the lines above and below.
MAX_MARKS: Final = 3
RESERVED: Final = ("admin", "moderator", "system", "topten")
_JOINERS: Final = "_-."
_ALLOWED: Final = f"Username must be {MIN_USERNAME} to {MAX_USERNAME} letters, digits, `_`, `-` or `.`."
# Invisible letters and marks: Default_Ignorable_Code_Point of DerivedCoreProperties.txt in the categories L and M.
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
# Scripts that one name may mix. Digits and marks without a script are always allowed.
_MIXED_SCRIPTS: Final = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
)
_NO_SCRIPT: Final = frozenset({"COMMON", "INHERITED"})


def normalize_username(username: str) -> str:
    """Return a username as it is stored and shown: NFKC.

    Raises InvalidAccountError unless it then has 2 to 32 characters, each a letter or digit, one of up to three combining
    marks on a letter, or `_`, `-` or `.`; starts and ends with a letter, digit or mark; has no invisible characters; and
    is written in one script, or in those that Chinese, Japanese and Korean mix.
    """
    name = unicodedata.normalize("NFKC", username)
    if not MIN_USERNAME <= len(name) <= MAX_USERNAME:
        raise _invalid(_ALLOWED)
    if _INVISIBLE & {*name}:
        raise _invalid("Username must not contain invisible characters.")
    before, marks = "", 0
    for character in name:
        kind = unicodedata.category(character)[0]
        if kind not in "LMN" and character not in _JOINERS:
            raise _invalid(_ALLOWED)
        marks = marks + 1 if kind == "M" else 0
        if (marks and before not in ("L", "M")) or marks > MAX_MARKS:
            raise _invalid(f"Username must have combining marks on letters only, at most {MAX_MARKS} on each.")
        before = kind
    if name[0] in _JOINERS or name[-1] in _JOINERS:
        raise _invalid("Username must start and end with a letter or digit.")
    scripts = {script_of(character) for character in name} - _NO_SCRIPT
    if len(scripts) > 1 and not any(scripts <= mixed for mixed in _MIXED_SCRIPTS):
        raise _invalid("Username must be written in one script, such as Latin or Cyrillic.")
    return name


def username_key(username: str) -> str:
    """Return the form in which usernames are compared: NFKC, case folding, NFKC. Every text has a key."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


class UsernameRules:
    """Which usernames players may take: all allowed ones except reserved names and names like them.

    RESERVED and the operator's own are reserved, in any case and with or without `_`, `-` and `.` between their letters.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._reserved = {
            skeleton(form)
            for name in (*RESERVED, *reserved)
            for form in (_letters(name), _letters(name).upper(), _letters(name).casefold())
        }

    def accept(self, username: str) -> str:
        """Return a username as it is stored and shown (`normalize_username`). Raises InvalidAccountError."""
        name = normalize_username(username)
        if self._is_reserved(name):
            raise _invalid("This username is reserved. Choose another.")
        return name

    def names_for(self, preferred: str, user_id: str) -> Iterator[str]:
        """Yield usernames for a player, best first: `preferred`, then that with a part of the id, then the id alone.

        The second is left out if `preferred` is reserved.
        """
        suffix = user_id.replace("-", "")
        names = [preferred, f"{preferred.strip()[: MAX_USERNAME - 9]}-{suffix[:8]}", f"player-{suffix[:24]}"]
        if self._is_reserved(preferred):
            del names[1]
        for name in names:
            with suppress(InvalidAccountError):
                yield self.accept(name)

    def _is_reserved(self, name: str) -> bool:
        letters = _letters(name)
        return not self._reserved.isdisjoint({skeleton(letters), skeleton(username_key(letters))})


def _letters(name: str) -> str:
    """Return a name without the characters that join its parts."""
    return unicodedata.normalize("NFKC", name).translate(dict.fromkeys(map(ord, _JOINERS)))


def _invalid(message: str) -> InvalidAccountError:
    return InvalidAccountError("username", message)
