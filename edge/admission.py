"""Players of outside issuers: each has an account at identity, made when he first comes, which says his name and country.

Must never ask for a player of our own, and never keep one out because identity does not answer once he is known.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from topten.identity.v1.identity_service_pb2 import AdmitPlayerRequest

from services.runtime.claims import Claims
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import call

if TYPE_CHECKING:
    from edge.upstreams import Upstreams

MAX_KNOWN: Final = 10_000
KNOWN_SECONDS: Final = 60.0


class _Known(NamedTuple):
    username: str
    country: str
    until: float


class Admission:
    """Asks identity, at most once a minute a player. Use from one event loop."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def admitted(self, claims: Claims, token: str) -> Claims:
        """The claims with the name and country that the account has. Raises UNAVAILABLE for who is not known yet."""
        if not claims.issuer:
            return claims
        known = self._known.get(claims.user_id)
        if known is None or known.until <= time.monotonic():
            try:
                known = await self._ask(claims.user_id, token)
            except ServiceError as error:
                if known is None or error.reason is not Reason.UNAVAILABLE:
                    raise
        return replace(claims, username=known.username, country=known.country)

    async def _ask(self, user_id: str, token: str) -> _Known:
        user = (await call(self._upstreams.identity.AdmitPlayer, AdmitPlayerRequest(), token=token)).user
        known = self._known[user_id] = _Known(user.username, user.country, time.monotonic() + KNOWN_SECONDS)
        self._known.move_to_end(user_id)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return known
