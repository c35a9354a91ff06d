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
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

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
        self._rates = rates
        self._redis = redis
        self._shared = _counters(_shared(redis), rates)
        self._own = _counters(MemoryStore(options={"MAX_SIZE": MAX_CALLERS}), rates)
        self._paid: OrderedDict[str, _Paid] = OrderedDict()
        self._turns = asyncio.Semaphore(CONCURRENT)
        self._silent_until = float("-inf")

    async def ping(self) -> None:
        """Raises unless the Redis that the edges share answers."""
        await self._redis.ping()

    async def take(self, operation: str, *, caller: str = "", address: str = "", count: int = 1) -> Left | None:
        """Counts `count` of an operation for a caller and for an address, those that are given; what the first has left.

        Raises RATE_LIMITED where that is too many for one of them; the other was counted all the same.
        """
        rates = self._rates[operation]
        asked = [
            (operation, kind, who, rate, count)
            for kind, who, rate in (("caller", caller, rates.caller), ("address", address, rates.address))
            if rate is not None and who
        ]
        paid = [self._use_paid(*each) for each in asked]
        if None in paid:
            waited = (self._take(*each) for each, left in zip(asked, paid, strict=True) if left is None)
            found = iter(await asyncio.gather(*waited))
            paid = [left or next(found) for left in paid]
        return paid[0] if paid else None

    async def _take(self, operation: str, kind: str, who: str, rate: Rate, count: int) -> Left:
        if not _is_frequent(operation, kind, rate):
            return await self._count(operation, kind, who, rate, count)
        key = f"{operation}:{kind}:{who}"
        paid = self._paid.setdefault(key, _Paid())
        if len(self._paid) > MAX_CALLERS:
            self._paid.popitem(last=False)
        async with paid.turn:
            if paid.left < count:
                await self._pay(paid, operation, kind, who, rate, count)
            paid.left -= count
        return _left(operation, rate, paid)

    def _use_paid(self, operation: str, kind: str, who: str, rate: Rate, count: int) -> Left | None:
        """What is left if enough is paid; None if Redis is to be asked."""
        if not _is_frequent(operation, kind, rate):
            return None
        key = f"{operation}:{kind}:{who}"
        paid = self._paid.get(key)
        if paid is None or paid.left < count or paid.turn.locked():
            return None
        self._paid.move_to_end(key)
        paid.left -= count
        share = rate.count // rate.seconds
        if paid.left < share / 2 and paid.beyond >= share and not paid.is_fetching:
            paid.is_fetching = True
            spawn("rate ahead", self._fetch(paid, operation, kind, who, share))
        return _left(operation, rate, paid)

    async def _pay(self, paid: _Paid, operation: str, kind: str, who: str, rate: Rate, count: int) -> None:
        share = rate.count // rate.seconds
        ahead = await self._limit(operation, kind, who, count + share)
        if ahead.limited:
            paid.beyond = (await self._count(operation, kind, who, rate, count)).remaining
            paid.left += count
        else:
            paid.beyond = ahead.state.remaining
            paid.left += count + share

    async def _fetch(self, paid: _Paid, operation: str, kind: str, who: str, share: int) -> None:
        try:
            found = await self._limit(operation, kind, who, share)
            paid.beyond = found.state.remaining
            if not found.limited:
                paid.left += share
        finally:
            paid.is_fetching = False

    async def _count(self, operation: str, kind: str, who: str, rate: Rate, count: int) -> Left:
        found = await self._limit(operation, kind, who, count)
        if found.limited:
            rate_limited.labels(operation).inc()
            wait = timedelta(seconds=max(0.001, found.state.retry_after))
            raise ServiceError(Reason.RATE_LIMITED, f"Too many of this: {rate} at the most.", retry_after=wait)
        return Left(operation, rate, found.state.remaining, math.ceil(found.state.reset_after))

    async def _limit(self, operation: str, kind: str, who: str, count: int) -> RateLimitResult:
        counter = (operation, kind)
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


def _is_frequent(operation: str, kind: str, rate: Rate) -> bool:
    return rate.count >= 2 * rate.seconds and (operation == "query" or kind == "address")


def _left(operation: str, rate: Rate, paid: _Paid) -> Left:
    remaining = paid.left + paid.beyond
    return Left(operation, rate, remaining, math.ceil((rate.count - remaining) * rate.seconds / rate.count))


def _forget(asked: asyncio.Future[Any]) -> None:
    """Takes note of how an abandoned question ended, so that nobody is told of it."""
    if not asked.cancelled():
        asked.exception()
