"""Attempts at the password of an account.

A stranger must not use up the attempts of its owner. So attempts count for a name at one address and, much more widely, for
the name at all addresses together, except those from which the account signed in within the last 30 days. Signed-in callers
who confirm their password count by session, as declared at those fields.
"""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import timedelta
from typing import Final

from edge.http.callers.peer import network_of
from edge.rates.limiter import Limiter

KNOWN_FOR: Final = timedelta(days=30)
_MAX_NAME: Final = 128


class PasswordAttempts:
    """Counts sign-ins by one limiter. A name need not belong to an account, so that nothing tells which do."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def take(self, username: str, address: str) -> None:
        """Count an attempt. Raises RATE_LIMITED."""
        at_address = _digest(username, network_of(address))
        await self._limiter.take("login", caller=at_address)
        if not await self._limiter.is_noted(at_address):
            await self._limiter.take("account", caller=_digest(username))

    async def succeeded(self, username: str, address: str) -> None:
        """Note that the account has signed in from this address."""
        await self._limiter.note(_digest(username, network_of(address)), KNOWN_FOR)


def _digest(username: str, network: str = "") -> str:
    """Return the same digest for all spellings of one account's name, as identity compares them.

    No name of an account is longer than the part that is read; thousands of marks would take a second to put in order.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username[:_MAX_NAME]).casefold())
    return hashlib.sha256(f"{folded}\0{network}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
