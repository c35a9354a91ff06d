"""Looking a player up in identity: whether they exist, and whether they are blocked.

The players of a group of actions share one call. Every action looks its player up, so that a block holds from the moment it is
acknowledged. Must never keep a player from playing because identity does not respond: then the last known block holds, and
an unknown one does not. A blocked player has no session and is on no board in any case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from cachetools import LRUCache
from topten.identity.v1 import identity_pb2, identity_service_pb2

from services.runtime.auth.service_token import ServiceToken
from services.runtime.errors import RETRY_AFTER, Reason, ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

MAX_USERS: Final = 100
MAX_BLOCKS: Final = 10_000
CALL_SECONDS: Final = 1.0
# After a failed call, last known blocks are used for this long before the next attempt.
RETRY_SECONDS: Final = 1.0
_ERASED: Final = identity_pb2.User()
"""Stands for a player whose account was erased."""
_log = structlog.get_logger("player_lookup")


class Player(NamedTuple):
    """What is known of a player: their block, their country, and whether their account was erased.

    `missing` says why nobody may act for them: PLAYER_NOT_FOUND, or UNAVAILABLE while identity does not respond.
    """

    block: identity_pb2.Block | None = None
    country: str = ""
    is_erased: bool = False
    missing: ServiceError | None = None


class PlayerLookup:
    """Looks players up, in batches. Use from one event loop."""

    def __init__(
        self,
        identity: IdentityServiceAsyncStub,
        token: ServiceToken,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity = identity
        self._token = token
        self._clock = clock
        self._away_until = float("-inf")
        self._blocks: LRUCache[str, identity_pb2.Block] = LRUCache(MAX_BLOCKS)

    def forget(self) -> None:
        """Drop the last known blocks: identity has other data."""
        self._blocks.clear()

    async def players(self, user_ids: Iterable[str]) -> dict[str, Player]:
        """Return what is known of each player. Raises nothing: if identity does not respond, their last known block."""
        wanted = list(user_ids)
        if self._clock() < self._away_until:
            return {user_id: self._last_known(user_id) for user_id in wanted}
        try:
            pages = [self._users(wanted[start : start + MAX_USERS]) for start in range(0, len(wanted), MAX_USERS)]
            users = [user for page in await asyncio.gather(*pages) for user in page]
        except ServiceError as error:
            self._away_until = self._clock() + RETRY_SECONDS
            _log.warning("blocks unknown", reason=error.reason)
            return {user_id: self._last_known(user_id) for user_id in wanted}
        return {user_id: self._player_of(user_id, user) for user_id, user in zip(wanted, users, strict=True)}

    async def find(self, user_id: str) -> identity_pb2.User | None:
        """Return the player, or None if no account has the id. Raises UNAVAILABLE."""
        (user,) = await self._users([user_id])
        return None if user is _ERASED else user

    def _player_of(self, user_id: str, user: identity_pb2.User | None) -> Player:
        if user is None or user is _ERASED:
            self._blocks.pop(user_id, None)
            missing = ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
            return Player(is_erased=user is _ERASED, missing=missing)
        if not user.HasField("block"):
            self._blocks.pop(user_id, None)
            return Player(country=user.country)
        self._blocks[user_id] = user.block
        return Player(user.block, user.country)

    def _last_known(self, user_id: str) -> Player:
        """Return the block that the last successful lookup of the player found, unless it has expired."""
        block = self._blocks.get(user_id)
        if block is not None and block.HasField("expires_at") and block.expires_at.seconds <= time.time():
            block = None
        message = "Whether the player exists could not be checked. Nothing was recorded; send the action again."
        return Player(block, missing=ServiceError(Reason.UNAVAILABLE, message, retry_after=RETRY_AFTER))

    async def _users(self, user_ids: Sequence[str]) -> list[identity_pb2.User | None]:
        request = identity_service_pb2.GetUsersRequest(user_ids=list(dict.fromkeys(user_ids)))
        response = await call(self._identity.GetUsers, request, token=await self._token.get(), timeout=CALL_SECONDS)
        users = {user.user_id: user for user in response.users} | dict.fromkeys(response.erased_user_ids, _ERASED)
        return [users.get(user_id) for user_id in user_ids]
