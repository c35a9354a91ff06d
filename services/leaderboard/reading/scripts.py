"""The Lua scripts that read one shard of a board, and the way they are run.

A script sees one moment of its shard. Its keys are the shard, its meta, its previous ranks and its metadata and, on a single
server, the generation and the sharding of all boards. Every reply begins with these two and the shard's generation and
version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from services.boards.board import GENERATION_KEY
from services.boards.sharding import COUNT_BEFORE, SHARDING_KEY, Shard, Sharding
from services.leaderboard.reading.deadline import Deadline
from services.leaderboard.reading.results import UnreadableError
from services.runtime.batcher import Batcher
from services.runtime.stores.redis import is_cluster
from services.runtime.stores.redis_scripts import Command, Script, each_of, in_order

_STATE: Final = """
local all = KEYS[5] and redis.call('MGET', KEYS[5], KEYS[6]) or {false, false}
local meta = redis.call('HMGET', KEYS[2], 'generation', 'version', 'shown')
"""
STATE_FIELDS: Final = 4
# Takes members and values in turn; returns the index (from 0) and previous rank, in turn, of each member that has one.
_PREVIOUS: Final = """
local function previous(found)
  local ids = {}
  for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
  local known = {}
  for i, rank in ipairs(#ids > 0 and redis.call('HMGET', KEYS[3], unpack(ids)) or {}) do
    if rank then
      known[#known + 1] = i - 1
      known[#known + 1] = rank
    end
  end
  return known
end
"""
# Takes members that are `step` apart; returns the metadata of each as it is stored, or false if the shard has none.
_SHOWN: Final = """
local function shown(found, step)
  if not meta[3] or #found == 0 then return false end
  local ids = {}
  for i = 1, #found, step do ids[#ids + 1] = found[i] end
  return redis.call('HMGET', KEYS[4], unpack(ids))
end
"""
# Returns the value of the member before an index (from 0), false for the first one.
_ABOVE: Final = """
local function above(index)
  return index > 0 and redis.call('ZREVRANGE', KEYS[1], index - 1, index - 1, 'WITHSCORES')[2] or false
end
"""
# ARGV: number of members
HEAD: Final = f"""{_STATE}{_PREVIOUS}{_SHOWN}
local found = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
return {{all[1], all[2], meta[1], meta[2], found, previous(found), shown(found, 2)}}
"""
# ARGV: user ids
STANDINGS: Final = f"""{_STATE}{_SHOWN}{_ABOVE}
local ranks, values, aboves = {{}}, {{}}, {{}}
for i, id in ipairs(ARGV) do
  ranks[i] = redis.call('ZREVRANK', KEYS[1], id)
  values[i] = redis.call('ZSCORE', KEYS[1], id)
  aboves[i] = ranks[i] and above(ranks[i])
end
local before = redis.call('HMGET', KEYS[3], unpack(ARGV))
return {{all[1], all[2], meta[1], meta[2], ranks, values, before, aboves, shown(ARGV, 1)}}
"""
# ARGV: number of members, and the value and id that the page follows (both empty for the first page)
PAGE: Final = f"""{_STATE}{_PREVIOUS}{_SHOWN}{COUNT_BEFORE}{_ABOVE}
local start = ARGV[2] == '' and 0 or before(ARGV[2], ARGV[3], true)
local found = redis.call('ZREVRANGE', KEYS[1], start, start + ARGV[1] - 1, 'WITHSCORES')
local total = redis.call('ZCARD', KEYS[1])
return {{all[1], all[2], meta[1], meta[2], total, start, found, previous(found), shown(found, 2), above(start)}}
"""
# ARGV: user id, number of neighbors on each side, and the player's value if they are on another shard (else empty)
AROUND: Final = f"""{_STATE}{_PREVIOUS}{_SHOWN}{COUNT_BEFORE}{_ABOVE}
local total = redis.call('ZCARD', KEYS[1])
local rank = ARGV[3] == '' and redis.call('ZREVRANK', KEYS[1], ARGV[1]) or ARGV[3] ~= '' and before(ARGV[3], ARGV[1])
if not rank then return {{all[1], all[2], meta[1], meta[2], total, 0, {{}}, {{}}, false, false}} end
local width = 2 * ARGV[2] + 1
local start = math.max(0, math.min(rank - ARGV[2], total - width))
local found = redis.call('ZREVRANGE', KEYS[1], start, start + width - 1, 'WITHSCORES')
return {{all[1], all[2], meta[1], meta[2], total, start, found, previous(found), shown(found, 2), above(start)}}
"""
# ARGV: value, and the user id to leave out
AHEAD: Final = f"""{_STATE}
local ahead = redis.call('ZCOUNT', KEYS[1], ARGV[1], '+inf')
local own = redis.call('ZSCORE', KEYS[1], ARGV[2])
if own and tonumber(own) >= tonumber(ARGV[1]) then ahead = ahead - 1 end
return {{all[1], all[2], meta[1], meta[2], ahead, redis.call('ZCARD', KEYS[1])}}
"""
# ARGV: values and user ids in turn
BEFORE: Final = f"""{_STATE}{COUNT_BEFORE}{_ABOVE}
local counts, aboves = {{}}, {{}}
for i = 1, #ARGV, 2 do
  local count = before(ARGV[i], ARGV[i + 1])
  counts[#counts + 1] = count
  aboves[#aboves + 1] = above(count)
end
return {{all[1], all[2], meta[1], meta[2], counts, aboves}}
"""
# ARGV: the first index, from 0, and the one after the last
SLICE: Final = f"""{_STATE}
local found = {{}}
if tonumber(ARGV[1]) < tonumber(ARGV[2]) then
  found = redis.call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[2] - 1, 'WITHSCORES')
end
return {{all[1], all[2], meta[1], meta[2], redis.call('ZCARD', KEYS[1]), found}}
"""
# ARGV: user ids, tens of thousands; returns a list for each thousand, because Lua unpacks only some thousand at once, and
# whether the shard has metadata
VALUES: Final = f"""{_STATE}
local values = {{}}
for i = 1, #ARGV, 1000 do
  values[#values + 1] = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
return {{all[1], all[2], meta[1], meta[2], values, meta[3]}}
"""
_ALL: Final = (HEAD, STANDINGS, PAGE, AROUND, AHEAD, BEFORE, SLICE, VALUES)
_ALL_BOARDS: Final = (GENERATION_KEY, SHARDING_KEY)
# Reads that arrive together, or while others are under way, share a round trip; one that takes long holds up nobody.
MAX_A_ROUND_TRIP: Final = 32
MAX_ROUND_TRIPS: Final = 4
PATIENCE_SECONDS: Final = 0.01
REBUILDING: Final = "the boards are being rebuilt"


class Replies(NamedTuple):
    """Generation and sharding of all boards, one reply a shard, and the versions of all shards after the last reply.

    A board of one shard has no `versions`: its reply holds them.
    """

    generation: bytes | None
    sharding: bytes
    shards: list[list[Any]]
    versions: list[Any]


class BoardScripts:
    """Runs scripts on shards, and holds the sharding last seen in Redis, as stored and parsed.

    A round trip that reads share ends after `timeout`, as each of them does.
    """

    def __init__(self, redis: Redis, sharding: Sharding, timeout: timedelta) -> None:
        self._redis = redis
        self._timeout = timeout.total_seconds()
        self._scripts = {source: Script(redis, source, reads_only=True) for source in _ALL}
        self._is_cluster = is_cluster(redis)
        # Of boards with one shard, on a server alone.
        self._reads: Batcher[Command, Any] = Batcher(
            "board reads",
            self._read,
            max_size=MAX_A_ROUND_TRIP,
            max_concurrent=MAX_ROUND_TRIPS,
            patience=PATIENCE_SECONDS,
        )
        # Encoded once, not by the driver for each command.
        self._keys = lru_cache(maxsize=4096)(self._keys_of)
        self.sharding = str(sharding).encode(), sharding

    def adopt(self, sharding: bytes) -> None:
        """Use this sharding from now on. Raises ValueError."""
        self.sharding = sharding, Sharding(sharding.decode())

    async def run(self, source: str, calls: Mapping[Shard, Sequence[Any]], shards: Sequence[Shard]) -> Replies:
        """Run a script on the shards in `calls`, with the arguments there; `shards` are all shards of the board.

        Raises UnreadableError if the boards are replaced meanwhile, and the driver's errors.
        """
        script = self._scripts[source]
        commands = [script.command(self._keys(shard), arguments) for shard, arguments in calls.items()]
        try:
            return await self._send(commands, shards)
        except NoScriptError:
            await script.load()
            return await self._send(commands, shards)

    async def _send(self, commands: Sequence[Command], shards: Sequence[Shard]) -> Replies:
        if len(shards) == 1 and not self._is_cluster:
            reply = await self._reads(commands[0])
            return Replies(reply[0], reply[1] or b"", [reply], [])
        versions = [("HGET", shard.meta_key, "version") for shard in shards] if len(shards) > 1 else []
        # A cluster may keep the generation on another server than the shard, so it is read before and after.
        state = [("MGET", *_ALL_BOARDS)] if self._is_cluster else []
        before, replies, versions_after, after = await in_order(self._redis, state, commands, versions, state)
        if before != after:
            raise UnreadableError(REBUILDING)
        generation, sharding = before[0] if before else replies[0][:2]
        return Replies(generation, sharding or b"", replies, versions_after)

    async def _read(self, commands: Sequence[Command]) -> Sequence[Any]:
        with Deadline(self._timeout):
            return await each_of(self._redis, commands)

    def _keys_of(self, shard: Shard) -> tuple[bytes, ...]:
        shared = () if self._is_cluster else _ALL_BOARDS
        return tuple(key.encode() for key in (shard.key, shard.meta_key, shard.previous_key, shard.shown_key, *shared))
