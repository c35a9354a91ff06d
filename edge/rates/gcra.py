"""GCRA, the generic cell rate algorithm: one number for each counter, the time at which all of its rate is free again.

See https://brandur.org/rate-limiting. The same arithmetic twice: as a script of Redis, for counters that edges share, and in
Python, for one process while Redis is away.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

# KEYS: the counter. ARGV: seconds for one, how many at once, how many now. Returns how many remain, and 0 or the seconds after
# which it may be tried again. Times count from 2025, so that a double holds them to the microsecond.
SCRIPT: Final = """
local interval, burst, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] - 1735660800 + time[2] / 1000000
local free_at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local free = burst + math.floor((now - free_at) / interval)
if free < count then return {math.max(0, free), tostring(free_at + (count - burst) * interval - now)} end
local next_free_at = free_at + count * interval
redis.call('SET', KEYS[1], next_free_at, 'EX', math.ceil(next_free_at - now))
return {free - count, '0'}
"""


class Result(NamedTuple):
    """How many remain, and after how many seconds to retry what was refused; 0 if it was counted."""

    remaining: int
    retry_after: float

    @property
    def is_refused(self) -> bool:
        """Whether nothing was counted."""
        return self.retry_after > 0


def count(free_at: float, now: float, *, interval: float, burst: int, count: int) -> tuple[float, Result]:
    """Count `count` at `now`; return the next `free_at` of the counter, which a refusal does not move, and the result."""
    free_at = max(now, free_at)
    free = burst + math.floor((now - free_at) / interval)
    if free < count:
        return free_at, Result(max(0, free), free_at + (count - burst) * interval - now)
    return free_at + count * interval, Result(free - count, 0.0)
