"""Password digests: Argon2id (RFC 9106) off the event loop.

Must never log its arguments or run a digest on the event loop: one takes tens of milliseconds of a core.
"""

from __future__ import annotations

import asyncio
import os
import secrets

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError


class Passwords:
    """Makes and checks digests, at most one a core at a time, so that a flood of logins queues instead of thrashing."""

    def __init__(self, *, memory_kib: int, rounds: int) -> None:
        self._hasher = PasswordHasher(time_cost=rounds, memory_cost=memory_kib, parallelism=1, type=Type.ID)
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)
        # Checked against when the name is unknown, so that both answers cost one digest.
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    async def digest(self, password: str) -> str:
        """The encoded digest of ``password`` with a fresh salt."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, digest: str | None, password: str) -> bool:
        """True if ``password`` made ``digest``. For None (no such account) it is False after the same work."""
        async with self._slots:
            return await asyncio.to_thread(self._verify, digest, password)

    def is_outdated(self, digest: str) -> bool:
        """True if ``digest`` was made with weaker parameters than those in force."""
        return self._hasher.check_needs_rehash(digest)

    def _verify(self, digest: str | None, password: str) -> bool:
        try:
            self._hasher.verify(self._nobody if digest is None else digest, password)
        except (VerificationError, InvalidHashError):
            return False
        return digest is not None
