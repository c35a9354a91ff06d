"""Proofs that a player has a place on a closed board, and their check, which needs nothing but the proof. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import jwt

from services.boards.proofs.merkle import root_of
from services.boards.proofs.pseudonyms import is_pseudonym
from services.boards.proofs.signed_heads import SALT_BYTES, SignedHead, entry_leaf, player_digest, read_head

MAX_PATH: Final = 31
"""Hashes of a path, at most: a board has fewer than 2^31 players."""
_TEXTS: Final = ("board", "userId", "digest", "head")
_NUMBERS: Final = ("rank", "score")


class CheckedProof(NamedTuple):
    """A proof that holds: the signed head, and the entry. `is_named` is false for an erased player's, which names nobody."""

    signed: SignedHead
    user_id: str
    rank: int
    score: int
    is_named: bool


def check_proof(document: Any, keys: Mapping[str, jwt.PyJWK] | None = None) -> CheckedProof:
    """Check the JSON of a proof, as GraphQL returns it. Raises ValueError with the reason.

    For `keys` see `read_head`.
    """
    if not isinstance(document, Mapping):
        raise ValueError("not a proof: a JSON object is required")
    for name in _TEXTS:
        if not isinstance(document.get(name), str):
            raise ValueError(f"not a proof: {name} is missing or no text")
    for name in _NUMBERS:
        if type(document.get(name)) is not int:
            raise ValueError(f"not a proof: {name} is missing or no number")
    salt, digest = _salt(document), _hex(document["digest"], "digest")
    signed = read_head(document["head"], keys)
    head, rank = signed.head, document["rank"]
    if head.board != document["board"]:
        raise ValueError(f"the head is that of the board {head.board}")
    if not salt and not is_pseudonym(document["userId"]):
        raise ValueError("not a proof: only the entry of an erased player has no salt")
    if salt and not hmac.compare_digest(player_digest(salt, document["userId"]), digest):
        raise ValueError("the digest is not that of the player and the salt")
    if root_of(entry_leaf(digest, rank, document["score"]), rank - 1, head.players, _path(document)) != head.root:
        raise ValueError("the entry is not in the tree with the signed root")
    return CheckedProof(signed, document["userId"], rank, document["score"], bool(salt))


def _salt(document: Mapping[str, Any]) -> bytes:
    if document.get("salt") is None:
        return b""
    salt = _hex(document["salt"], "salt")
    if len(salt) != SALT_BYTES:
        raise ValueError(f"not a proof: salt must have {SALT_BYTES} bytes")
    return salt


def _hex(text: Any, name: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        raise ValueError(f"not a proof: {name} is not in hexadecimal digits") from None


def _path(document: Mapping[str, Any]) -> list[bytes]:
    path = document.get("path")
    if not isinstance(path, list) or len(path) > MAX_PATH:
        raise ValueError(f"not a proof: path must be a list of at most {MAX_PATH} hashes")
    try:
        return [base64.b64decode(sibling, validate=True) for sibling in path]
    except (TypeError, binascii.Error):
        raise ValueError("not a proof: path has a hash that is not in base64") from None
