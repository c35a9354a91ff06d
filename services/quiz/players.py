"""Who a player is to identity: whether there is one, and whether he is blocked.

All who ask at the same moment share one call. Asked anew for each action, so that a block holds from the moment it is
acknowledged. Must never keep a player from playing because identity does not answer: then the last block that it told of
holds, and one that it did not tell of yet is not known; a blocked player's session is ended, and he is on no board, in any
case.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog
from topten.identity.v1 import identity_pb2, identity_service_pb2

from services.runtime.errors import Reason, ServiceError
from services.runtime.gathered import Gathered
from services.runtime.grpc_client import call
from services.runtime.service_token import ServiceToken

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

MAX_ASKED: Final = 100
MAX_CALLS: Final = 4
MAX_BLOCKS: Final = 10_000
CALL_SECONDS: Final = 1.0
# After a failed call nobody waits for another for this long.
PAUSE_SECONDS: Final = 1.0
_ERASED: Final = identity_pb2.User()
"""Stands for whoever erased his account."""
_log = structlog.get_logger("players")


class Players:
    """Looks players up. Use from one event loop."""

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
        self._asked: Gathered[str, identity_pb2.User | None] = Gathered(
            "players", self._users, most=MAX_ASKED, at_once=MAX_CALLS
        )
        self._silent_until = float("-inf")
        self._blocks: OrderedDict[str, identity_pb2.Block] = OrderedDict()

    async def block(self, user_id: str) -> identity_pb2.Block | None:
        """What keeps the player from playing, if it is known that something does.

        Raises UNAUTHENTICATED for one whose account is erased.
        """
        if self._clock() < self._silent_until:
            return self._last_block(user_id)
        try:
            user = await self._asked(user_id)
        except ServiceError as error:
            self._silent_until = self._clock() + PAUSE_SECONDS
            _log.warning("blocks are not known at this moment", reason=error.reason)
            return self._last_block(user_id)
        if user is _ERASED:
            raise ServiceError(Reason.UNAUTHENTICATED, "The account is deleted.")
        block = user.block if user is not None and user.HasField("block") else None
        self._blocks.pop(user_id, None)
        if block is not None:
            self._blocks[user_id] = block
            if len(self._blocks) > MAX_BLOCKS:
                self._blocks.popitem(last=False)
        return block

    async def find(self, user_id: str) -> identity_pb2.User | None:
        """The player as identity has him; None if there is none. Raises UNAVAILABLE."""
        user = await self._asked(user_id)
        return None if user is _ERASED else user

    def _last_block(self, user_id: str) -> identity_pb2.Block | None:
        """The block that identity told of when the player was asked for last, if it is not over."""
        block = self._blocks.get(user_id)
        is_over = block is not None and block.HasField("expires_at") and block.expires_at.seconds <= time.time()
        return None if is_over else block

    async def _users(self, user_ids: Sequence[str]) -> list[identity_pb2.User | None]:
        request = identity_service_pb2.GetUsersRequest(user_ids=list(dict.fromkeys(user_ids)))
        answer = await call(self._identity.GetUsers, request, token=await self._token.get(), timeout=CALL_SECONDS)
        found = {user.user_id: user for user in answer.users} | dict.fromkeys(answer.erased_user_ids, _ERASED)
        return [found.get(user_id) for user_id in user_ids]
