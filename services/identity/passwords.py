"""Password digests: Argon2id (RFC 9106) off the event loop.

Must never log its arguments, nor compute a digest on the event loop, which would block it for tens of milliseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import sys
import unicodedata
from typing import Final, NamedTuple

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

MIN_PASSWORD: Final = 8
MAX_PASSWORD: Final = 128
_M_MMAP_THRESHOLD: Final = -3  # mallopt(3)
_RETURNED_BYTES: Final = 1024 * 1024


def normalize_password(password: str) -> str:
    """Return a password as it is compared: the profile OpaqueString of RFC 8265 (4.2), spaces to U+0020 and then NFC.

    Keyboards send the same letters in different forms. Every text has a normal form, and no text is refused here.
    """
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", spaced)


def is_allowed(password: str) -> bool:
    """Return whether a new password has 8 to 128 characters in its normal form."""
    return MIN_PASSWORD <= len(normalize_password(password)) <= MAX_PASSWORD


class Match(NamedTuple):
    """Whether a password belongs to a digest, and whether a new digest should replace that."""

    is_right: bool
    is_outdated: bool

    def __bool__(self) -> bool:
        return self.is_right


class Passwords:
    """Computes and checks digests, at most one per core at a time, so that a flood of logins queues."""

    def __init__(self, *, memory_kib: int, rounds: int) -> None:
        _return_large_blocks()
        self._hasher = PasswordHasher(time_cost=rounds, memory_cost=memory_kib, parallelism=1, type=Type.ID)
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)
        # Checked for an unknown name, so that it costs one digest too.
        self._unknown = self._hasher.hash(secrets.token_hex(16))

    async def digest(self, password: str) -> str:
        """Return the encoded digest of the normal form of `password` with a new salt."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, normalize_password(password))

    async def matches(self, digest: str | None, password: str) -> Match:
        """Compare `password` with `digest`. None (no such account) takes the same work and never matches.

        Digests of earlier versions are of passwords as they were sent, and match those too. A digest is outdated then, and
        if other parameters than the current ones made it.
        """
        async with self._slots:
            return await asyncio.to_thread(self._verify, digest, password)

    def _verify(self, digest: str | None, password: str) -> Match:
        normal = normalize_password(password)
        for form in (normal, password) if normal != password else (normal,):
            try:
                self._hasher.verify(self._unknown if digest is None else digest, form)
            except (VerificationError, InvalidHashError):
                continue
            if digest is not None:
                return Match(is_right=True, is_outdated=form != normal or self._hasher.check_needs_rehash(digest))
        return Match(is_right=False, is_outdated=False)


def _return_large_blocks() -> None:
    """Have the C library return freed blocks of 1 MiB and more to the system.

    glibc would keep the memory of a digest (19 MiB) for each thread that ever made one.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _RETURNED_BYTES)
