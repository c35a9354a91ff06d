"""Which partitions a worker pulls from: each has its share of all workers that are alive.

Only for speed: that no two workers meet at the same player saves conflicts, and whoever counts a player is right. So it
needs no lease and no agreement. Workers are alive who have said so to Redis within the last seconds; if Redis does not
answer, everybody pulls from everything.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from services.runtime.redis_client import REDIS_ERRORS

KEY: Final = "topten:score:alive"
ALIVE_FOR: Final = timedelta(seconds=3)
# By the clock of Redis, so that no worker's own decides who is alive.
_ALIVE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


def share(worker_id: str, alive: Collection[str], partitions: int) -> list[int]:
    """The partitions of a worker. Every partition is somebody's, and nobody is without one; with more workers than
    partitions some have one in common.
    """
    workers = sorted({worker_id, *alive})
    place, many = workers.index(worker_id), len(workers)
    if many > partitions:
        return [place % partitions]
    return list(range(place, partitions, many))


class Shares:
    """Says that a worker is alive, and tells its share. To be asked about once a second."""

    def __init__(self, redis: Redis, worker_id: str) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._alive: Any = redis.register_script(_ALIVE)

    async def mine(self, partitions: int) -> list[int]:
        """This worker's partitions; all of them if Redis does not answer."""
        try:
            alive = await self._alive(keys=[KEY], args=[self._worker_id, round(ALIVE_FOR.total_seconds() * 1000)])
        except REDIS_ERRORS:
            return list(range(partitions))
        return share(self._worker_id, [member.decode() for member in alive], partitions)

    async def leave(self) -> None:
        """The others take over at once; if Redis does not answer, when they miss this worker."""
        try:
            await self._redis.zrem(KEY, self._worker_id)
        except REDIS_ERRORS:
            return
