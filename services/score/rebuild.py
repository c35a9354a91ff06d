"""All boards anew from MongoDB, while scores keep flowing.

Owns the new boards until they are in place. Must never hold more than a page of players in memory.

Why nothing is lost, though batches go on writing the boards in use:

1. `since` is taken first: every row stamped before it, by any worker, is in the folds.
2. All folds are read into new keys. A row that is not in the fold that was read was written behind later, so it was
   stamped after `since`.
3. Each new board is renamed over the one in use, by a script that checks that the maker's mark is still in the board's
   meta and that no member is missing: a Redis that was emptied meanwhile fails it. Writes of batches before the rename
   went to the old key and are gone with it, if they are not in the folds. Writes after it go to the new key.
4. Then every player with a row stamped since `since` is read from the ledger as it is now and written through the
   script that batches use. That covers 2 and 3; and who was lowered since is written as lowered, with his fence, and
   read again after it.
5. Only then the generation is set, and how its boards are split, if the mark of the whole rebuild is still there, on every
   server that holds keys. Until then readers are stale. The mark that each server keeps is the generation from then on.
6. Rows since 4 are written once more: their batches may have made boards that the new generation was not yet told to.

Whoever finds the mark gone raises; the generation stays unset, and that is what makes somebody begin again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import structlog
from redis.asyncio import Redis

from services.runtime.boards import GENERATION_KEY, Board
from services.runtime.redis_client import information, key_on_each
from services.runtime.redis_scripts import Command, Script, together
from services.runtime.split import SPLIT_KEY, Part
from services.score.board_writer import BoardWriter, TooOldError, by_board
from services.score.fold import MARGIN, SILENCE, Folds
from services.score.meta import Meta
from services.score.metrics import REBUILD_SECONDS
from services.score.reports import BoardsLostError, Progress, Rebuilt
from services.score.standings import Placing, expires_at, is_kept, lowers, milliseconds_of
from services.score.store import ScoreStore

REBUILD_KEY = f"{{{GENERATION_KEY}}}:rebuild"
MARK_KEY = "topten:score:boards"
T = TypeVar("T")

_PAGE = 1000
_MEMBERS_A_COMMAND = 2000
# What a rebuild that died leaves behind goes by itself.
_LEFTOVER_SECONDS = 3600
_SWAP = Path(__file__).with_name("board_swap.lua").read_text(encoding="utf-8")
# May be sent twice.
_CONFIRM = """
local found = redis.call('GET', KEYS[1])
if found ~= ARGV[1] and found ~= ARGV[2] then return 0 end
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


async def server_time(redis: Redis) -> int:
    """The time of the Redis server in milliseconds."""
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def server_state(redis: Redis) -> tuple[str, int]:
    """What tells one run of the Redis servers from another, empty where a service hides it; and how many keys they evicted."""
    servers = await information(redis, "server")
    stats = await information(redis, "stats")
    run_ids = ",".join(sorted(str(server.get("run_id", "")) for server in servers))
    return run_ids, sum(int(server.get("evicted_keys", 0)) for server in stats)


class Rebuild:
    """Makes boards. For one at a time: the caller holds the lease."""

    def __init__(
        self,
        redis: Redis,
        store: ScoreStore,
        folds: Folds,
        meta: Meta,
        writer: BoardWriter,
        placing: Placing,
        *,
        period_retention: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._redis = redis
        self._store = store
        self._folds = folds
        self._meta = meta
        self._writer = writer
        self._placing = placing
        self._retention = period_retention
        self._now = now
        self._swap = Script(redis, _SWAP)
        self._confirm = Script(redis, _CONFIRM)
        self._finish = Script(redis, _FINISH)

    async def run(self, token: str, progress: Progress) -> Rebuilt:
        """Makes every board. Raises BoardsLostError, or what a store raises; the boards are stale then."""
        with REBUILD_SECONDS.time():
            generation = await self._meta.next_generation()
            catalog = self._placing.catalog
            declared = str(catalog)
            # Others may still write other boards, or take these for others: then they are to be made once more.
            made_as = declared if await self._meta.agreed(declared, SILENCE) else None
            in_redis, evicted = await server_state(self._redis)
            marks = key_on_each(self._redis, MARK_KEY)
            await together(self._redis, [("SET", mark, token) for mark in marks])
            await self._redis.set(REBUILD_KEY, token, ex=_LEFTOVER_SECONDS)
            await self._redis.delete(GENERATION_KEY)
            await self._folds.flush()
            await self._folds.adopt()
            since = await self._folds.oldest_unwritten()
            made = await self._fold_into_new(token, progress)
            await self._put_in_place(token, generation, made, progress)
            await self._remove_others(token, generation, made)
            replayed_at = milliseconds_of(self._now() - MARGIN)
            await self._replay(since, generation, progress)
            if not all(await self._confirm.run([((mark,), (token, generation)) for mark in marks])):
                raise BoardsLostError("a server has forgotten what was made")
            await self._meta.complete(generation, in_redis, evicted, marks, made_as)
            if self._placing.catalog is not catalog:
                raise BoardsLostError("other boards were declared meanwhile")
            keys = (GENERATION_KEY, REBUILD_KEY, SPLIT_KEY)
            if not all(await self._finish.run([(keys, (token, generation, str(catalog.split)))])):
                raise BoardsLostError("the mark of the rebuild is gone")
            await self._replay(max(since, replayed_at), generation, progress)
        boards, members = len({part.board for part in made}), sum(made.values())
        _log.info("boards are made anew", generation=generation, boards=boards, members=members)
        return Rebuilt(generation, boards, members)

    async def _fold_into_new(self, token: str, progress: Progress) -> dict[Part, int]:
        _, players = await self._store.count()
        made: dict[Part, int] = {}
        done = 0
        async for page in _pages(self._store.all_folds()):
            members: defaultdict[Part, list[float | str]] = defaultdict(list)
            now, split = self._now(), self._placing.catalog.split
            for fold in page:
                for found in self._placing.standings(fold, self._placing.boards_of(fold)):
                    if found.value > 0:
                        members[split.part(found.board, found.user_id)] += (found.value, found.user_id)
            await self._add(
                token,
                {part: pairs for part, pairs in members.items() if is_kept(part.board, now, self._retention)},
                made,
            )
            done += len(page)
            progress("folding players", done, max(players, done))
        return made

    async def _add(self, token: str, members: Mapping[Part, list[float | str]], made: dict[Part, int]) -> None:
        adds: list[tuple[Part, Command]] = []
        marks: list[Command] = []
        for part, pairs in members.items():
            key = _new_key(part, token)
            adds += [
                (part, ("ZADD", key, *pairs[start : start + 2 * _MEMBERS_A_COMMAND]))
                for start in range(0, len(pairs), 2 * _MEMBERS_A_COMMAND)
            ]
            if part not in made:
                marks += [("EXPIRE", key, _LEFTOVER_SECONDS), ("HSET", part.meta_key, "rebuild", token)]
        answers = await together(self._redis, [*(command for _, command in adds), *marks])
        for (part, _), added in zip(adds, answers, strict=False):
            made[part] = made.get(part, 0) + int(added)

    async def _put_in_place(self, token: str, generation: int, made: Mapping[Part, int], progress: Progress) -> None:
        for done, (part, members) in enumerate(made.items(), start=1):
            await self._put(part, token, generation, members)
            progress("putting boards in place", done, len(made))

    async def _put(self, part: Part, token: str, generation: int, members: int) -> None:
        ends = expires_at(part.board, self._retention)
        keys = (part.key, part.meta_key, part.previous_key, _new_key(part, token))
        arguments = (token, members, generation, 0 if ends is None else int(ends.timestamp()))
        if not all(await self._swap.run([(keys, arguments)])):
            raise BoardsLostError(f"{part.key} is not what was made")

    async def _remove_others(self, token: str, generation: int, made: Mapping[Part, int]) -> None:
        """Keys that no fold knows: of boards that are hashed otherwise now, left by another Redis, or new since the folds
        were read; then step 4 makes them.
        """
        async for part in parts_in(self._redis, self._now()):
            if part not in made:
                await self._redis.hset(part.meta_key, "rebuild", token)
                await self._put(part, token, generation, 0)

    async def _replay(self, since: int, generation: int, progress: Progress) -> None:
        done = 0
        placing = self._placing
        async for page in _pages(self._store.rows_since(since)):
            lowered = {row.user_id for row in page if lowers(row)}
            while True:
                begun_at = await server_time(self._redis)
                folds = await self._store.exact_folds({row.user_id for row in page})
                places = by_board(
                    found
                    for row in page
                    for fold in (folds[row.user_id],)
                    for found in (
                        *placing.standings(fold, placing.touched(fold, row), lowered=row.user_id in lowered),
                        *placing.left(fold, row.moved_from),
                    )
                )
                try:
                    await self._writer.write(places, begun_at=begun_at, generation=generation)
                    written = {user_id: folds[user_id].revision for user_id in lowered}
                    await self._writer.settle(
                        written, self._store.exact_folds, begun_at=begun_at, generation=generation
                    )
                    break
                except TooOldError:
                    continue
            done += len(page)
            progress("writing what came meanwhile", done, 0)


async def parts_in(redis: Redis, now: datetime) -> AsyncIterator[Part]:
    """Every key in Redis that is a board, or one of those that a board is hashed over."""
    seen: set[Part] = set()
    async for key in redis.scan_iter(match="leaderboard:*", count=1000):
        name: str = key.decode(errors="replace")
        whole, _, number = name.rpartition(":")
        for found in (name, whole) if number.isdigit() else (name,):
            text = found.partition(":")[2]
            with suppress(ValueError):
                part = Part(Board.parse(text, now), name)
                # `leaderboard:weekly` would be the board of this week, under a key that is not its own.
                if part.board.text == text and part not in seen:
                    seen.add(part)
                    yield part
                break


def _new_key(part: Part, token: str) -> str:
    return f"{{{part.key}}}:tmp:{token}"


async def _pages(items: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    page: list[T] = []
    async for item in items:
        page.append(item)
        if len(page) >= _PAGE:
            yield page
            page = []
    if page:
        yield page
