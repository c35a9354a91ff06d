"""Salted digests of personal data, which the ledger hashes in place of the data.

The ledger identifies a person by the digest of their user id. Their other personal data is digested under a key derived
from the user id and the salt. Once the user id is erased nobody can derive that key, even with the salt, so nobody can
find out by trial whether an address or a reason was theirs. The salt is drawn once and stored in the score database.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

import orjson

from services.boards.proofs.pseudonyms import chain_digest_of

_SIZE: Final = 16


class PersonalDataDigests:
    """Digests of 16 bytes under one salt of up to 64 bytes.

    `chain(user_id)` is the digest by which the ledger identifies a player: the same for a pseudonym as for the user id.
    """

    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        # Events of one player arrive close together.
        self.chain = lru_cache(maxsize=65_536)(self._chain)
        self._key = lru_cache(maxsize=65_536)(self._personal_key)

    def client(self, user_id: str, ip: str, user_agent: str) -> bytes:
        """Return the digest of an action's origin; empty if the origin is unknown."""
        return self._personal(user_id, f"{ip}\n{user_agent}".encode()) if ip or user_agent else b""

    def change(self, user_id: str, actor: str, reason: str, metadata: str = "") -> bytes:
        """Return the digest of a change's actor, reason and texts, under the key of the player."""
        return self._personal(user_id, orjson.dumps((actor, reason, metadata) if metadata else (actor, reason)))

    def _chain(self, user_id: str) -> bytes:
        return chain_digest_of(user_id) or self._salted(user_id, b"chain")

    def _personal_key(self, user_id: str) -> bytes:
        return self._salted(user_id, b"personal")

    def _personal(self, user_id: str, content: bytes) -> bytes:
        return hashlib.blake2b(content, key=self._key(user_id), digest_size=_SIZE).digest()

    def _salted(self, user_id: str, purpose: bytes) -> bytes:
        content = user_id.encode(errors="surrogatepass")
        return hashlib.blake2b(content, key=self.salt, person=purpose, digest_size=_SIZE).digest()
