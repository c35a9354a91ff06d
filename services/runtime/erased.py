"""Who is left of an erased player: a name that says only that he was one person.

The score service makes it of the digest by which it knows his chain; the others are told. No account has such an id, and
no board shows it but those of closed periods, whose places stay as they were.
"""

from __future__ import annotations

from typing import Final

_PREFIX: Final = "erased-"
SHOWN_AS: Final = "#deleted"
"""The username of whoever is erased, on whatever still shows his place; nobody can register it."""


def pseudonym_of(chain: bytes) -> str:
    """The id that stands for an erased player, made of the digest of his own."""
    return _PREFIX + chain.hex()


def chain_in(user_id: str) -> bytes | None:
    """The digest in a pseudonym; None if the id is none."""
    digest = user_id.removeprefix(_PREFIX)
    if len(digest) == len(user_id):
        return None
    try:
        return bytes.fromhex(digest)
    except ValueError:
        return None


def is_pseudonym(user_id: str) -> bool:
    """True for the id of an erased player."""
    return chain_in(user_id) is not None
