"""Challenges that a device solves before its player gets a seat: the proof of work of Altcha, version 1. Pure.

A challenge is the SHA-256 of a salt and a secret number; its solution is the number, which takes half of `hashes` attempts on
average to find and one to check. It is signed with a key that one room has: it is stored nowhere, and other rooms refuse it.
The salt ends with when it expires. The algorithm is published at https://altcha.org.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64decode
from binascii import Error as Base64Error
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

LIFE: Final = timedelta(minutes=10)
"""How long after it was issued a challenge can be solved."""
ALGORITHM: Final = "SHA-256"
KEY_BYTES: Final = 32
SALT_BYTES: Final = 12
# The ampersand ends the salt, so that no digit of the number counts as one of the time.
_SALT: Final = re.compile(r"[0-9a-f]{24}\?expires=([0-9]{1,11})&")


class SolutionError(Exception):
    """A solution is refused. The text completes "solution …"."""


class Challenge(NamedTuple):
    """A challenge, as Altcha's clients read it, and when it expires."""

    algorithm: str
    challenge: str
    max_number: int
    salt: str
    signature: str
    expires_at: datetime


class Solution(NamedTuple):
    """A valid solution: the challenge that it solves, and when that expires."""

    challenge: str
    expires_at: datetime


def new_key() -> bytes:
    """Return a key for the challenges of one room."""
    return secrets.token_bytes(KEY_BYTES)


def new_challenge(key: bytes, hashes: int, now: datetime) -> Challenge:
    """Return a challenge whose solution is a number from 0 to `hashes`."""
    expires_at = (now + LIFE).replace(microsecond=0)
    salt = f"{secrets.token_hex(SALT_BYTES)}?expires={int(expires_at.timestamp())}&"
    challenge = _digest(salt, secrets.randbelow(hashes + 1))
    return Challenge(ALGORITHM, challenge, hashes, salt, _signature(key, challenge), expires_at)


def verified(key: bytes, solution: str, now: datetime) -> Solution:
    """Return what a solution solves. Raises SolutionError unless it solves a challenge of this key that has not expired."""
    if not solution:
        raise SolutionError("is missing: solve a challenge of the room first")
    try:
        fields: Any = orjson.loads(b64decode(solution, validate=True))
        algorithm, challenge, number, salt, signature = (
            fields[each] for each in ("algorithm", "challenge", "number", "salt", "signature")
        )
    except (Base64Error, ValueError, KeyError, TypeError):
        raise SolutionError("is no payload of Altcha") from None
    texts = (challenge, salt, signature)
    if algorithm != ALGORITHM or type(number) is not int or not all(type(text) is str for text in texts):
        raise SolutionError("is no payload of Altcha")
    found = _SALT.fullmatch(salt)
    is_signed = hmac.compare_digest(_signature(key, challenge).encode(), signature.encode())
    if found is None or not is_signed or _digest(salt, number) != challenge:
        raise SolutionError("solves no challenge of this room")
    expires_at = datetime.fromtimestamp(int(found[1]), UTC)
    if now >= expires_at:
        raise SolutionError("is of a challenge that has expired: solve a new one")
    return Solution(challenge, expires_at)


def _digest(salt: str, number: int) -> str:
    return hashlib.sha256(f"{salt}{number}".encode()).hexdigest()


def _signature(key: bytes, challenge: str) -> str:
    return hmac.digest(key, challenge.encode(), "sha256").hex()
