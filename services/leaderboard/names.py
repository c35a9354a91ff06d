"""Who a user id is: names and countries from identity, remembered for a while.

Must never hold a frame up for long: what can't be had right now is shown as unknown and asked for again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from topten.identity.v1 import identity_service_pb2

from services.runtime.errors import ServiceError
from services.runtime.grpc_client import call
from services.runtime.service_token import ServiceToken

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

MAX_NAMES: Final = 100_000
MAX_ASKED: Final = 100
SECONDS: Final = 1.0
_log = structlog.get_logger("names")


@dataclass(frozen=True, slots=True)
class Name:
    """What a board shows of a player; `known` is False where identity could not be asked."""

    username: str
    country: str
    known: bool = True


@dataclass(slots=True)
class _Remembered:
    name: Name
    until: float


class Names:
    """Looks names up, those that are missing in one call of up to 100."""

    def __init__(
        self,
        identity: IdentityServiceAsyncStub,
        token: ServiceToken,
        *,
        ttl: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity = identity
        self._token = token
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._names: OrderedDict[str, _Remembered] = OrderedDict()

    async def of(self, user_ids: Iterable[str]) -> Mapping[str, Name]:
        """A name for each id. One that nobody has, or that can't be had now, is `player-` and the id's first letters."""
        wanted = list(dict.fromkeys(user_ids))
        now = self._clock()
        missing = [user_id for user_id in wanted if (held := self._names.get(user_id)) is None or held.until <= now]
        for start in range(0, len(missing), MAX_ASKED):
            await self._ask(missing[start : start + MAX_ASKED])
        found = {user_id: self._name(user_id) for user_id in wanted}
        while len(self._names) > MAX_NAMES:
            self._names.popitem(last=False)
        return found

    async def _ask(self, user_ids: list[str]) -> None:
        request = identity_service_pb2.GetUsersRequest(user_ids=user_ids)
        try:
            answer = await call(self._identity.GetUsers, request, token=await self._token.get(), timeout=SECONDS)
        except ServiceError as error:
            _log.warning("no names", players=len(user_ids), reason=error.reason)
            return
        until = self._clock() + self._ttl
        users = {user.user_id: Name(user.username, user.country) for user in answer.users}
        for user_id in user_ids:
            self._names[user_id] = _Remembered(users.get(user_id, _unknown(user_id, known=True)), until)

    def _name(self, user_id: str) -> Name:
        held = self._names.get(user_id)
        if held is None:
            return _unknown(user_id, known=False)
        self._names.move_to_end(user_id)
        return held.name


def _unknown(user_id: str, *, known: bool) -> Name:
    return Name(f"player-{user_id[-6:]}", "", known)
