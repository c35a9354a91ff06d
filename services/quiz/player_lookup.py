"""Looking a player up in identity: whether they exist, and whether they are blocked.

The players of a group of actions share one call. Every action looks its player up, so that a block holds from the moment it is
acknowledged. Must never keep a player from playing because identity does not respond: then the last known block holds, and
an unknown one does not. A blocked player has no session and is on no board in any case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from cachetools import LRUCache
from topten.identity.v1 import identity_pb2, identity_service_pb2

from services.runtime.auth.service_token import ServiceToken
from services.runtime.errors import RETRY_AFTER, Reason, ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

MAX_PLAYERS: Final = 200
MAX_BLOCKS: Final = 10_000
CALL_SECONDS: Final = 1.0
# After a failed call, last known blocks are used for this long before the next attempt.
RETRY_SECONDS: Final = 1.0
_log = structlog.get_logger("player_lookup")


class Player(NamedTuple):
    """A player as identity knows them: their block, their country, and whether their account was erased.

    `missing` is the reason for which their actions are refused: PLAYER_NOT_FOUND, or UNAVAILABLE while identity does not
    respond.
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
        now: Callable[[], datetime],
    ) -> None:
        self._identity = identity
        self._token = token
        self._now = now
        self._away_until = float("-inf")
        self._blocks: LRUCache[str, identity_pb2.Block] = LRUCache(MAX_BLOCKS)

    def forget(self) -> None:
        """Drop the last known blocks: identity has other data."""
        self._blocks.clear()

    async def players(self, user_ids: Iterable[str]) -> dict[str, Player]:
        """Return what is known of each player. Raises nothing: if identity does not respond, their last known block."""
        wanted = list(dict.fromkeys(user_ids))
        if time.monotonic() < self._away_until:
            return {user_id: self._last_known(user_id) for user_id in wanted}
        try:
            starts = range(0, len(wanted), MAX_PLAYERS)
            pages = await asyncio.gather(*(self._check(wanted[start : start + MAX_PLAYERS]) for start in starts))
        except ServiceError as error:
            self._away_until = time.monotonic() + RETRY_SECONDS
            _log.warning("blocks unknown", reason=error.reason)
            return {user_id: self._last_known(user_id) for user_id in wanted}
        players = {user_id: player for page in pages for user_id, player in page.items()}
        for user_id, player in players.items():
            if player.block is not None:
                self._blocks[user_id] = player.block
            else:
                self._blocks.pop(user_id, None)
        return players

    async def find(self, user_id: str) -> identity_pb2.User | None:
        """Return the player, or None if no account has the id. Raises UNAVAILABLE."""
        request = identity_service_pb2.GetUsersRequest(user_ids=[user_id])
        response = await call(self._identity.GetUsers, request, token=await self._token.get(), timeout=CALL_SECONDS)
        return next(iter(response.users), None)

    def _last_known(self, user_id: str) -> Player:
        """Return the block that the last successful lookup of the player found, unless it has expired."""
        block = self._blocks.get(user_id)
        if block is not None and block.HasField("expires_at") and block.expires_at.ToDatetime(UTC) <= self._now():
            block = None
        message = "The player could not be looked up. Nothing was recorded. Send the action again."
        return Player(block, missing=ServiceError(Reason.UNAVAILABLE, message, retry_after=RETRY_AFTER))

    async def _check(self, user_ids: Sequence[str]) -> dict[str, Player]:
        request = identity_service_pb2.CheckPlayersRequest(user_ids=user_ids)
        told = await call(self._identity.CheckPlayers, request, token=await self._token.get(), timeout=CALL_SECONDS)
        players = {user_id: Player(country=told.countries.get(user_id, "")) for user_id in user_ids}
        for each in told.blocked:
            players[each.user_id] = Player(each.block, told.countries.get(each.user_id, ""))
        for user_id in (*told.unknown_user_ids, *told.erased_user_ids):
            missing = ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
            players[user_id] = Player(is_erased=user_id in told.erased_user_ids, missing=missing)
        return players
