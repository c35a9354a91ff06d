"""Sharding: boards that are too large for one Redis server, hashed over several keys. Pure.

    TOPTEN_BOARDS_KEYS="all=4; monthly=4; country:US=2; custom:asean=8"

makes `leaderboard:all` the four shards `leaderboard:all:0` to `leaderboard:all:3`, each in its own hash slot. The CRC-32
of a user id picks the player's shard. A board that is not listed is one key, under its published name. The writer stores
the sharding of the current generation in Redis, and readers follow it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from zlib import crc32

from services.boards.board import GENERATION_KEY, UNTIL_FREEZE, Board, parse_custom_name

MAX_KEYS: Final = 64
# In the hash slot of the generation, so that one command reads or writes both.
SHARDING_KEY: Final = f"{{{GENERATION_KEY}}}:keys"
_ENTRY: Final = re.compile(
    r"(all|weekly|monthly|country(?::[A-Z]{2})?|quiz(?::[a-z0-9][a-z0-9-]{0,63})?|custom:[a-z][a-z0-9-]{0,31})"
    r"\s*=\s*(\d{1,2})",
    re.ASCII,
)
# A Lua function: how many members of KEYS[1] rank before a value and id, whether or not that id is a member. `also`
# includes the id itself if it is a member with this value.
COUNT_BEFORE: Final = """
-- By bytes, as Redis orders members; the < of Lua depends on the server's locale.
local function less(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = one:byte(i), other:byte(i)
    if a ~= b then return a < b end
  end
  return #one < #other
end
local function before(value, id, also)
  local held = redis.call('ZSCORE', KEYS[1], id)
  if held and tonumber(held) == tonumber(value) then
    return redis.call('ZREVRANK', KEYS[1], id) + (also and 1 or 0)
  end
  local start = redis.call('ZCOUNT', KEYS[1], '(' .. value, '+inf')
  local stop = start + redis.call('ZCOUNT', KEYS[1], value, value)
  while start < stop do
    local middle = math.floor((start + stop) / 2)
    local there = redis.call('ZREVRANGE', KEYS[1], middle, middle)[1]
    if less(there, id) then stop = middle else start = middle + 1 end
  end
  return start
end
"""


class Shard(NamedTuple):
    """One key of a board: a sorted set, user id → value. Braces keep its auxiliary keys in its hash slot."""

    board: Board
    key: str

    @property
    def fence_key(self) -> str:
        """The fence of players whose value was lowered: user id → revision."""
        return f"{{{self.key}}}:fence"

    @property
    def meta_key(self) -> str:
        """The generation and version of the shard, and `shown` if it has metadata."""
        return f"{{{self.key}}}:meta"

    @property
    def previous_key(self) -> str:
        """The rank before each player's last counted action: user id → rank."""
        return f"{{{self.key}}}:previous"

    @property
    def shown_key(self) -> str:
        """The metadata that is shown of players: user id → revision of their standing, a space, and a JSON object.

        Nothing follows the space if the last standing has none. Exists only if `shown` of the meta is set.
        """
        return f"{{{self.key}}}:shown"


def shown_metadata(stored: bytes | None) -> str:
    """Return the metadata in a member of `shown_key`, a JSON object; empty if there is none."""
    return "" if stored is None else stored.partition(b" ")[2].decode()


class Sharding:
    """The number of keys of each board. Raises ValueError for a malformed text."""

    def __init__(self, text: str = "") -> None:
        self._keys: dict[str, int] = {}
        for entry in filter(None, (entry.strip() for entry in text.split(";"))):
            match = _ENTRY.fullmatch(entry)
            if match is None or not 1 <= int(match[2]) <= MAX_KEYS:
                raise ValueError(f"has {entry[:60]!r}, which is not <board>=<1 to {MAX_KEYS} keys>")
            if match[1] in self._keys:
                raise ValueError(f"has {match[1]} twice")
            self._keys[match[1]] = int(match[2])
        self.shards = lru_cache(maxsize=4096)(self._shards)

    def __str__(self) -> str:
        return "; ".join(f"{name}={keys}" for name, keys in sorted(self._keys.items()) if keys > 1)

    def shard_of(self, board: Board, user_id: str) -> Shard:
        """Return the shard that holds the player."""
        shards: tuple[Shard, ...] = self.shards(board)
        return shards[0] if len(shards) == 1 else shards[crc32(user_id.encode()) % len(shards)]

    def _shards(self, board: Board) -> tuple[Shard, ...]:
        """Return all shards of the board, in order."""
        series: str = board.kind
        if board.kind == "custom" and (custom := parse_custom_name(board.qualifier)) is not None:
            series = f"custom:{custom.name.removesuffix(UNTIL_FREEZE)}"
        keys = self._keys.get(board.of_readers.name) or self._keys.get(series, 1)
        if keys == 1:
            return (Shard(board, board.key),)
        return tuple(Shard(board, f"{board.key}:{number}") for number in range(keys))
