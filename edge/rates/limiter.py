"""Counting what is done, in Redis, so that all edges together keep to one rate (GCRA, as the library throttled has it).

Questions, and everything that many do from one address, are paid for a second's worth at a time: what was paid and not
used yet stays with this process, and the next part is fetched before it is spent, so that hardly anybody waits for Redis.
No more is ever done than was paid. While Redis does not answer, each process counts for itself.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from throttled.asyncio import RateLimitResult, Throttled
from throttled.asyncio.rate_limiter import per_duration
from throttled.asyncio.store import BaseStore, MemoryStore, RedisStore
from throttled.exceptions import BaseThrottledError

from edge.rates.rates import Rate, Rates
from services.runtime.errors import Reason, ServiceError
from services.runtime.lifecycle import spawn
from services.runtime.redis_client import REDIS_ERRORS, redis_client
from services.runtime.settings import RedisConfig

ANSWER_SECONDS: Final = 0.25
# After Redis did not answer it is not asked for this long.
PAUSE_SECONDS: Final = 1.0
# As many questions at a time as one Redis is the better for, each on a connection of its own.
CONCURRENT: Final = 32
MAX_CALLERS: Final = 50_000
_PREFIX: Final = "topten:rate"
_log = structlog.get_logger("rates")
rate_limited = Counter("topten_rate_limited_total", "Requests that were refused as too many", ["operation"])


@dataclass(slots=True)
class Left:
    """What an operation has left after a request: of `rate`, so many at once, all of them again in so many seconds."""

    operation: str
    rate: Rate
    remaining: int
    reset_seconds: int


class _Limit(NamedTuple):
    """The rate of an operation for its caller or its address; `share` is what is paid for ahead, 0 for nothing."""

    operation: str
    kind: str
    rate: Rate
    share: int


class _Paid:
    """Paid and not used yet; `beyond` is what Redis had left then. Who pays has the `turn`."""

    __slots__ = ("beyond", "is_fetching", "left", "turn")

    def __init__(self) -> None:
        self.left = 0
        self.beyond = 0
        self.is_fetching = False
        self.turn = asyncio.Lock()


class Limiter:
    """Refuses what is done too often. Use from one event loop."""

    def __init__(self, redis: Redis, rates: Mapping[str, Rates]) -> None:
        self._limits = {operation: _limits(operation, both) for operation, both in rates.items()}
        self._redis = redis
        self._shared = _counters(_shared(redis), rates)
        self._own = _counters(MemoryStore(options={"MAX_SIZE": MAX_CALLERS}), rates)
        self._paid: OrderedDict[tuple[_Limit, str], _Paid] = OrderedDict()
        self._turns = asyncio.Semaphore(CONCURRENT)
        self._silent_until = float("-inf")

    async def ping(self) -> None:
        """Raises unless the Redis that the edges share answers."""
        await self._redis.ping()

    async def take(self, operation: str, *, caller: str = "", address: str = "", count: int = 1) -> Left | None:
        """Counts `count` of an operation for a caller and for an address, those that are given; what the first has left.

        Raises RATE_LIMITED where that is too many for one of them; the other was counted all the same.
        """
        left = self.take_paid(operation, caller=caller, address=address, count=count)
        if left is None:
            asked = self._asked(operation, caller, address)
            left = await asyncio.gather(*(self._take(limit, who, count) for limit, who in asked))
        return left[0] if left else None

    def take_paid(self, operation: str, *, caller: str, address: str, count: int) -> Sequence[Left] | None:
        """What each has left, at once, if all of it is paid for; else None, and nothing is counted."""
        asked = self._asked(operation, caller, address)
        paid = []
        for key in asked:
            found = self._paid.get(key)
            if found is None or found.left < count or found.turn.locked():
                return None
            paid.append(found)
        return [self._use(key, found, count) for key, found in zip(asked, paid, strict=True)]

    def _asked(self, operation: str, caller: str, address: str) -> list[tuple[_Limit, str]]:
        asked = ((limit, caller if limit.kind == "caller" else address) for limit in self._limits[operation])
        return [(limit, who) for limit, who in asked if who]

    async def _take(self, limit: _Limit, who: str, count: int) -> Left:
        if not limit.share:
            return await self._count(limit, who, count)
        paid = self._paid.setdefault((limit, who), _Paid())
        if len(self._paid) > MAX_CALLERS:
            self._paid.popitem(last=False)
        async with paid.turn:
            if paid.left < count:
                await self._pay(paid, limit, who, count)
            paid.left -= count
        return _left(limit, paid)

    def _use(self, key: tuple[_Limit, str], paid: _Paid, count: int) -> Left:
        """Uses what is paid, and has the next part fetched before it is spent."""
        limit, who = key
        self._paid.move_to_end(key)
        paid.left -= count
        if paid.left < limit.share / 2 and paid.beyond >= limit.share and not paid.is_fetching:
            paid.is_fetching = True
            spawn("rate ahead", self._fetch(paid, limit, who))
        return _left(limit, paid)

    async def _pay(self, paid: _Paid, limit: _Limit, who: str, count: int) -> None:
        ahead = await self._limit(limit, who, count + limit.share)
        if ahead.limited:
            paid.beyond = (await self._count(limit, who, count)).remaining
            paid.left += count
        else:
            paid.beyond = ahead.state.remaining
            paid.left += count + limit.share

    async def _fetch(self, paid: _Paid, limit: _Limit, who: str) -> None:
        try:
            found = await self._limit(limit, who, limit.share)
            paid.beyond = found.state.remaining
            if not found.limited:
                paid.left += limit.share
        finally:
            paid.is_fetching = False

    async def _count(self, limit: _Limit, who: str, count: int) -> Left:
        found = await self._limit(limit, who, count)
        if found.limited:
            rate_limited.labels(limit.operation).inc()
            wait = timedelta(seconds=max(0.001, found.state.retry_after))
            raise ServiceError(Reason.RATE_LIMITED, f"Too many of this: {limit.rate} at the most.", retry_after=wait)
        return Left(limit.operation, limit.rate, found.state.remaining, math.ceil(found.state.reset_after))

    async def _limit(self, limit: _Limit, who: str, count: int) -> RateLimitResult:
        counter = (limit.operation, limit.kind)
        async with self._turns:
            found = await self._ask_redis(counter, who, count)
        return found or await self._own[counter].limit(who, cost=count)

    async def _ask_redis(self, counter: tuple[str, str], who: str, count: int) -> RateLimitResult | None:
        """What Redis says; None if it does not."""
        if time.monotonic() < self._silent_until:
            return None
        # Waited for, not cancelled by a timeout: before Python 3.12 the driver can swallow a cancellation.
        asking = asyncio.ensure_future(self._shared[counter].limit(who, cost=count))
        asking.add_done_callback(_forget)
        try:
            await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
            if asking.done():
                return asking.result()
            why = "Timeout"
        except (BaseThrottledError, *REDIS_ERRORS) as error:
            why = type(error).__name__
        finally:
            asking.cancel()
        now = time.monotonic()
        if now >= self._silent_until:
            _log.warning("rates are counted by this process alone", error=why)
        self._silent_until = now + PAUSE_SECONDS
        return None


@asynccontextmanager
async def open_limiter(redis: RedisConfig, rates: Mapping[str, Rates]) -> AsyncIterator[Limiter]:
    """A limiter whose edges share this Redis; it need not be there."""
    timeouts = {"socket_timeout": 2 * ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS}
    async with redis_client(redis, "edge-rates", **timeouts) as client:
        yield Limiter(client, rates)


def _shared(redis: Redis) -> BaseStore:
    store = RedisStore()
    # It can only make a client of its own, from a URL that it reads in its own way.
    backend: Any = store._backend  # noqa: SLF001  # the driver has no public name for it
    backend._client = redis  # noqa: SLF001  # the driver has no public name for it
    return store


def _counters(store: BaseStore, rates: Mapping[str, Rates]) -> dict[tuple[str, str], Throttled]:
    return {
        (operation, kind): Throttled(
            using="gcra",
            quota=per_duration(timedelta(seconds=rate.seconds), rate.count),
            store=store,
            key_prefix=f"{_PREFIX}:{operation}:{kind}",
        )
        for operation, both in rates.items()
        for kind, rate in (("caller", both.caller), ("address", both.address))
        if rate is not None
    }


def _limits(operation: str, rates: Rates) -> list[_Limit]:
    """Those of an operation that there are: of its caller, then of its address."""
    return [
        _Limit(operation, kind, rate, rate.count // rate.seconds if _is_frequent(operation, kind, rate) else 0)
        for kind, rate in (("caller", rates.caller), ("address", rates.address))
        if rate is not None
    ]


def _is_frequent(operation: str, kind: str, rate: Rate) -> bool:
    return rate.count >= 2 * rate.seconds and (operation == "query" or kind == "address")


def _left(limit: _Limit, paid: _Paid) -> Left:
    rate = limit.rate
    remaining = paid.left + paid.beyond
    return Left(limit.operation, rate, remaining, math.ceil((rate.count - remaining) * rate.seconds / rate.count))


def _forget(asked: asyncio.Future[Any]) -> None:
    """Takes note of how an abandoned question ended, so that nobody is told of it."""
    if not asked.cancelled():
        asked.exception()
