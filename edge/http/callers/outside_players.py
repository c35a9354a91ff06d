"""Players of outside issuers: identity keeps an account for each, which holds their name and country.

Must never ask identity about a player of our own, nor refuse a player whose account was read before because identity is
unavailable.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cachetools import LRUCache
from topten.identity.v1.identity_service_pb2 import AdmitPlayerRequest

from services.runtime.auth.claims import Claims
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from edge.upstreams import Upstreams

MAX_ACCOUNTS: Final = 10_000
FRESH_SECONDS: Final = 60.0


class _Account(NamedTuple):
    username: str
    country: str
    fresh_until: float


class OutsidePlayers:
    """Reads accounts from identity, each at most once a minute. Use from one event loop."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._accounts: LRUCache[str, _Account] = LRUCache(MAX_ACCOUNTS)

    async def with_account(self, claims: Claims, token: str) -> Claims:
        """Return an outside player's claims with the name and country of their account; other claims unchanged.

        Identity creates the account on the first request. Raises UNAVAILABLE if it must and cannot.
        """
        if not claims.issuer:
            return claims
        account = self._accounts.get(claims.user_id)
        if account is None or account.fresh_until <= time.monotonic():
            try:
                account = await self._read(claims.user_id, token)
            except ServiceError as error:
                if account is None or error.reason is not Reason.UNAVAILABLE:
                    raise
        return replace(claims, username=account.username, country=account.country)

    async def _read(self, user_id: str, token: str) -> _Account:
        user = (await call(self._upstreams.identity.AdmitPlayer, AdmitPlayerRequest(), token=token)).user
        account = self._accounts[user_id] = _Account(user.username, user.country, time.monotonic() + FRESH_SECONDS)
        return account
