"""Salted digests of what is personal: what is hashed into the ledger in its place.

A person is known to the ledger by the digest of his user id. What else is personal of him is digested under a key that is
made of his user id and the salt: once his id is erased nobody can make that key, though he has the salt, and so nobody can
find out by trying whether an address or a reason was his. The salt is drawn once and kept in the score database.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

import orjson

from services.runtime.erased import chain_in

_SIZE: Final = 16


class Seals:
    """Digests under one salt of up to 64 bytes."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        # A player's events come close together.
        self.chain = lru_cache(maxsize=65_536)(self._chain)
        self._key = lru_cache(maxsize=65_536)(self._make_key)

    def client(self, user_id: str, ip: str, user_agent: str) -> bytes:
        """Where an action came from; empty if that is not known."""
        return self._seal(user_id, f"{ip}\n{user_agent}".encode()) if ip or user_agent else b""

    def words(self, user_id: str, actor: str, reason: str) -> bytes:
        """Who changed something of the player's, and why."""
        return self._seal(user_id, orjson.dumps((actor, reason)))

    def _seal(self, user_id: str, content: bytes) -> bytes:
        return hashlib.blake2b(content, key=self._key(user_id), digest_size=_SIZE).digest()

    def _chain(self, user_id: str) -> bytes:
        """By what the ledger knows a player, 16 bytes: the same for his pseudonym as for his user id."""
        return chain_in(user_id) or self._digest(user_id, b"chain")

    def _make_key(self, user_id: str) -> bytes:
        return self._digest(user_id, b"personal")

    def _digest(self, user_id: str, purpose: bytes) -> bytes:
        content = user_id.encode(errors="surrogatepass")
        return hashlib.blake2b(content, key=self._salt, person=purpose, digest_size=_SIZE).digest()
