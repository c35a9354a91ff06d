"""Builds boards that were defined or changed while events are counted.

Owns the way of a definition from `building` to `ready`. One worker builds at a time, under a lease:

1. Every worker has adopted the definitions, so whatever is counted from now on is written to the new boards.
2. Players who lack a counter get a row with it (see `counters_added`), and the fold after it is stored. Who is counted
   meanwhile is read again: the row fails if another has its revision, the fold if another was stored.
3. Keys that the boards had before are emptied, once for the edition, so that nothing of a former definition stays.
4. All folds are written to the boards by the script that batches use, which takes absolute standings in any order. Players
   with rows stamped since the folds were stored are written again from the ledger.
5. If the boards' generation is still the one of step 3, the definitions are marked as ready; else steps 3 and 4 run again: a
   rebuild in between may have left out what they wrote.

Between builds it looks for players who lost counters, because a process that knew fewer counted for them or a gap in their
chain was sealed, and does the same for them alone.

Each step is safe to repeat. A worker that dies leaves the boards `building`, and another starts over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Final, NamedTuple

import structlog
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY, parse_custom_name
from services.boards.definition import Definition
from services.runtime.pages import pages, runs
from services.score.coordination_store import BUILDING_LEASE, CoordinationStore
from services.score.definitions.store import DefinitionStore
from services.score.ledger.counters.added import counters_added, lacks_counters
from services.score.ledger.folds.cache import SILENCE, Basis, FoldCache
from services.score.ledger.folds.fold import Fold, apply
from services.score.ledger.rows import Row
from services.score.ledger.store import InsertResult, ScoreStore
from services.score.ledger.times import time_of
from services.score.metrics import BOARDS_BUILDING
from services.score.projection.board_writer import BoardWriter, TooOldError, by_board
from services.score.projection.rebuild import server_time, shards_in
from services.score.projection.standings import Placement
from services.streams import COUNTERS_ADDED

LEASE: Final = timedelta(seconds=9)
_PAGE: Final = 500
_ATTEMPTS: Final = 20
# Steps between two searches for players who lost counters.
_STEPS_BETWEEN_SEARCHES: Final = 15
_log = structlog.get_logger("building")


class _Build(NamedTuple):
    """What is built: the definitions that are not ready, of one edition, and the generation of the boards."""

    definitions: Sequence[Definition]
    edition: int
    generation: int


class _InterruptedError(Exception):
    """The lease, the edition or the generation is another one now."""


class BoardBuilder:
    """Builds what is not ready, a step at a time. `now` returns milliseconds; the drivers' errors are not translated."""

    def __init__(
        self,
        redis: Redis,
        store: ScoreStore,
        folds: FoldCache,
        coordination: CoordinationStore,
        definitions: DefinitionStore,
        writer: BoardWriter,
        placement: Placement,
        worker_id: str,
        *,
        now: Callable[[], int],
    ) -> None:
        self._redis = redis
        self._store = store
        self._folds = folds
        self._coordination = coordination
        self._definitions = definitions
        self._writer = writer
        self._placement = placement
        self._worker_id = worker_id
        self._now = now
        self._steps = 0

    async def step(self) -> None:
        """Build every board that is not ready, if this worker gets the lease. Raises store errors and BoardsLostError."""
        catalog = self._placement.catalog
        building = [each for each in catalog.counted if each.state == "building"]
        BOARDS_BUILDING.set(len(building))
        self._steps += 1
        is_search = catalog.numbers > 0 and self._steps % _STEPS_BETWEEN_SEARCHES == 0
        if not (building or is_search) or not await self._coordination.all_defined(catalog.edition, SILENCE):
            return
        if not await self._coordination.take_lease(self._worker_id, LEASE, BUILDING_LEASE):
            return
        try:
            if await self._definitions.edition() != catalog.edition:
                return  # what is not ready in this worker's edition may be by now
            generation = int(await self._redis.get(GENERATION_KEY) or 0)
            if generation and building:
                await self._build(_Build(building, catalog.edition, generation))
            elif generation:
                await self._complete(_Build(catalog.counted, catalog.edition, generation))
        except _InterruptedError as interruption:
            _log.info("building starts over", reason=str(interruption))
        finally:
            await self._coordination.release_lease(self._worker_id, BUILDING_LEASE)

    async def _build(self, build: _Build) -> None:
        names = [definition.name for definition in build.definitions]
        _log.info("building boards", boards=names, edition=build.edition)
        since = await self._folds.oldest_unflushed()
        await self._folds.flush()
        added = await self._add_counters(build, since)
        await self._empty(build)
        _, players = await self._store.count()
        done = 0
        async for folds in pages(self._store.all_folds(), _PAGE):
            await self._write({fold.user_id: fold for fold in folds}, build)
            done += len(folds)
            await self._continue(build, done, players)
        async for rows in pages(self._store.rows_since(since, without=COUNTERS_ADDED), _PAGE):
            await self._write(await self._store.current_folds({row.user_id for row in rows}), build, lowered=True)
            await self._continue(build, players, players)
        if await self._definitions.mark_ready(names, build.edition):
            _log.info("boards built", boards=names, players=done, counters_added=added)

    async def _complete(self, build: _Build) -> None:
        """Give counters to players who lost them, and put them on the boards."""
        lacking = self._store.players_without_counters(self._placement.counters.known, _PAGE)
        user_ids = [user_id async for user_id, _ in lacking]
        if not user_ids:
            return
        # A broken chain gets none before it is sealed.
        complete = await self._add_to(user_ids, self._folds.basis())
        await self._write(complete, build, lowered=True)
        await self._folds.catch_up(user_ids)  # last: from then on nobody finds them here
        _log.warning("players got counters again", players=len(complete), left=len(user_ids) - len(complete))

    async def _empty(self, build: _Build) -> None:
        """Empty the keys that the boards have, of all their periods and countries."""
        names = {definition.name for definition in build.definitions}
        async for shard in shards_in(self._redis, time_of(self._now())):
            custom = parse_custom_name(shard.board.qualifier) if shard.board.kind == "custom" else None
            if custom is not None and custom.name in names:
                await self._writer.empty(shard, build.generation, build.edition)

    async def _add_counters(self, build: _Build, since: int) -> int:
        """Give every player the counters that they lack. Return how many players."""
        counters = self._placement.counters
        added = 0
        async for revisions in pages(self._store.players_without_counters(counters.known), _PAGE):
            added += await self._add_and_store(dict(revisions))
            await self._continue(build, 0, 1)
        # Players whose fold was not stored yet.
        async for rows in pages(self._store.rows_since(since, without=COUNTERS_ADDED), _PAGE):
            folds_now = await self._store.current_folds({row.user_id for row in rows})
            lacking = {each: fold.revision for each, fold in folds_now.items() if lacks_counters(fold, counters)}
            added += await self._add_and_store(lacking)
            await self._continue(build, 0, 1)
        return added

    async def _add_and_store(self, revisions: Mapping[str, int]) -> int:
        """Give counters to these players, whose stored folds probably are these revisions. Return how many they are."""
        if revisions:
            basis = self._folds.basis()
            folds = await self._add_to(revisions, basis)
            await self._folds.write([(fold, revisions[user_id]) for user_id, fold in folds.items()], basis)
        return len(revisions)

    async def _add_to(self, user_ids: Collection[str], basis: Basis) -> dict[str, Fold]:
        """Insert a row for each player who still lacks counters. Return the folds of all whose chain is whole."""
        folds: dict[str, Fold] = {}
        pending = set(user_ids)
        for _ in range(_ATTEMPTS):
            added, pending = await self._try_to_add(pending, basis)
            folds |= added
            if not pending:
                return folds
        raise _InterruptedError("players are counted faster than their counters are computed")

    async def _try_to_add(self, user_ids: Collection[str], basis: Basis) -> tuple[dict[str, Fold], set[str]]:
        """Try `_add_to` once. Also return the players who got other rows meanwhile, who are left out."""
        counters = self._placement.counters
        folds: dict[str, Fold] = {}
        rows: dict[str, Row] = {}
        async for chain in runs(self._store.rows_after(dict.fromkeys(user_ids, 0)), attrgetter("user_id")):
            user_id = chain[0].user_id
            fold = _fold_of(self._store.empty_fold(user_id), chain)
            if fold is not None:
                folds[user_id] = fold
                if lacks_counters(fold, counters):
                    rows[user_id] = counters_added(fold, chain, counters, self._now())
        results = await self._folds.insert(list(rows.values()), basis) if rows else []
        counted = {user for user, result in zip(rows, results, strict=True) if result is not InsertResult.INSERTED}
        inserted = {user_id: row for user_id, row in rows.items() if user_id not in counted}
        await self._folds.confirm_insert([*inserted.values()], [folds[user_id] for user_id in inserted], basis)
        after = {user_id: apply(folds[user_id], row) for user_id, row in inserted.items()}
        return {user_id: fold for user_id, fold in (folds | after).items() if user_id not in counted}, counted

    async def _write(self, folds: dict[str, Fold], build: _Build, *, lowered: bool = False) -> None:
        while True:
            started_at = await server_time(self._redis)
            standings = by_board(
                standing
                for fold in folds.values()
                for standing in self._placement.standings(
                    fold, self._placement.boards_defined_by(build.definitions, fold), lowered=lowered
                )
            )
            try:
                await self._writer.write(standings, started_at=started_at, generation=build.generation)
                if lowered:
                    revisions = {user_id: fold.revision for user_id, fold in folds.items()}
                    await self._writer.confirm_lowered(
                        revisions, self._store.current_folds, started_at=started_at, generation=build.generation
                    )
                return
            except TooOldError:
                folds = await self._store.current_folds(folds)

    async def _continue(self, build: _Build, done: int, players: int) -> None:
        """Renew the lease and report the progress. Raises _InterruptedError if the build cannot go on."""
        if not await self._coordination.take_lease(self._worker_id, LEASE, BUILDING_LEASE):
            raise _InterruptedError("another worker builds")
        if self._placement.catalog.edition != build.edition:
            raise _InterruptedError("the definitions changed")
        if int(await self._redis.get(GENERATION_KEY) or 0) != build.generation:
            raise _InterruptedError("the boards were rebuilt")
        percent = min(99, 100 * done // max(players, 1))
        await self._definitions.report_progress([each.name for each in build.definitions], percent)


def _fold_of(empty: Fold, rows: Sequence[Row]) -> Fold | None:
    """Return the fold of a whole chain; None if it is broken, which a verification reports."""
    fold = empty
    for row in rows:
        try:
            fold = apply(fold, row)
        except ValueError:
            return None
    return fold
