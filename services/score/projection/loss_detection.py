"""Detects that Redis lost data, and has the boards rebuilt.

Owns `leaderboard:generation`. It exists, and equals the generation that MongoDB has in force, exactly while the boards are
complete. It is missing after a FLUSHALL and on a new server. Workers notice every other loss within a heartbeat:

- Every server holds a mark that equals the generation. A server of a cluster that was emptied lacks its mark, even if no
  worker ran meanwhile.
- Every batch and every heartbeat advances this worker's counter, one per master on a cluster, and reads its former value.
  If that is not what this worker wrote last, the server lost data (flush, old snapshot). The new value is set and not
  incremented, so that a command that is sent twice raises no alarm.
- The run ids of all servers are compared with those of the last rebuild: a restart, or a replica that was promoted, may
  have lost writes.
- The number of evicted keys is compared as well. Servers should be configured not to evict.
- The operator's declaration of boards (and of their sharding) is compared with the one that the boards were built for. The
  worker that starts last declares it in MongoDB, and every worker adopts it and reports when none of its writes are under
  an earlier one. When all have, the boards are rebuilt. A worker that was silent meanwhile has them rebuilt once more.
- The encoding of values is agreed on in the same way: the highest that all workers know, so that those of the former version
  may run beside this one. Boards in another encoding are withdrawn before anything is written in the agreed one, and rebuilt
  when all workers have adopted it: no board that is in force ever has values of two encodings.
- Redis remembers the incarnation of MongoDB (see `services.runtime.stores.incarnation`) that the boards were built on, and its
  highest mark. Another incarnation means that MongoDB's data was replaced; a lower mark, that it went back while no worker
  ran, which is then reported to every process.

A wrong counter is no alarm if the generation is newer than the one last seen: another worker has already noticed the loss
and repaired it; the marks show any loss after that. One worker rebuilds, under a lease in MongoDB; the others check again
until it is done. Under the lease the need for a rebuild is checked once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import structlog
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY
from services.runtime.process.activity import PROCESS
from services.runtime.process.lifecycle import cancel
from services.runtime.process.periodic import Periodic
from services.runtime.stores.incarnation import Incarnation, IncarnationWatch
from services.runtime.stores.redis import key_on_each
from services.runtime.stores.redis_scripts import Script, together
from services.score.coordination_store import BoardState, CoordinationStore, WorkerState
from services.score.definitions.store import DefinitionStore
from services.score.errors import STORE_ERRORS, BoardsLostError, ReplacedDataError
from services.score.ledger.folds.cache import SILENCE
from services.score.projection.rebuild import Rebuild, RebuildSummary, RedisState, ReportProgress, redis_state
from services.score.projection.standings import Agreement, Placement

LEASE = timedelta(seconds=9)
_RENEW_SECONDS = 3.0
_RETRY = timedelta(seconds=0.5)
_COUNTER_SECONDS = 86_400
# A sorted set: the highest mark of each incarnation that boards were built on; of one, but for a moment.
BUILT_ON_KEY = "topten:score:incarnation"
# Delete the generation only if it is the one found wrong: another may be in force by now.
_WITHDRAW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
T = TypeVar("T")
_log = structlog.get_logger("generation")


class BatchStart(NamedTuple):
    """When a batch started, in milliseconds of the Redis clock, and the boards' generation then, 0 if incomplete."""

    started_at: int
    generation: int


class LossDetector:
    """A server: the heartbeat, and the rebuilds that it finds necessary."""

    def __init__(
        self,
        redis: Redis,
        coordination: CoordinationStore,
        incarnation: IncarnationWatch,
        rebuild: Rebuild,
        placement: Placement,
        definitions: DefinitionStore,
        worker_id: str,
        heartbeat: timedelta,
    ) -> None:
        self._redis = redis
        self._coordination = coordination
        self._incarnation = incarnation
        self._rebuild = rebuild
        self._placement = placement
        self._definitions = definitions
        self._worker_id = worker_id
        self._withdraw = Script(redis, _WITHDRAW)
        self._counter_key = f"topten:score:worker:{worker_id}"
        self._count = 0
        self._counted_keys: frozenset[str] = frozenset()
        self._last_generation = 0
        # The boards were already built for a declaration or in an encoding that this worker had not adopted yet.
        self._missed_declaration = False
        self._rebuild_needed = asyncio.Event()
        self._counting = asyncio.Lock()
        self._rebuilding = asyncio.Lock()
        self._heartbeat = Periodic("heartbeat", self._beat, every=heartbeat, at_rest=5, retry_on=STORE_ERRORS)
        self._rebuilds = Periodic(
            "rebuild",
            self._rebuild_when_needed,
            every=_RETRY,
            retry_on=(*STORE_ERRORS, BoardsLostError, ReplacedDataError),
        )

    async def start(self) -> None:
        """Declare this worker's boards, and start to detect losses. Raises the drivers' errors."""
        declared = str(self._placement.catalog)
        await self._coordination.declare(declared)
        boards, _ = await self._agreed()
        await self._withdraw_former_encoding(boards)
        catalog = await self._definitions.catalog(declared)
        self._placement.adopt(Agreement(catalog, boards.closed_through, boards.encoding))
        await self._coordination.record_adoption(
            self._worker_id, declared, catalog.edition, boards.closed_through, boards.encoding
        )
        await self._heartbeat.start()
        await self._rebuilds.start()

    async def compare_incarnation(self) -> None:
        """Report that MongoDB went back if Redis remembers a higher mark. To be called before this worker advances it.

        Raises the drivers' errors.
        """
        marks = await self._built_on()
        await self._incarnation.remember()  # after Redis: another worker may be advancing the mark
        known = self._incarnation.known
        if marks.get(known.id, 0) > known.mark:
            await self._incarnation.report("MongoDB went back to an older moment while no worker ran", known)

    async def stop(self) -> None:
        """Stop. A rebuild in progress is abandoned; another worker, or the next start, starts it again."""
        await self._heartbeat.stop()
        await self._rebuilds.stop()

    async def start_batch(self) -> BatchStart:
        """Advance this worker's counter and return the start of a batch. Raises the driver's errors."""
        # Two at once, on different connections, could arrive in the other order.
        async with self._counting:
            count = self._count + 1
            keys = key_on_each(self._redis, self._counter_key)
            moves = [(("GET", key), ("SET", key, count, "EX", _COUNTER_SECONDS)) for key in keys]
            commands = [("TIME",), ("GET", GENERATION_KEY), *(command for both in moves for command in both)]
            time, generation, *replies = await together(self._redis, commands)
            # A key that was never written, on a cluster that changed, says nothing.
            former = [value for key, value in zip(keys, replies[::2], strict=True) if key in self._counted_keys]
            went_back = any(value is None or int(value) not in (self._count, count) for value in former)
            self._count, self._counted_keys = count, frozenset(keys)
            batch = BatchStart(int(time[0]) * 1000 + int(time[1]) // 1000, int(generation or 0))
            if went_back and batch.generation and batch.generation == self._last_generation:
                await self._withdraw_boards(batch.generation, "a worker's counter went back")
                batch = batch._replace(generation=0)
            self._last_generation = batch.generation
        if not batch.generation:
            self._rebuild_needed.set()
        return batch

    async def withdraw(self, _incarnation: Incarnation) -> None:
        """Withdraw the boards because MongoDB's data was replaced. Raises Redis errors."""
        await self._withdraw_boards(int(await self._redis.get(GENERATION_KEY) or 0), "MongoDB's data was replaced")

    async def rebuild(self, report: ReportProgress) -> RebuildSummary:
        """Rebuild the boards even if nothing is wrong with them, after any rebuild in progress."""
        while (summary := await self._rebuild_under_lease(report, only_if_needed=False)) is None:
            report("waiting for another rebuild", 0, 0)
            await asyncio.sleep(_RETRY.total_seconds())
        return summary

    async def _beat(self) -> None:
        batch = await self.start_batch()
        # Redis before MongoDB: a rebuild writes them in the other order.
        state = await redis_state(self._redis)
        boards, reported = await self._agreed()
        await self._withdraw_former_encoding(boards)
        await self._adopt(boards, reported)
        if batch.generation:
            await self._remember_incarnation()
        if batch.generation and (reason := await self._loss(batch.generation, state, boards)):
            await self._withdraw_boards(batch.generation, reason)
        elif boards.new_since is not None:
            self._rebuild_needed.set()  # or still in its last step

    async def _loss(self, generation: int, state: RedisState, boards: BoardState) -> str:
        """Return why the boards cannot be trusted; empty if they can."""
        if generation != boards.completed:
            return "another generation is in force"
        if state.run_ids != boards.run_id:
            return "a Redis server was restarted or replaced"
        if await self._lacks_mark(boards):
            return "a Redis server lost its data"
        if state.evicted > boards.evicted:
            return "Redis evicted keys"
        if await self._is_of_other_data():
            return "MongoDB's data was replaced"
        if self._missed_declaration or boards.built_for != boards.declared:
            # Not before every worker writes these boards and no others.
            if not await self._coordination.all_adopted(boards.declared, SILENCE):
                return ""
            self._missed_declaration = False
            return "the declared boards changed"
        return ""

    async def _agreed(self) -> tuple[BoardState, WorkerState | None]:
        """Return the boards in force, once the workers' agreement on an encoding is up to date, and what this one reported."""
        workers = await self._coordination.workers(SILENCE)
        own = next((each for each in workers if each.worker_id == self._worker_id), None)
        return await self._coordination.agreed_boards(self._worker_id, workers), own

    async def _withdraw_former_encoding(self, boards: BoardState) -> None:
        if boards.completed and boards.built_encoding != boards.encoding:
            await self._withdraw_boards(boards.completed, "the encoding changed")

    async def _remember_incarnation(self) -> None:
        """Remember the highest mark of the incarnation that the boards in force were built on."""
        marks, known = await self._built_on(), self._incarnation.known
        if known.id in marks or not marks:
            await self._redis.zadd(BUILT_ON_KEY, {known.id: known.mark}, gt=True)

    async def _built_on(self) -> dict[str, int]:
        """Return the incarnations that the boards were built on, each with its highest mark."""
        members: Any = await self._redis.zrange(BUILT_ON_KEY, 0, -1, withscores=True)
        return {member.decode(): int(mark) for member, mark in members}

    async def _is_of_other_data(self) -> bool:
        built_on = await self._built_on()
        return bool(built_on) and self._incarnation.known.id not in built_on

    async def _lacks_mark(self, boards: BoardState) -> bool:
        marks = await together(self._redis, [("GET", mark) for mark in boards.marks])
        return any(mark is None or mark.decode() != str(boards.completed) for mark in marks)

    async def _adopt(self, boards: BoardState, reported: WorkerState | None) -> None:
        """Adopt boards and closed periods, and report that once it holds for every write in progress."""
        agreement = self._placement.agreement
        catalog = agreement.catalog
        if boards.declared != str(catalog):
            _log.info("declared boards changed", boards=boards.declared)
            self._missed_declaration = self._missed_declaration or boards.built_for == boards.declared
            catalog = await self._definitions.catalog(boards.declared)
        elif await self._definitions.edition() != catalog.edition:
            catalog = await self._definitions.catalog(boards.declared)
            _log.info("defined boards changed", edition=catalog.edition)
        if boards.encoding != agreement.encoding:
            _log.info("encoding changed", encoding=boards.encoding)
            self._missed_declaration = self._missed_declaration or boards.built_encoding == boards.encoding
        if (catalog, boards.closed_through, boards.encoding) != agreement:
            self._placement.adopt(Agreement(catalog, boards.closed_through, boards.encoding))
        adopted = (boards.declared, catalog.edition, boards.closed_through, boards.encoding)
        if self._placement.is_settled and (reported is None or reported.adopted != adopted):
            await self._coordination.record_adoption(self._worker_id, *adopted)

    async def _withdraw_boards(self, generation: int, reason: str) -> None:
        if any(await self._withdraw.run([((GENERATION_KEY,), (generation,))])):
            _log.warning("boards withdrawn", reason=reason, generation=generation)
        PROCESS.note()  # other servers of this process are to follow soon
        self._rebuild_needed.set()

    async def _rebuild_when_needed(self) -> None:
        await self._rebuild_needed.wait()
        self._rebuild_needed.clear()
        is_done = False
        try:
            is_done = (
                not await self._needs_rebuild() and (await self._coordination.boards()).new_since is None
            ) or await self._rebuild_under_lease(_ignore_progress, only_if_needed=True) is not None
        finally:
            if not is_done:  # failed, or another worker is rebuilding: check again after a pause
                self._rebuild_needed.set()

    async def _needs_rebuild(self) -> bool:
        generation = int(await self._redis.get(GENERATION_KEY) or 0)
        state = await redis_state(self._redis)
        boards = await self._coordination.boards()
        return (
            generation == 0
            or generation != boards.completed
            or state.run_ids != boards.run_id
            or state.evicted > boards.evicted
            or boards.built_for != boards.declared
            or boards.built_encoding != boards.encoding
            or await self._is_of_other_data()
        )

    async def _rebuild_under_lease(self, report: ReportProgress, *, only_if_needed: bool) -> RebuildSummary | None:
        """Return None if another worker holds the lease, or if a rebuild is no longer needed."""
        async with self._rebuilding:
            if not await self._coordination.take_lease(self._worker_id, LEASE):
                return None
            try:
                if only_if_needed and not await self._needs_rebuild():
                    await self._renewing_lease(self._rebuild.mark_new_boards())
                    return None
                return await self._rebuilt(report)
            finally:
                await self._coordination.release_lease(self._worker_id)

    async def _rebuilt(self, report: ReportProgress) -> RebuildSummary:
        token = f"{self._worker_id}-{asyncio.get_running_loop().time():.3f}"
        built_on = self._incarnation.known
        of_other_data = await self._is_of_other_data()
        summary = await self._renewing_lease(self._rebuild.run(token, report, of_other_data=of_other_data))
        await self._redis.zadd(BUILT_ON_KEY, {built_on.id: built_on.mark}, gt=True)
        others = (await self._built_on()).keys() - {built_on.id}
        if others:
            await self._redis.zrem(BUILT_ON_KEY, *others)
        return summary

    async def _renewing_lease(self, work: Coroutine[None, None, T]) -> T:
        """Return the result of work while the lease is held. Raises BoardsLostError if another worker takes it."""
        task = asyncio.create_task(work, name="rebuild of boards")
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=_RENEW_SECONDS)
                if done:
                    return task.result()
                if not await self._coordination.take_lease(self._worker_id, LEASE):
                    raise BoardsLostError("another worker took the lease")
        finally:
            await cancel(task)


def _ignore_progress(_stage: str, _done: int, _total: int) -> None:
    """Nothing displays the progress of an automatic rebuild."""
