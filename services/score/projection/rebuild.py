"""Rebuild every board from MongoDB while events are still being counted.

Owns the new boards until they are swapped in. Never holds more than a page of players in memory.

Nothing is lost although batches keep writing the boards in use:

1. `since` is taken first: every row stamped before it, by any worker, is in the folds.
2. All folds are read into new keys. A row missing from the fold that was read was written behind later, so it was stamped
   after `since`.
3. Each new board is renamed over the one in use by a script. It checks that this rebuild's token is still in the board's
   meta and that no member is missing, so it fails on a Redis that was emptied meanwhile. Batches before the rename wrote
   to the old key; what is not in the folds is gone with it. Batches after it write to the new key.
4. Every player with a row stamped since `since` is read from the ledger as it is now and written by the script that batches
   use. That covers 2 and 3. A player who was lowered since is written as lowered, with a fence, and read again after it; on
   the board of a quiz also one who repeated it, as an overtaken attempt can lower the value by its time alone.
5. Only then the generation and the sharding are set, if this rebuild's token is still on every server that holds keys.
   Until then readers report stale boards. From then on the mark of each server is the generation.
6. Players with rows since 4 are written once more, as batches write them: those may have created boards without the new
   generation. The boards are in force by now, and this may end at any moment, so nobody is written as lowered. A worker that
   finds it unfinished does it again.

4 and 6 read the rows that exist when they begin, so they end however fast players are counted.

A board that was archived as a definition a moment ago is filled like the others until its last state is in the archive, though
batches write it no longer: otherwise a rebuild in between would leave nothing to archive.

If the token is gone the rebuild fails. The generation stays unset, which makes a worker start another one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY, Board
from services.boards.sharding import SHARDING_KEY, Shard
from services.runtime.clock import milliseconds_of
from services.runtime.pages import pages
from services.runtime.stores.redis import information, key_on_each
from services.runtime.stores.redis_scripts import Command, Script, together
from services.score.coordination_store import CoordinationStore
from services.score.errors import BoardsLostError
from services.score.ledger.folds.cache import MARGIN, SILENCE, FoldCache
from services.score.ledger.store import ScoreStore
from services.score.metrics import REBUILD_SECONDS
from services.score.projection.board_writer import BoardWriter, TooOldError, by_board
from services.score.projection.shown_metadata import ShownMetadata
from services.score.projection.standings import Placement, Standing, can_lower, expires_at, is_kept

REBUILD_KEY = f"{{{GENERATION_KEY}}}:rebuild"
MARK_KEY = "topten:score:boards"
# The last generation that was started.
HIGHEST_KEY = "topten:score:generation"
T = TypeVar("T")
ReportProgress = Callable[[str, int, int], None]
"""Receives the stage in a few words, the items done, and their number, 0 if unknown."""

_PAGE = 1000
_MEMBERS_PER_COMMAND = 2000
# Keys of a rebuild that died expire after this.
_NEW_KEY_SECONDS = 3600
_SWAP = Path(__file__).with_name("board_swap.lua").read_text(encoding="utf-8")
# Idempotent: the driver may send a command twice.
_CONFIRM_MARK = """
local mark = redis.call('GET', KEYS[1])
if mark ~= ARGV[1] and mark ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
_FINISH = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SET', KEYS[3], ARGV[3])
redis.call('DEL', KEYS[2])
return 1
"""
_log = structlog.get_logger("rebuild")


class RebuildSummary(NamedTuple):
    """The result of a rebuild."""

    generation: int
    boards: int
    members: int


class _Size(NamedTuple):
    """The number of members of a new key, and of those with metadata."""

    members: int = 0
    shown: int = 0


class RedisState(NamedTuple):
    """`run_ids` identifies this run of all servers, empty where a service hides it; `evicted` counts keys evicted in it."""

    run_ids: str
    evicted: int


async def server_time(redis: Redis) -> int:
    """Return the time of the Redis server in milliseconds."""
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def redis_state(redis: Redis) -> RedisState:
    """Return the state of all Redis servers."""
    servers = await information(redis, "server")
    stats = await information(redis, "stats")
    run_ids = ",".join(sorted(str(server.get("run_id", "")) for server in servers))
    return RedisState(run_ids, sum(int(server.get("evicted_keys", 0)) for server in stats))


class Rebuild:
    """Rebuilds boards, one rebuild at a time: the caller holds the lease."""

    def __init__(
        self,
        redis: Redis,
        store: ScoreStore,
        folds: FoldCache,
        coordination: CoordinationStore,
        writer: BoardWriter,
        placement: Placement,
        *,
        period_retention: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._redis = redis
        self._store = store
        self._folds = folds
        self._coordination = coordination
        self._writer = writer
        self._placement = placement
        self._metadata = ShownMetadata(store.shown_rows, placement)
        self._retention = period_retention
        self._now = now
        self._swap = Script(redis, _SWAP)
        self._confirm_mark = Script(redis, _CONFIRM_MARK)
        self._finish = Script(redis, _FINISH)

    async def run(self, token: str, report: ReportProgress, *, of_other_data: bool = False) -> RebuildSummary:
        """Rebuild all boards. `token` is unique to this run.

        `of_other_data` means that MongoDB's data was replaced since the last rebuild: the folds are corrected first, and the
        fences of the former data are removed.

        Raises BoardsLostError if Redis lost data or another rebuild took over, and what the drivers raise.
        """
        with REBUILD_SECONDS.time():
            catalog, encoding = self._placement.catalog, self._placement.agreement.encoding
            if not await self._coordination.all_encode(encoding, SILENCE):
                raise BoardsLostError("a worker still writes another encoding")
            generation = await self._coordination.next_generation(int(await self._redis.get(HIGHEST_KEY) or 0))
            await self._redis.set(HIGHEST_KEY, generation)
            declared = str(catalog)
            # While another worker may still write under an earlier declaration, these boards have to be rebuilt once more.
            built_for = declared if await self._coordination.all_adopted(declared, SILENCE) else None
            state = await redis_state(self._redis)
            marks = key_on_each(self._redis, MARK_KEY)
            await together(self._redis, [("SET", mark, token) for mark in marks])
            await self._redis.set(REBUILD_KEY, token, ex=_NEW_KEY_SECONDS)
            await self._redis.delete(GENERATION_KEY)
            await self._folds.flush()
            await self._folds.take_over_silent_workers()
            if of_other_data:
                report("correcting totals", 0, 0)
                _log.warning("totals corrected", players=await self._folds.correct_stored())
                await self._writer.remove_all_fences()
            since = await self._folds.oldest_unflushed()
            sizes = await self._fill_new_keys(token, report)
            await self._swap_in(token, generation, sizes, report)
            await self._remove_others(token, generation, sizes)
            replayed_at = milliseconds_of(self._now() - MARGIN)
            await self._replay(since, generation, report)
            if not all(await self._confirm_mark.run([((mark,), (token, generation)) for mark in marks])):
                raise BoardsLostError("a Redis server lost the new boards")
            await self._coordination.record_rebuild(
                generation, state.run_ids, state.evicted, marks, built_for, encoding, max(since, replayed_at)
            )
            if self._placement.catalog is not catalog or self._placement.agreement.encoding != encoding:
                raise BoardsLostError("the declared boards or their encoding changed during the rebuild")
            keys = (GENERATION_KEY, REBUILD_KEY, SHARDING_KEY)
            if not all(await self._finish.run([(keys, (token, generation, str(catalog.sharding)))])):
                raise BoardsLostError("the token of the rebuild is gone")
            await self.mark_new_boards()
        boards, members = len({shard.board for shard in sizes}), sum(size.members for size in sizes.values())
        _log.info("boards rebuilt", generation=generation, boards=boards, members=members)
        return RebuildSummary(generation, boards, members)

    async def _fill_new_keys(self, token: str, report: ReportProgress) -> dict[Shard, _Size]:
        """Write all folds to new keys, and return the size of each."""
        _, players = await self._store.count()
        sizes: dict[Shard, _Size] = {}
        done = 0
        async for page in pages(self._store.all_folds(), _PAGE):
            members: defaultdict[Shard, list[Standing]] = defaultdict(list)
            now, catalog = self._now(), self._placement.catalog
            for fold in page:
                boards = (*self._placement.boards_of(fold), *self._placement.archiving_boards(fold))
                for standing in self._placement.standings(fold, boards):
                    if standing.value > 0:
                        members[catalog.sharding.shard_of(standing.board, standing.user_id)].append(standing)
            kept = {
                shard: standings
                for shard, standings in members.items()
                if is_kept(catalog, shard.board, now, self._retention)
            }
            await self._add_members(token, kept, sizes)
            await self._add_metadata(token, kept, sizes)
            done += len(page)
            report("folding players", done, max(players, done))
        return sizes

    async def _add_members(
        self, token: str, members: Mapping[Shard, list[Standing]], sizes: dict[Shard, _Size]
    ) -> None:
        adds: list[tuple[Shard, Command]] = []
        others: list[Command] = []
        for shard, standings in members.items():
            key = _new_key(shard, token)
            pairs = [each for standing in standings for each in (standing.value, standing.user_id)]
            adds += [
                (shard, ("ZADD", key, *pairs[start : start + 2 * _MEMBERS_PER_COMMAND]))
                for start in range(0, len(pairs), 2 * _MEMBERS_PER_COMMAND)
            ]
            if shard not in sizes:
                others += [("EXPIRE", key, _NEW_KEY_SECONDS), ("HSET", shard.meta_key, "rebuild", token)]
        replies = await together(self._redis, [*(command for _, command in adds), *others])
        for (shard, _), added in zip(adds, replies, strict=False):
            size = sizes.get(shard, _Size())
            sizes[shard] = size._replace(members=size.members + int(added))

    async def _add_metadata(
        self, token: str, members: Mapping[Shard, list[Standing]], sizes: dict[Shard, _Size]
    ) -> None:
        shown = await self._metadata.of(each for standings in members.values() for each in standings)
        adds: list[tuple[Shard, Command]] = []
        expiries: list[Command] = []
        for shard, standings in members.items():
            texts: list[str] = []
            for each in standings:
                if text := shown.get((each.board, each.user_id)):
                    texts += (each.user_id, f"{each.revision} {text}")
            if texts:
                key = _new_shown_key(shard, token)
                adds.append((shard, ("HSET", key, *texts)))
                expiries.append(("EXPIRE", key, _NEW_KEY_SECONDS))
        replies = await together(self._redis, [*(command for _, command in adds), *expiries])
        for (shard, _), added in zip(adds, replies, strict=False):
            size = sizes[shard]
            sizes[shard] = size._replace(shown=size.shown + int(added))

    async def _swap_in(self, token: str, generation: int, sizes: Mapping[Shard, _Size], report: ReportProgress) -> None:
        for done, (shard, size) in enumerate(sizes.items(), start=1):
            await self._swap_shard(shard, token, generation, size)
            report("swapping boards in", done, len(sizes))

    async def _swap_shard(self, shard: Shard, token: str, generation: int, size: _Size) -> None:
        ends = expires_at(self._placement.catalog, shard.board, self._retention)
        new_keys = (_new_key(shard, token), _new_shown_key(shard, token))
        keys = (shard.key, shard.meta_key, shard.previous_key, shard.shown_key, *new_keys)
        arguments = (token, size.members, generation, 0 if ends is None else int(ends.timestamp()), size.shown)
        if not all(await self._swap.run([(keys, arguments)])):
            raise BoardsLostError(f"{shard.key} changed before it was swapped in")

    async def _remove_others(self, token: str, generation: int, sizes: Mapping[Shard, _Size]) -> None:
        """Remove keys without a fold: of a former sharding, of another Redis, or newer than the folds.

        The last are written again by step 4.
        """
        async for shard in shards_in(self._redis, self._now()):
            if shard not in sizes:
                await self._redis.hset(shard.meta_key, "rebuild", token)
                await self._swap_shard(shard, token, generation, _Size())

    async def _replay(self, since: int, generation: int, report: ReportProgress) -> None:
        """Write the current standings of every player with a row stamped since."""
        done = 0
        placement = self._placement
        async for page in pages(self._store.rows_since(since), _PAGE):
            lowered = {row.user_id for row in page if can_lower(row) or placement.may_lower(row)}
            # A later attempt may have been counted before this one, which then moved the time of the quiz's total.
            retimed = {(row.user_id, row.quiz_id) for row in page if row.quiz.attempt > 1}
            fenced = lowered | {user_id for user_id, _ in retimed}
            while True:
                started_at = await server_time(self._redis)
                folds = await self._store.current_folds({row.user_id for row in page})
                standings = by_board(
                    standing._replace(lowered=True)
                    if standing.board.kind == "quiz" and (row.user_id, standing.board.qualifier) in retimed
                    else standing
                    for row in page
                    for fold in (folds[row.user_id],)
                    for standing in (
                        *placement.standings(
                            fold,
                            (*placement.affected_boards(fold, row), *placement.archiving_boards(fold)),
                            lowered=row.user_id in lowered,
                        ),
                        *placement.removals(fold, row.moved_from, rebuilding=True),
                    )
                )
                try:
                    await self._writer.write(standings, started_at=started_at, generation=generation)
                    written = {user_id: folds[user_id].revision for user_id in fenced}
                    await self._writer.confirm_lowered(
                        written, self._store.current_folds, started_at=started_at, generation=generation
                    )
                    break
                except TooOldError:
                    continue
            done += len(page)
            report("replaying recent rows", done, 0)

    async def mark_new_boards(self) -> None:
        """Give the generation in force to the boards that batches created without it: the last step of a rebuild.

        Safe to repeat. Raises what the drivers raise.
        """
        boards = await self._coordination.boards()
        generation = boards.completed
        if boards.new_since is None:
            return
        async for page in pages(self._store.rows_since(boards.new_since), _PAGE):
            while True:
                started_at = await server_time(self._redis)
                folds = await self._store.current_folds({row.user_id for row in page})
                standings = by_board(
                    standing
                    for row in page
                    for fold in (folds[row.user_id],)
                    for standing in self._placement.standings(fold, self._placement.affected_boards(fold, row))
                )
                try:
                    await self._writer.write(standings, started_at=started_at, generation=generation)
                    break
                except TooOldError:
                    continue
        await self._coordination.record_new_boards(generation)


async def shards_in(redis: Redis, now: datetime) -> AsyncIterator[Shard]:
    """Yield every key in Redis that is a board or one shard of a board."""
    seen: set[Shard] = set()
    async for key in redis.scan_iter(match="leaderboard:*", count=1000):
        name: str = key.decode(errors="replace")
        whole, _, number = name.rpartition(":")
        for candidate in (name, whole) if number.isdigit() else (name,):
            text = candidate.partition(":")[2]
            with suppress(ValueError):
                shard = Shard(Board.parse(text, now), name)
                # `leaderboard:weekly` parses as the board of this week, which has another key.
                if shard.board.name == text and shard not in seen:
                    seen.add(shard)
                    yield shard
                break


def _new_key(shard: Shard, token: str) -> str:
    return f"{{{shard.key}}}:tmp:{token}"


def _new_shown_key(shard: Shard, token: str) -> str:
    return f"{_new_key(shard, token)}:shown"
