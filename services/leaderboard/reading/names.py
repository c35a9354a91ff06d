"""Usernames and countries of players, from identity, cached for a while.

Concurrent lookups share calls. A cached name that has expired is shown until a lookup replaces it, also while identity is
away. Never delays a frame for long: a name that cannot be looked up in time is shown as unknown and looked up again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from cachetools import LRUCache
from prometheus_client import Counter
from topten.identity.v1 import identity_service_pb2

from services.boards.proofs.pseudonyms import ERASED_USERNAME, is_pseudonym
from services.runtime.auth.service_token import ServiceToken
from services.runtime.batcher import Batcher
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

MAX_PLAYERS_A_CALL: Final = 100
_MAX_LOOKUPS_A_BATCH: Final = 50
_CALL_SECONDS: Final = 2.0
# After a failed call identity is left alone for this long.
_RETRY_SECONDS: Final = 1.0
# An id without an account is looked up again after this long.
_UNKNOWN_ID_SECONDS: Final = 5.0

lookups = Counter("topten_leaderboard_name_lookups_total", "Players looked up at identity, by outcome", ["result"])
_found, _nobody, _failed = (lookups.labels(result) for result in ("found", "nobody", "failed"))
_log = structlog.get_logger("names")


class Name(NamedTuple):
    """What a board shows of a player. `known` is False if identity could not be asked yet."""

    username: str
    country: str
    known: bool = True


class _Cached(NamedTuple):
    name: Name
    expires_at: float


_ERASED: Final = Name(ERASED_USERNAME, "")
_NEVER_CACHED: Final = _Cached(Name("", ""), float("-inf"))


class Names:
    """Names by user id. `ttl` bounds the age of a name, `wait` the time of a lookup, `size` the number of cached names."""

    def __init__(
        self,
        identity: IdentityServiceAsyncStub,
        token: ServiceToken,
        *,
        ttl: timedelta,
        wait: timedelta,
        size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity = identity
        self._token = token
        self._ttl = ttl.total_seconds()
        self._wait = wait.total_seconds()
        self._clock = clock
        # Not a TTLCache, which drops a name when it expires.
        self._cache: LRUCache[str, _Cached] = LRUCache(size)
        self._look_up = Batcher("names", self._fetch_all, max_size=_MAX_LOOKUPS_A_BATCH)
        self._retry_at = float("-inf")

    async def of(self, user_ids: Collection[str]) -> Mapping[str, Name]:
        """Return a name for each id: `#` and the end of the id if there is no account or its name is not known yet.

        All erased players have the same name. No username contains a `#`, so nobody is taken for somebody else.
        """
        now = self._clock()
        names: dict[str, Name] = {}
        due: list[str] = []
        for user_id in user_ids:
            name, expires_at = self._cache.get(user_id, _NEVER_CACHED)
            if expires_at <= now:
                if is_pseudonym(user_id):
                    name = _ERASED
                else:
                    due.append(user_id)
            names[user_id] = name
        if due:
            if now >= self._retry_at:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wait):
                        await self._look_up(due)
            names.update({user_id: self._cached_or_unknown(user_id) for user_id in due})
        return names

    def forget(self, user_id: str) -> None:
        """Expire the player's name: it is shown until its next use looks it up again."""
        cached = self._cache.get(user_id)
        if cached is not None:
            self._cache[user_id] = cached._replace(expires_at=float("-inf"))

    async def _fetch_all(self, requests: Sequence[Sequence[str]]) -> Sequence[None]:
        now = self._clock()
        ids = [
            user_id
            for user_id in dict.fromkeys(chain.from_iterable(requests))
            # The batch before may have brought it.
            if self._cache.get(user_id, _NEVER_CACHED).expires_at <= now
        ]
        for start in range(0, len(ids), MAX_PLAYERS_A_CALL):
            if self._clock() >= self._retry_at:
                await self._fetch(ids[start : start + MAX_PLAYERS_A_CALL])
        return [None] * len(requests)

    async def _fetch(self, user_ids: Sequence[str]) -> None:
        request = identity_service_pb2.GetUsersRequest(user_ids=user_ids)
        try:
            response = await call(
                self._identity.GetUsers, request, token=await self._token.get(), timeout=_CALL_SECONDS
            )
        except ServiceError as error:
            self._retry_at = self._clock() + _RETRY_SECONDS
            _failed.inc(len(user_ids))
            _log.warning("name lookup failed", players=len(user_ids), reason=error.reason)
            return
        now = self._clock()
        users = {user.user_id: Name(user.username, user.country) for user in response.users}
        _found.inc(len(users))
        _nobody.inc(len(user_ids) - len(users))
        for user_id in user_ids:
            name = users.get(user_id)
            ttl = self._ttl if name else min(self._ttl, _UNKNOWN_ID_SECONDS)
            self._cache[user_id] = _Cached(name or Name(_short(user_id), ""), now + ttl)

    def _cached_or_unknown(self, user_id: str) -> Name:
        cached = self._cache.get(user_id)
        return Name(_short(user_id), "", known=False) if cached is None else cached.name


def _short(user_id: str) -> str:
    # The end of an id is its random part.
    return f"#{user_id[-6:]}"
