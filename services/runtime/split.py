"""Boards that are hashed over several keys, for those that are too large for one server. Pure.

    TOPTEN_BOARDS_KEYS="all=4; monthly=4; country:US=2; custom:asean=8"

`leaderboard:all` is then the four keys `leaderboard:all:0` to `leaderboard:all:3`, each in a hash slot of its own; a player
is on the one that the CRC-32 of his id names. A board that is not named is one key, under the name that is published. Who
writes boards says in Redis, with their generation, how the boards of that generation are split; readers go by that.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from zlib import crc32

from services.runtime.boards import GENERATION_KEY, Board, custom_parts

MAX_KEYS: Final = 64
# In the slot of the generation, so that both are read and written together.
SPLIT_KEY: Final = f"{{{GENERATION_KEY}}}:keys"
_ENTRY: Final = re.compile(
    r"(all|weekly|monthly|country(?::[A-Z]{2})?|quiz(?::[a-z0-9][a-z0-9-]{0,63})?|custom:[a-z][a-z0-9-]{0,31})"
    r"\s*=\s*(\d{1,2})",
    re.ASCII,
)
# Lua: how many of KEYS[1] stand before a place, which a value and an id name whether or not somebody is there; with `also`,
# he too.
COUNT_BEFORE: Final = """
-- By bytes, as Redis orders; Lua's own < goes by the language of the server.
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


class Part(NamedTuple):
    """One key of a board: a sorted set, user id → value. The braces keep what belongs to it in its hash slot."""

    board: Board
    key: str

    @property
    def fence_key(self) -> str:
        """The fence of who was lowered: user id → revision."""
        return f"{{{self.key}}}:fence"

    @property
    def meta_key(self) -> str:
        """What is known of the key as a whole, its version among it."""
        return f"{{{self.key}}}:meta"

    @property
    def previous_key(self) -> str:
        """Ranks before each player's last counted action: user id → rank."""
        return f"{{{self.key}}}:previous"


class Split:
    """Over how many keys each board is hashed. Raises ValueError for a text that says it wrongly."""

    def __init__(self, text: str = "") -> None:
        self._keys: dict[str, int] = {}
        for entry in filter(None, (entry.strip() for entry in text.split(";"))):
            match = _ENTRY.fullmatch(entry)
            if match is None or not 1 <= int(match[2]) <= MAX_KEYS:
                raise ValueError(f"has {entry[:60]!r}, which is not <board>=<1 to {MAX_KEYS} keys>")
            if match[1] in self._keys:
                raise ValueError(f"has {match[1]} twice")
            self._keys[match[1]] = int(match[2])
        self.parts = lru_cache(maxsize=4096)(self._parts)

    def __str__(self) -> str:
        return "; ".join(f"{name}={keys}" for name, keys in sorted(self._keys.items()) if keys > 1)

    def part(self, board: Board, user_id: str) -> Part:
        """The key that the player is on."""
        parts: tuple[Part, ...] = self.parts(board)
        return parts[0] if len(parts) == 1 else parts[crc32(user_id.encode()) % len(parts)]

    def _parts(self, board: Board) -> tuple[Part, ...]:
        """All keys of the board."""
        family: str = board.kind
        if board.kind == "custom" and (named := custom_parts(board.qualifier)) is not None:
            family = f"custom:{named.name}"
        keys = self._keys.get(board.text) or self._keys.get(family, 1)
        if keys == 1:
            return (Part(board, board.key),)
        return tuple(Part(board, f"{board.key}:{number}") for number in range(keys))
