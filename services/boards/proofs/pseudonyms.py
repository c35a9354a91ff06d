"""Pseudonyms of erased players: ids that link the places of one player and identify nobody.

The score service derives a pseudonym from the digest that stands for the player in the ledger. No account has such an
id, and only boards of closed periods, where places stay as they were, show one.
"""

from __future__ import annotations

from typing import Final

_PREFIX: Final = "erased-"
ERASED_USERNAME: Final = "#deleted"
"""The username shown for every erased player. Nobody can register it."""


def pseudonym_of(chain_digest: bytes) -> str:
    """Return the user id that replaces an erased player's."""
    return _PREFIX + chain_digest.hex()


def chain_digest_of(user_id: str) -> bytes | None:
    """Return the digest in a pseudonym; None if the id is not a pseudonym."""
    digest = user_id.removeprefix(_PREFIX)
    if len(digest) == len(user_id):
        return None
    try:
        return bytes.fromhex(digest)
    except ValueError:
        return None


def is_pseudonym(user_id: str) -> bool:
    """Whether the id is that of an erased player."""
    return chain_digest_of(user_id) is not None
