"""Signed heads of closed boards: the contract between score, which makes trees, identity, which signs them, and their readers.

The entries of a closed board are the leaves of a Merkle tree (see `merkle`), the one of rank r at place r - 1. A head is the
root of that tree with all it stands for: board, bounds of the period, number of players, time of closing, and the number
of this head among those of the board, with the root that it supersedes. Identity signs it as a JWS (RFC 7515) of the type
`board-head+jwt`, which passes for no token, with the public key and its id in the header.

A leaf names a player by a digest under a random salt of their own: SHA-256 of the salt in hexadecimal digits, followed by the
user id. Erasure removes the salt and keeps the digest: the root stays valid, and nobody can tell whose leaf it was.

Two collections of the database `boards`, and in `closed` the field `head`, the id of the board's head:

    heads         {_id, board, made, generation, root, players, text}
    head_tiles    {attempt, made, level, number, hashes, digests, salts}

`made` is the copy of the board (see `closed_periods`), `text` the signed head, `attempt` the id of a tile's head. Tiles
of level 0 also have digest and salt of each player, the salt of an erased one empty. The head of a former copy stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import jwt

from services.boards.proofs.merkle import leaf_hash

HEADS: Final = "heads"
TILES: Final = "head_tiles"
TYPE: Final = "board-head+jwt"
ALGORITHM: Final = "EdDSA"
SALT_BYTES: Final = 16
MAX_TEXT: Final = 4096
"""Characters of a signed head, at most."""


class Head(NamedTuple):
    """What is signed. `generation` counts the heads of a board from 1; `supersedes` is the root before it, or empty."""

    board: str
    starts_at: datetime
    ends_at: datetime
    closed_at: datetime
    players: int
    generation: int
    root: bytes
    supersedes: bytes

    def claims(self) -> dict[str, Any]:
        """Return the claims of the signed head. No claim is one that makes a token valid."""
        return {
            "board": self.board,
            "startsAt": _text(self.starts_at),
            "endsAt": _text(self.ends_at),
            "closedAt": _text(self.closed_at),
            "players": self.players,
            "generation": self.generation,
            "root": self.root.hex(),
            "supersedes": self.supersedes.hex(),
        }


class SignedHead(NamedTuple):
    """A head whose signature is valid, and the id of the public key in its header."""

    head: Head
    key_id: str


def player_digest(salt: bytes, user_id: str) -> bytes:
    """Return the digest that stands for a player. The salt has a fixed length, so that no two pairs give one text."""
    return hashlib.sha256((salt.hex() + user_id).encode()).digest()


def entry_leaf(digest: bytes, rank: int, score: int) -> bytes:
    """Return the hash of the leaf of an entry: the digest in hexadecimal digits, rank and score, separated by spaces."""
    return leaf_hash(f"{digest.hex()} {rank} {score}".encode())


def read_head(text: str, keys: Mapping[str, jwt.PyJWK] | None = None) -> SignedHead:
    """Return a signed head. Raises ValueError unless its signature is valid.

    With `keys`, public keys by their id, the head must be signed by one of them; without, by the key in its own header, which
    proves nothing about who signed it: compare the id of the key with a published one.
    """
    if len(text) > MAX_TEXT:
        raise ValueError("the head is too long")
    try:
        header = jwt.get_unverified_header(text)
        key_id = _key_id(header)
        key = jwt.PyJWK.from_dict(header["jwk"], ALGORITHM) if keys is None else keys.get(key_id)
        if key is None:
            raise ValueError(f"the head is signed by another key: {key_id}")
        claims = jwt.decode(text, key, algorithms=[ALGORITHM])
        head = Head(
            board=str(claims["board"]),
            starts_at=datetime.fromisoformat(claims["startsAt"]),
            ends_at=datetime.fromisoformat(claims["endsAt"]),
            closed_at=datetime.fromisoformat(claims["closedAt"]),
            players=int(claims["players"]),
            generation=int(claims["generation"]),
            root=bytes.fromhex(claims["root"]),
            supersedes=bytes.fromhex(claims["supersedes"]),
        )
    except (jwt.PyJWTError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the head is not validly signed: {error}") from None
    return SignedHead(head, key_id)


def _key_id(header: Mapping[str, Any]) -> str:
    """Return the id of the key in a header, which is its thumbprint (RFC 7638)."""
    if header.get("typ") != TYPE:
        raise ValueError("not a signed head")
    key = header["jwk"]
    members = f'{{"crv":"{key["crv"]}","kty":"{key["kty"]}","x":"{key["x"]}"}}'
    thumbprint = jwt.utils.base64url_encode(hashlib.sha256(members.encode()).digest()).decode()
    if header.get("kid") != thumbprint:
        raise ValueError("the id of the key is not its thumbprint")
    return thumbprint


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
