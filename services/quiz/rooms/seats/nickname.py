"""Nicknames of the players in a room. Pure."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Iterable
from typing import Final

from services.runtime.confusables import skeleton
from services.runtime.texts import fault_of

MAX_NICKNAME: Final = 24
_ADJECTIVES: Final = (
    *(
        "Able",
        "Amber",
        "Bold",
        "Brave",
        "Bright",
        "Calm",
        "Clever",
        "Coral",
        "Crisp",
        "Eager",
        "Early",
        "Fair",
        "Fleet",
    ),
    *("Gentle", "Glad", "Golden", "Grand", "Happy", "Jolly", "Keen", "Kind", "Lively", "Lucky", "Merry", "Mellow"),
    *("Neat", "Noble", "Proud", "Quick", "Quiet", "Rapid", "Rosy", "Ruby", "Sharp", "Silver", "Smart", "Solid", "Spry"),
    *("Steady", "Sunny", "Swift", "Tidy", "Upbeat", "Vivid", "Warm", "Wise", "Witty", "Zesty"),
)
_ANIMALS: Final = (
    *(
        "Badger",
        "Beaver",
        "Bison",
        "Camel",
        "Condor",
        "Crane",
        "Dingo",
        "Dolphin",
        "Eagle",
        "Falcon",
        "Ferret",
        "Finch",
    ),
    *("Gecko", "Gull", "Hare", "Heron", "Ibis", "Jackal", "Jaguar", "Kiwi", "Koala", "Lemur", "Lion", "Lynx", "Marten"),
    *("Moose", "Newt", "Ocelot", "Orca", "Otter", "Owl", "Panda", "Parrot", "Puffin", "Quail", "Rabbit", "Raven"),
    *("Robin", "Salmon", "Seal", "Stork", "Swan", "Tapir", "Tiger", "Toucan", "Turtle", "Walrus", "Wombat", "Zebra"),
)


class NicknameError(ValueError):
    """An invalid nickname; the text says what it must be."""


def normalize_nickname(text: str) -> str:
    """Return a nickname as it is stored and shown: NFKC, white space collapsed, 1 to 24 visible characters of one line.

    Raises NicknameError.
    """
    nickname = " ".join(unicodedata.normalize("NFKC", text).split())
    if not 1 <= len(nickname) <= MAX_NICKNAME:
        raise NicknameError(f"must have 1 to {MAX_NICKNAME} characters")
    if fault := fault_of(nickname):
        raise NicknameError(fault)
    return nickname


class ForbiddenWords:
    """The operator's words that no nickname may contain, whatever is written between or instead of their letters."""

    def __init__(self, words: Iterable[str]) -> None:
        self._keys = frozenset(key for word in words if word.strip() for key in _both_keys(word))

    def require_none(self, nickname: str) -> None:
        """Raise NicknameError if a nickname contains one of the words."""
        if any(word in key for word in self._keys for key in _both_keys(nickname)):
            raise NicknameError("contains a word that is not allowed here")


def _both_keys(text: str) -> tuple[str, str]:
    """Return the keys of a text as it is and in lower case: a capital I looks like an l."""
    return nickname_key(text), nickname_key(text.casefold())


def nickname_key(nickname: str) -> str:
    """Return a key that nicknames which look alike share. Spaces and punctuation make no difference."""
    return skeleton("".join(character for character in nickname if character.isalnum()) or nickname)


def generated_nickname() -> str:
    """Return a random name: one of two million."""
    return f"{secrets.choice(_ADJECTIVES)} {secrets.choice(_ANIMALS)} {secrets.randbelow(900) + 100}"
