"""Standings to boards in Redis: one script a key and batch.

Owns every write to a board but the swap of a rebuild. A write is absolute and idempotent. Without anybody lowered, order
does not matter either: the greater value stays. Who is lowered is fenced: from then on, for the life of the fence, only
a standing as late as the fence or later is written, whatever its value. A batch that began longer ago than half that
life can't be judged by the fence any more; it is refused, and its players are read from the ledger again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import orjson
from redis.asyncio import Redis

from services.runtime.boards import Board
from services.runtime.redis_scripts import Call, Script
from services.runtime.split import Part, Split
from services.score.ledger import Fold
from services.score.previous import PreviousRanks
from services.score.standings import Placing, Standing, expires_at

Standings = Mapping[Board, Collection[Standing]]
Read = Callable[[Collection[str]], Awaitable[Mapping[str, Fold]]]
"""The folds of players with everything that the ledger has at this moment."""
# Previous ranks are kept for the head of a board, which is all that frames show.
HEAD = 128
MOST_PREVIOUS = 1024
# Lua can't hand more than 8000 values to one command.
_MEMBERS_A_SCRIPT = 1000
_WRITE = Path(__file__).with_name("board_write.lua").read_text(encoding="utf-8")


class TooOldError(Exception):
    """The batch began too long ago to be judged by a fence; load its players again and begin anew."""


class BoardWriter:
    """`now` tells which boards still have a place; it must be right to the day."""

    def __init__(
        self,
        redis: Redis,
        placing: Placing,
        *,
        fence_ttl: timedelta,
        period_retention: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._placing = placing
        self._redis = redis
        self._script = Script(redis, _WRITE)
        self._previous = PreviousRanks(redis, HEAD)
        self._fence_ms = int(fence_ttl.total_seconds() * 1000)
        self._retention = period_retention
        self._now = now

    async def write(self, places: Standings, *, begun_at: int, generation: int) -> int:
        """Writes standings of players as they were read after `begun_at`, the server's time in milliseconds.

        Boards whose period is over for longer than the retention are left alone. Returns how many standings changed.
        Raises TooOldError, having written some or none, and what the driver raises.
        """
        calls: list[Call] = []
        split = self._placing.catalog.split
        for board, everybody in places.items():
            ends = expires_at(board, self._retention)
            if ends is not None and ends <= self._now():
                continue
            expiry = 0 if ends is None else int(ends.timestamp())
            head = (begun_at, self._fence_ms, expiry, generation, HEAD, MOST_PREVIOUS)
            parts = split.parts(board)
            by_part = _by_part(split, board, everybody)
            ranks = orjson.dumps(await self._previous.of(parts, by_part)) if len(parts) > 1 else b""
            for part, members in by_part.items():
                keys = (part.key, part.fence_key, part.meta_key, part.previous_key)
                calls += [
                    (keys, (*head, _packed(members[start : start + _MEMBERS_A_SCRIPT]), ranks))
                    for start in range(0, len(members), _MEMBERS_A_SCRIPT)
                ]
        changed = await self._script.run(calls)
        if any(count < 0 for count in changed):
            raise TooOldError
        return sum(changed)

    async def unfence(self, user_id: str) -> None:
        """Forgets that the player was lowered, on every board. Nobody may be writing who read him before that."""
        async for fence in self._redis.scan_iter(match="{leaderboard:*}:fence", count=1000):
            await self._redis.hdel(fence, user_id)

    async def settle(self, written: Mapping[str, int], read: Read, *, begun_at: int, generation: int) -> None:
        """To be called after players were written as lowered; `written` is the revision of each player's fold then.

        Who was lowered may have risen meanwhile by another's write, which the lowering took back because there was no
        fence yet. So the ledger is read now that the fence stands, until there is nothing later than what was written.
        """
        while written:
            last = await read(written)
            later = [fold for user_id, fold in last.items() if fold.revision > written[user_id]]
            places = by_board(
                found
                for fold in later
                for found in self._placing.standings(fold, self._placing.boards_of(fold), lowered=True)
            )
            await self.write(places, begun_at=begun_at, generation=generation)
            written = {fold.user_id: fold.revision for fold in later}


def by_board(places: Iterable[Standing]) -> Standings:
    """The standings as `write` takes them: of several of one player on one board, the last."""
    of_board: defaultdict[Board, dict[str, Standing]] = defaultdict(dict)
    for found in places:
        of_board[found.board][found.user_id] = found
    return {board: members.values() for board, members in of_board.items()}


def _by_part(split: Split, board: Board, members: Collection[Standing]) -> Mapping[Part, Sequence[Standing]]:
    """The standings by the keys that they are on."""
    parts = split.parts(board)
    if len(parts) == 1:
        return {parts[0]: list(members)}
    found: defaultdict[Part, list[Standing]] = defaultdict(list)
    for standing in members:
        found[split.part(board, standing.user_id)].append(standing)
    return found


def _packed(members: Iterable[Standing]) -> bytes:
    raised: list[float | str] = []
    orders: list[int] = []
    lowered: list[float | str] = []
    for _, user_id, _, value, order, is_lowered in members:
        if is_lowered:
            lowered += (order, value, user_id)
        elif value > 0:  # who has no points and was not lowered is not on the board
            raised += (value, user_id)
            orders.append(order)
    return orjson.dumps((raised, orders, lowered))
