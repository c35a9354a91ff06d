"""The ranks that players have before a write to a board of several keys, of which the script of one key sees only its own.

They are counted over all keys right before the write, for those who can be in the head after it. A batch of another worker
that comes in between is counted in neither: the rank is the one that the player had when this write began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from redis.asyncio import Redis

from services.runtime.redis_scripts import Script
from services.runtime.split import COUNT_BEFORE, Part
from services.score.standings import Standing

# KEYS a key of the board   ARGV the place down to which it matters, JSON [[id, new value], …]
# Returns id, value and rank on this key, in turn, of those who are there and may be in the head with another value.
_FIND: Final = """
local last = redis.call('ZREVRANGE', KEYS[1], ARGV[1] - 1, ARGV[1] - 1, 'WITHSCORES')
local threshold = last[2] and tonumber(last[2]) or 0
local found = {}
for _, pair in ipairs(cjson.decode(ARGV[2])) do
  if pair[2] > 0 and pair[2] >= threshold then
    local value = redis.call('ZSCORE', KEYS[1], pair[1])
    if value and tonumber(value) ~= pair[2] then
      found[#found + 1] = pair[1]
      found[#found + 1] = value
      found[#found + 1] = redis.call('ZREVRANK', KEYS[1], pair[1])
    end
  end
end
return found
"""
# KEYS a key of the board   ARGV values and ids in turn
_COUNT: Final = f"""{COUNT_BEFORE}
local counts = {{}}
for i = 1, #ARGV, 2 do counts[#counts + 1] = before(ARGV[i], ARGV[i + 1]) end
return counts
"""


class PreviousRanks:
    """Asks Redis; raises what the driver raises."""

    def __init__(self, redis: Redis, head: int) -> None:
        self._head = head
        self._find = Script(redis, _FIND, reads_only=True)
        self._count = Script(redis, _COUNT, reads_only=True)

    async def of(self, parts: Sequence[Part], members: Mapping[Part, Sequence[Standing]]) -> dict[str, int]:
        """The ranks from 1, by user id, of those of the members for whom the write has to know it."""
        written = {part: orjson.dumps([(each.user_id, each.value) for each in ids]) for part, ids in members.items()}
        answers = await self._find.run([((part.key,), (self._head, text)) for part, text in written.items()])
        ranks: dict[str, int] = {}
        asked: dict[Part, list[tuple[str, str]]] = {part: [] for part in parts}
        for part, found in zip(written, answers, strict=True):
            for user_id, value, rank in _triples(found):
                ranks[user_id] = rank + 1
                for other in parts:
                    if other != part:
                        asked[other].append((value, user_id))
        if ranks:
            calls = [((part.key,), [text for pair in pairs for text in pair]) for part, pairs in asked.items()]
            for pairs, counts in zip(asked.values(), await self._count.run(calls), strict=True):
                for (_, user_id), count in zip(pairs, counts, strict=True):
                    ranks[user_id] += int(count)
        return ranks


def _triples(found: Sequence[Any]) -> list[tuple[str, str, int]]:
    return [(found[n].decode(), found[n + 1].decode(), int(found[n + 2])) for n in range(0, len(found), 3)]
