"""Which partitions a worker pulls from: an even part of all, among the workers that are alive.

Only for speed: two workers that rarely meet the same player have few conflicts, but any worker may count any player. So it
needs no lease and no agreement. A worker reports to Redis until when it counts as alive unless it reports again: seconds while
it works, longer at rest. While Redis is unavailable, every worker pulls from every partition.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from services.runtime.process.activity import PROCESS
from services.runtime.stores.redis import REDIS_ERRORS

KEY: Final = "topten:score:alive_until"
ALIVE_FOR: Final = timedelta(seconds=3)
ALIVE_AT_REST_FOR: Final = timedelta(seconds=15)
# No worker that goes on working pauses for longer between two reports.
_MAX_PAUSE: Final = timedelta(seconds=2)
# By the clock of Redis, so that no worker's clock decides which workers are alive.
_REPORT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], 60000)
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


def assign(worker_id: str, alive: Collection[str], partitions: int) -> list[int]:
    """Return the partitions of a worker.

    Every partition is assigned, and every worker has one. With more workers than partitions, some share one.
    """
    workers = sorted({worker_id, *alive})
    index, count = workers.index(worker_id), len(workers)
    return [index % partitions] if count > partitions else list(range(index, partitions, count))


class PartitionAssignment:
    """Reports that a worker is alive and returns its partitions. To be called once a second, at rest every five."""

    def __init__(self, redis: Redis, worker_id: str) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._report: Any = redis.register_script(_REPORT)

    async def assigned_partitions(self, partitions: int) -> list[int]:
        """Return this worker's partitions; all of them while Redis is unavailable."""
        alive_for = ALIVE_FOR if PROCESS.works_for(_MAX_PAUSE.total_seconds()) else ALIVE_AT_REST_FOR
        try:
            alive = await self._report(keys=[KEY], args=[self._worker_id, round(alive_for.total_seconds() * 1000)])
        except REDIS_ERRORS:
            return list(range(partitions))
        return assign(self._worker_id, [member.decode() for member in alive], partitions)

    async def leave(self) -> None:
        """Hand the partitions over to other workers at once. While Redis is unavailable, they take over by time-out."""
        with suppress(*REDIS_ERRORS):
            await self._redis.zrem(KEY, self._worker_id)
