"""Writes standings to boards in Redis: one script call per key and batch.

Owns every write to a board except the swap of a rebuild. A write is absolute and idempotent. While nobody is lowered, the
order of writes does not matter either: the greater value stays. A lowered player is fenced: for the life of the fence, only
a standing of at least the fence's revision is written, whatever its value. A batch that started longer ago than half that
life could have missed a fence that expired. It is refused, and its players are read from the ledger again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import orjson
from redis.asyncio import Redis

from services.boards.board import Board
from services.boards.sharding import Shard, Sharding
from services.runtime.stores.redis_scripts import Call, Script
from services.score.ledger.folds.fold import Fold
from services.score.projection.previous_ranks import PreviousRanks
from services.score.projection.shown_metadata import Shown
from services.score.projection.standings import Placement, Standing, expires_at

Standings = Mapping[Board, Collection[Standing]]
ReadFolds = Callable[[Collection[str]], Awaitable[Mapping[str, Fold]]]
"""Returns the folds of players, including every row that the ledger has now."""
ReadMetadata = Callable[[Iterable[Standing]], Awaitable[Shown]]
"""Returns what boards show of players: `ShownMetadata.of`."""
# Previous ranks are kept for the head of a board, which is all that frames show.
HEAD = 128
MAX_PREVIOUS = 1024
# Lua passes at most 8000 values to one command.
_MEMBERS_PER_CALL = 1000
_FENCES = "{leaderboard:*}:fence"
_EMPTY = """
if tonumber(redis.call('HGET', KEYS[2], 'edition') or 0) >= tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4])
if redis.call('HDEL', KEYS[2], 'shown') == 1 then redis.call('DEL', KEYS[5]) end
redis.call('HSET', KEYS[2], 'generation', ARGV[1], 'edition', ARGV[2])
return redis.call('HINCRBY', KEYS[2], 'version', 1)
"""
_WRITE = Path(__file__).with_name("board_write.lua").read_text(encoding="utf-8")


class TooOldError(Exception):
    """The batch started too long ago for fences to be reliable. Load its players again and repeat it."""


class BoardWriter:
    """`metadata` returns what is shown of players. `now` decides which periods are still kept; it must be right to the day."""

    def __init__(
        self,
        redis: Redis,
        placement: Placement,
        metadata: ReadMetadata,
        *,
        fence_ttl: timedelta,
        period_retention: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._placement = placement
        self._metadata = metadata
        self._redis = redis
        self._script = Script(redis, _WRITE)
        self._empty = Script(redis, _EMPTY)
        self._previous = PreviousRanks(redis, HEAD)
        self._fence_ms = int(fence_ttl.total_seconds() * 1000)
        self._retention = period_retention
        self._now = now

    async def write(self, standings: Standings, *, started_at: int, generation: int) -> int:
        """Write standings whose folds were read after `started_at`, the Redis server's time in milliseconds.

        Each comes with the metadata that is shown of the player. Skips boards whose period ended longer ago than the
        retention. Returns the number of changed standings. Raises TooOldError, when some may have been written, and the
        drivers' errors.
        """
        calls: list[Call] = []
        shown = await self._metadata(each for members in standings.values() for each in members)
        sharding = self._placement.catalog.sharding
        for board, members in standings.items():
            ends = expires_at(self._placement.catalog, board, self._retention)
            if ends is not None and ends <= self._now():
                continue
            expiry = 0 if ends is None else int(ends.timestamp())
            head = (started_at, self._fence_ms, expiry, generation, HEAD, MAX_PREVIOUS)
            shards = sharding.shards(board)
            by_shard = _by_shard(sharding, board, members)
            ranks = orjson.dumps(await self._previous.of(shards, by_shard)) if len(shards) > 1 else b""
            for shard, of_shard in by_shard.items():
                for start in range(0, len(of_shard), _MEMBERS_PER_CALL):
                    batch = of_shard[start : start + _MEMBERS_PER_CALL]
                    texts = _texts(batch, shown) if shown else b""
                    keys = (shard.key, shard.fence_key, shard.meta_key, shard.previous_key)
                    calls.append(((*keys, shard.shown_key) if texts else keys, (*head, _packed(batch), ranks, texts)))
        changes = await self._script.run(calls)
        if any(count < 0 for count in changes):
            raise TooOldError
        return sum(changes)

    async def confirm_lowered(
        self, written: Mapping[str, int], read: ReadFolds, *, started_at: int, generation: int
    ) -> None:
        """Call after players were written as lowered; `written` is the revision of each player's fold in that write.

        Before the fence existed, another worker may have raised a lowered player, and the lowering overwrote that. Now that
        the fence protects later revisions, the ledger is read until it has none later than what was written.
        """
        while written:
            folds = await read(written)
            later = [fold for user_id, fold in folds.items() if fold.revision > written[user_id]]
            standings = by_board(
                standing
                for fold in later
                for standing in self._placement.standings(fold, self._placement.boards_of(fold), lowered=True)
            )
            await self.write(standings, started_at=started_at, generation=generation)
            written = {fold.user_id: fold.revision for fold in later}

    async def empty(self, shard: Shard, generation: int, edition: int) -> None:
        """Remove every member of a key, once for each edition of the definitions: a worker that was late removes nothing.

        The version rises, so that nobody takes the former state for a later one.
        """
        keys = (shard.key, shard.meta_key, shard.previous_key, shard.fence_key, shard.shown_key)
        await self._empty.run([(keys, (generation, edition))])

    async def remove_all_fences(self) -> None:
        """Remove every fence: after MongoDB went back, revisions count from lower ones, which a fence would keep out."""
        async for fence in self._redis.scan_iter(match=_FENCES, count=1000):
            await self._redis.delete(fence)

    async def remove_fences(self, user_id: str) -> None:
        """Remove the player's fence from every board. No write that read the player earlier may still be in progress."""
        async for fence in self._redis.scan_iter(match=_FENCES, count=1000):
            await self._redis.hdel(fence, user_id)


def by_board(standings: Iterable[Standing]) -> Standings:
    """Group standings for `write`; of several of one player on one board, the last is kept."""
    boards: defaultdict[Board, dict[str, Standing]] = defaultdict(dict)
    for standing in standings:
        boards[standing.board][standing.user_id] = standing
    return {board: members.values() for board, members in boards.items()}


def _by_shard(sharding: Sharding, board: Board, members: Collection[Standing]) -> Mapping[Shard, Sequence[Standing]]:
    shards = sharding.shards(board)
    if len(shards) == 1:
        return {shards[0]: list(members)}
    by_shard: defaultdict[Shard, list[Standing]] = defaultdict(list)
    for standing in members:
        by_shard[sharding.shard_of(board, standing.user_id)].append(standing)
    return by_shard


def _texts(members: Iterable[Standing], shown: Shown) -> bytes:
    """Return the metadata of members by user id; empty if boards may show none of any of them."""
    texts = {each.user_id: shown[each.board, each.user_id] for each in members if each.reached_at is not None}
    return orjson.dumps(texts) if texts else b""


def _packed(members: Iterable[Standing]) -> bytes:
    raised: list[float | str] = []
    revisions: list[int] = []
    lowered: list[float | str] = []
    for _, user_id, _, value, revision, is_lowered, _ in members:
        if is_lowered:
            lowered += (revision, value, user_id)
        elif value > 0:  # a player without points who was not lowered is not on the board
            raised += (value, user_id)
            revisions.append(revision)
    return orjson.dumps((raised, revisions, lowered))
