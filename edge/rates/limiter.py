"""Rate limits, counted in Redis, so that all edges together keep to one rate (GCRA, see `gcra`).

Queries, submissions, and everything that many do from one address, are prepaid a part at a time: what was counted and not
used yet stays with this process, and the next part is fetched before the last is spent, so that hardly anybody waits for
Redis. Never more is let through than was counted. While Redis does not answer, each process counts for itself.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from cachetools import LRUCache
from prometheus_client import Counter
from redis.asyncio import Redis

from edge.http.callers.peer import network_of
from edge.rates import gcra
from edge.rates.rates import UNITS, Rate, Rates
from services.runtime.config.settings import RedisConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.process.lifecycle import spawn
from services.runtime.stores.redis import REDIS_ERRORS, redis_client

_NOTE: Final = "topten:rate:note:v1:"
ANSWER_SECONDS: Final = 0.25
# How long Redis is not asked again after it did not answer.
PAUSE_SECONDS: Final = 1.0
# Requests to Redis at a time, each on its own connection; more would only wait there.
CONCURRENT: Final = 32
# Operations of which callers prepay a part. The others are few, or guard passwords.
_OFTEN: Final = frozenset({"query", "submit"})
MAX_CALLERS: Final = 50_000
_log = structlog.get_logger("rates")
rate_limited = Counter("topten_rate_limited_total", "Requests that were refused as too many", ["operation"])


@dataclass(slots=True)
class Left:
    """What an operation has left: `remaining` of `rate` at once, all of it again in `reset_seconds`.

    `policy` is the rate as an item of the header RateLimit-Policy.
    """

    operation: str
    rate: Rate
    policy: str
    remaining: int

    @property
    def reset_seconds(self) -> int:
        """Seconds until the whole rate is free again."""
        return math.ceil((self.rate.count - self.remaining) * self.rate.seconds / self.rate.count)


class _Prepaid:
    """Operations that were counted in advance; `beyond` is how many Redis had left. A caller that counts more holds `turn`."""

    __slots__ = ("beyond", "left", "turn")

    def __init__(self) -> None:
        self.left = 0
        self.beyond = 0
        self.turn = asyncio.Lock()


class _Limit:
    """The rate of an operation for each caller or each address; `ahead` is how much is prepaid at a time, 0 for nothing."""

    __slots__ = ("ahead", "operation", "policy", "prefix", "prepaid", "rate")

    def __init__(self, operation: str, kind: str, rate: Rate, ahead: int) -> None:
        self.operation = operation
        self.rate = rate
        self.ahead = ahead
        self.policy = f'"{operation}";q={rate.count};w={rate.seconds}'
        self.prefix = f"topten:rate:{operation}:{kind}:v1:gcra:"
        self.prepaid: LRUCache[str, _Prepaid] = LRUCache(MAX_CALLERS)

    def left(self, remaining: int) -> Left:
        """What this limit has left."""
        return Left(self.operation, self.rate, self.policy, remaining)


class Limiter:
    """Refuses what is done too often. Use from one event loop."""

    def __init__(self, redis: Redis, rates: Mapping[str, Rates]) -> None:
        self._limits = {operation: _limits(operation, both) for operation, both in rates.items()}
        self._redis = redis
        self._script = redis.register_script(gcra.SCRIPT)
        self._local: LRUCache[str, float] = LRUCache(MAX_CALLERS)
        self._turns = asyncio.Semaphore(CONCURRENT)
        self._silent_until = float("-inf")

    async def ping(self) -> None:
        """Raise unless the Redis that the edges share answers."""
        await self._redis.ping()

    async def take(self, operation: str, *, caller: str = "", address: str = "", count: int = 1) -> Left | None:
        """Count `count` of an operation for a caller and then the network of an address, those that are given.

        Returns what the first of them has left, None if neither has a limit. Raises RATE_LIMITED if it is too many for
        one of them; then nothing is counted for it and for what follows.
        """
        lefts = [
            await self._take(limit, who, count)
            for limit, who in zip(self._limits[operation], (caller, network_of(address)), strict=True)
            if limit is not None and who
        ]
        return lefts[0] if lefts else None

    async def note(self, key: str, lifetime: timedelta) -> None:
        """Keep a note for all edges, as far as Redis responds."""
        await self._ask_redis(lambda: self._redis.set(_NOTE + key, 1, ex=lifetime))

    async def is_noted(self, key: str) -> bool:
        """Return whether there is a note; False while Redis does not respond."""
        return bool(await self._ask_redis(lambda: self._redis.exists(_NOTE + key)))

    async def _take(self, limit: _Limit, who: str, count: int) -> Left:
        if not limit.ahead:
            return limit.left(await self._count(limit, who, count))
        prepaid = limit.prepaid.get(who)
        if prepaid is None:
            prepaid = limit.prepaid[who] = _Prepaid()
        if prepaid.left >= count:
            prepaid.left -= count
            if prepaid.left < limit.ahead / 2 and prepaid.beyond >= limit.ahead and not prepaid.turn.locked():
                spawn("rate ahead", self._prefetch(prepaid, limit, who))
        else:
            async with prepaid.turn:
                if prepaid.left < count:
                    await self._pay(prepaid, limit, who, count)
                prepaid.left -= count
        return limit.left(prepaid.left + prepaid.beyond)

    async def _pay(self, prepaid: _Prepaid, limit: _Limit, who: str, count: int) -> None:
        result = await self._ask(limit, who, count + limit.ahead)
        if result.is_refused:
            prepaid.beyond = await self._count(limit, who, count)
            prepaid.left += count
        else:
            prepaid.beyond = result.remaining
            prepaid.left += count + limit.ahead

    async def _prefetch(self, prepaid: _Prepaid, limit: _Limit, who: str) -> None:
        async with prepaid.turn:
            result = await self._ask(limit, who, limit.ahead)
            prepaid.beyond = result.remaining
            if not result.is_refused:
                prepaid.left += limit.ahead

    async def _count(self, limit: _Limit, who: str, count: int) -> int:
        """Count, and return how many remain. Raises RATE_LIMITED."""
        result = await self._ask(limit, who, count)
        if result.is_refused:
            rate_limited.labels(limit.operation).inc()
            raise _refusal(limit.rate, result.retry_after)
        return result.remaining

    async def _ask(self, limit: _Limit, who: str, count: int) -> gcra.Result:
        key, interval = limit.prefix + who, limit.rate.seconds / limit.rate.count
        answer = await self._ask_redis(
            lambda: self._script(keys=[key], args=(interval, limit.rate.count, count)),
        )
        if answer is not None:
            return gcra.Result(int(answer[0]), float(answer[1]))
        free_at, result = gcra.count(
            self._local.get(key, 0.0), time.monotonic(), interval=interval, burst=limit.rate.count, count=count
        )
        self._local[key] = free_at
        return result

    async def _ask_redis(self, command: Callable[[], Awaitable[Any]]) -> Any:
        """Return the answer of a command, None if there is none in time."""
        async with self._turns:
            if time.monotonic() < self._silent_until:
                return None
            # Not cancelled by a timeout: before Python 3.12 the driver can swallow a cancellation.
            asking = asyncio.ensure_future(command())
            asking.add_done_callback(_observe)
            try:
                await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
                if asking.done():
                    return asking.result()
                error = "TimeoutError"
            except REDIS_ERRORS as failure:
                error = type(failure).__name__
            finally:
                asking.cancel()
        now = time.monotonic()
        if now >= self._silent_until:
            _log.warning("rates counted by this process alone", error=error)
        self._silent_until = now + PAUSE_SECONDS
        return None


@asynccontextmanager
async def open_limiter(redis: RedisConfig, rates: Mapping[str, Rates]) -> AsyncIterator[Limiter]:
    """Open a limiter that shares this Redis with other edges; Redis need not be up."""
    timeouts = {"socket_timeout": 2 * ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS}
    async with redis_client(redis, "edge-rates", **timeouts) as client:
        yield Limiter(client, rates)


def _limits(operation: str, rates: Rates) -> tuple[_Limit | None, _Limit | None]:
    """The limit of an operation for callers and the one for addresses."""
    caller, address = rates
    return (
        None if caller is None else _Limit(operation, "caller", caller, _ahead_of_caller(operation, caller)),
        None if address is None else _Limit(operation, "address", address, _ahead(address)),
    )


def _ahead(rate: Rate) -> int:
    """Return how many operations are counted in advance: a second's worth, 0 of a rate below two a second."""
    return rate.count // rate.seconds if rate.count >= 2 * rate.seconds else 0


def _ahead_of_caller(operation: str, rate: Rate) -> int:
    """Return how many operations of one caller are counted in advance: only of those that callers repeat often.

    It is a second's worth or, of a lower rate, a twelfth if that is at least two: a small part, because a caller of several
    edges may be refused earlier by as much as the others have counted in advance.
    """
    if operation not in _OFTEN:
        return 0
    twelfth = rate.count // 12
    return _ahead(rate) or (twelfth if twelfth > 1 else 0)


def _refusal(rate: Rate, retry_after: float) -> ServiceError:
    seconds = max(0.001, retry_after)
    message = (
        f"Rate limit exceeded: {rate.count} requests per {UNITS[rate.seconds]}. Retry in {max(1, round(seconds))} s."
    )
    return ServiceError(Reason.RATE_LIMITED, message, retry_after=timedelta(seconds=seconds))


def _observe(asking: asyncio.Future[Any]) -> None:
    """Retrieve the exception of an abandoned request, so that asyncio does not report it."""
    if not asking.cancelled():
        asking.exception()
