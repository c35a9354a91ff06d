"""Ranks of players before a write to a sharded board, where the script of one key sees only its own shard.

They are counted over all keys right before the write, for players who may be in the head after it. A batch of another
worker in between is not counted: the rank is the one at the start of this write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from redis.asyncio import Redis

from services.boards.sharding import COUNT_BEFORE, Shard
from services.runtime.stores.redis_scripts import Script
from services.score.projection.standings import Standing

# KEYS  one key of the board
# ARGV  size of the head, JSON [[id, new value], …]
# Returns id, current value and rank on this key, flattened, of players who may be in the head with another value.
_FIND: Final = """
local last = redis.call('ZREVRANGE', KEYS[1], ARGV[1] - 1, ARGV[1] - 1, 'WITHSCORES')
local threshold = last[2] and tonumber(last[2]) or 0
local players = {}
for _, pair in ipairs(cjson.decode(ARGV[2])) do
  if pair[2] > 0 and pair[2] >= threshold then
    local value = redis.call('ZSCORE', KEYS[1], pair[1])
    if value and tonumber(value) ~= pair[2] then
      players[#players + 1] = pair[1]
      players[#players + 1] = value
      players[#players + 1] = redis.call('ZREVRANK', KEYS[1], pair[1])
    end
  end
end
return players
"""
# KEYS  one key of the board
# ARGV  values and ids, alternating
_COUNT: Final = f"""{COUNT_BEFORE}
local counts = {{}}
for i = 1, #ARGV, 2 do counts[#counts + 1] = before(ARGV[i], ARGV[i + 1]) end
return counts
"""


class PreviousRanks:
    """Reads ranks from Redis. The driver's errors are not translated."""

    def __init__(self, redis: Redis, head: int) -> None:
        self._head = head
        self._find = Script(redis, _FIND, reads_only=True)
        self._count = Script(redis, _COUNT, reads_only=True)

    async def of(self, shards: Sequence[Shard], members: Mapping[Shard, Sequence[Standing]]) -> dict[str, int]:
        """Return the ranks, from 1 and by user id, of those members whose previous rank the write has to store."""
        written = {shard: orjson.dumps([(each.user_id, each.value) for each in ids]) for shard, ids in members.items()}
        replies = await self._find.run([((shard.key,), (self._head, pairs)) for shard, pairs in written.items()])
        ranks: dict[str, int] = {}
        # On every other key: how many members are ahead of the player.
        counts_needed: dict[Shard, list[tuple[str, str]]] = {shard: [] for shard in shards}
        for shard, reply in zip(written, replies, strict=True):
            for user_id, value, rank in _triples(reply):
                ranks[user_id] = rank + 1
                for other in shards:
                    if other != shard:
                        counts_needed[other].append((value, user_id))
        if ranks:
            calls = [
                ((shard.key,), [text for pair in pairs for text in pair]) for shard, pairs in counts_needed.items()
            ]
            for pairs, counts in zip(counts_needed.values(), await self._count.run(calls), strict=True):
                for (_, user_id), count in zip(pairs, counts, strict=True):
                    ranks[user_id] += int(count)
        return ranks


def _triples(reply: Sequence[Any]) -> list[tuple[str, str, int]]:
    return [(reply[n].decode(), reply[n + 1].decode(), int(reply[n + 2])) for n in range(0, len(reply), 3)]
