"""Who a user id is: names and countries from identity, remembered for a while.

One call for all that are missing, shared by everybody who waits for them. A name that is due for a second look is kept
until the look succeeds. Must never hold a frame up for long: what can't be had right now is shown as unknown and asked
for again.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Counter
from topten.identity.v1 import identity_service_pb2

from services.runtime import tracing
from services.runtime.erased import SHOWN_AS, is_pseudonym
from services.runtime.errors import ServiceError
from services.runtime.grpc_client import call
from services.runtime.lifecycle import spawn
from services.runtime.service_token import ServiceToken

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

MAX_ASKED: Final = 100
CALL_SECONDS: Final = 2.0
# After a failed call nobody is asked for this long; an id that nobody has is asked for again after as long as that.
RETRY_SECONDS: Final = 1.0
NOBODY_SECONDS: Final = 5.0

lookups = Counter("topten_leaderboard_name_lookups_total", "Players asked for at identity, by outcome", ["result"])
_found, _nobody, _failed = (lookups.labels(result) for result in ("found", "nobody", "failed"))
_log = structlog.get_logger("names")


@dataclass(frozen=True, slots=True)
class Name:
    """What a board shows of a player; `known` is False where identity could not be asked yet."""

    username: str
    country: str
    known: bool = True


_ERASED: Final = Name(SHOWN_AS, "")


@dataclass(slots=True)
class _Remembered:
    name: Name
    until: float


class Names:
    """Looks names up. `ttl` bounds how old a shown name is, `wait` how long a caller waits, `size` how many are kept."""

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
        self._size = size
        self._clock = clock
        self._names: OrderedDict[str, _Remembered] = OrderedDict()
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._ask_again_at = float("-inf")

    async def of(self, user_ids: Iterable[str]) -> Mapping[str, Name]:
        """A name for each id. For one that nobody has, or that can't be had now, it is `#` and the id's last letters.

        Who is erased has the same name everywhere. No username has a `#`, so that nobody is taken for another.
        """
        wanted = list(dict.fromkeys(user_ids))
        now = self._clock()
        due = [
            user_id
            for user_id in wanted
            if ((held := self._names.get(user_id)) is None or held.until <= now) and not is_pseudonym(user_id)
        ]
        if due:
            calls = self._ask(due, now)
            if calls:
                await asyncio.wait(calls, timeout=self._wait)
        return {user_id: self._name(user_id) for user_id in wanted}

    def forget(self, user_id: str) -> None:
        """What is known of this player is old: it is asked for again when it is needed, and shown until then."""
        held = self._names.get(user_id)
        if held is not None:
            held.until = float("-inf")

    def _ask(self, due: list[str], now: float) -> set[asyncio.Task[None]]:
        """The calls that will bring what is due, begun now if nobody did."""
        new = [user_id for user_id in due if user_id not in self._asked]
        if now >= self._ask_again_at:
            for start in range(0, len(new), MAX_ASKED):
                ids = new[start : start + MAX_ASKED]
                # Others wait for this call as well: the deadline of who happened to be the first is not theirs.
                task = contextvars.Context().run(spawn, "names", self._fetch(ids, tracing.carried()))
                self._asked |= dict.fromkeys(ids, task)
        return {self._asked[user_id] for user_id in due if user_id in self._asked}

    async def _fetch(self, user_ids: list[str], causes: Sequence[str]) -> None:
        request = identity_service_pb2.GetUsersRequest(user_ids=user_ids)
        try:
            with tracing.joined("names", "internal", causes, {}):
                answer = await call(
                    self._identity.GetUsers, request, token=await self._token.get(), timeout=CALL_SECONDS
                )
        except ServiceError as error:
            self._ask_again_at = self._clock() + RETRY_SECONDS
            _failed.inc(len(user_ids))
            _log.warning("no names", players=len(user_ids), reason=error.reason)
            return
        finally:
            for user_id in user_ids:
                del self._asked[user_id]
        now = self._clock()
        users = {user.user_id: Name(user.username, user.country) for user in answer.users}
        _found.inc(len(users))
        _nobody.inc(len(user_ids) - len(users))
        for user_id in user_ids:
            name = users.get(user_id)
            self._names[user_id] = _Remembered(
                name or Name(_sign(user_id), ""), now + (self._ttl if name else min(self._ttl, NOBODY_SECONDS))
            )
            self._names.move_to_end(user_id)
        while len(self._names) > self._size:
            self._names.popitem(last=False)

    def _name(self, user_id: str) -> Name:
        if is_pseudonym(user_id):
            return _ERASED
        held = self._names.get(user_id)
        if held is None:
            return Name(_sign(user_id), "", known=False)
        self._names.move_to_end(user_id)
        return held.name


def _sign(user_id: str) -> str:
    # The last letters of an id are the random ones.
    return f"#{user_id[-6:]}"
