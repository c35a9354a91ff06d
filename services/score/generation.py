"""Knowing that Redis went back, and having the boards made anew when it did.

Owns `leaderboard:generation`: it is there, and the one that MongoDB names, exactly while the boards are whole. It is
missing after a FLUSHALL and on a new server. Everything else is noticed within a heartbeat by who writes:

- every server keeps a mark beside its boards that holds the generation: one of a cluster that was emptied lacks it, whether
  or not anybody was there to see it;
- every batch and every heartbeat moves a counter of this worker, on a cluster one on each of its masters, and reads what it
  was. If that is not what this worker wrote last, the server has forgotten (a flush, an old snapshot). The new value is
  given, not added, so that a command that is sent twice is no alarm;
- the run ids of all servers are held against those of the last rebuild: a restart, or a replica in a server's place, may
  have lost writes without anybody having seen it;
- so is the number of keys that the servers have evicted: they should be set up not to, and are believed only that far;
- and which boards the operator has declared, and over how many keys each is hashed: whoever starts last says so in MongoDB,
  all workers take that over, each says when nothing is under way any more that it placed otherwise, and when all have, the
  boards are made anew. Whoever was silent meanwhile, and finds them made without him, has them made once more.

A counter that is wrong while the generation is newer than the one last seen is no alarm either: another worker has
noticed the same and has healed it; what is lost after that, the marks tell. One worker makes the boards, by a lease in
MongoDB; all others look again until it is done. Under the lease it is asked once more whether it is still needed.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NamedTuple

import structlog
from redis.asyncio import Redis

from services.runtime.boards import GENERATION_KEY
from services.runtime.catalog import Catalog
from services.runtime.lifecycle import cancel, spawn
from services.runtime.redis_client import key_on_each
from services.runtime.redis_scripts import Script, together
from services.score.answers import STORE_ERRORS
from services.score.fold import SILENCE
from services.score.meta import Boards, Meta
from services.score.rebuild import Rebuild, server_state
from services.score.reports import BoardsLostError, Progress, Rebuilt
from services.score.standings import Placing, Terms

LEASE = timedelta(seconds=9)
_RENEW_SECONDS = 3.0
_RETRY_SECONDS = 0.5
_COUNTER_SECONDS = 86_400
# The generation goes only if it is the one that was found wrong: another may have been completed meanwhile.
_WITHDRAW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
_log = structlog.get_logger("generation")


class Moment(NamedTuple):
    """When a batch began, by the clock of Redis in milliseconds, and the boards' generation then; 0 if none is whole."""

    begun_at: int
    generation: int


class Generation:
    """A server: the heartbeat and the rebuilds that it finds needed."""

    def __init__(
        self, redis: Redis, meta: Meta, rebuild: Rebuild, placing: Placing, worker_id: str, heartbeat: timedelta
    ) -> None:
        self._redis = redis
        self._placing = placing
        self._was_absent = False
        self._meta = meta
        self._rebuild = rebuild
        self._worker_id = worker_id
        self._heartbeat = heartbeat.total_seconds()
        self._withdraw = Script(redis, _WITHDRAW)
        self._key = f"topten:score:worker:{worker_id}"
        self._count = 0
        self._counted: frozenset[str] = frozenset()
        self._seen = 0
        self._wanted = asyncio.Event()
        self._counting = asyncio.Lock()
        self._making = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """From now on a Redis that went back is noticed within a heartbeat. Raises what a store raises."""
        await self._meta.declare(str(self._placing.catalog))
        closed_through = (await self._meta.boards()).closed_through
        self._placing.adopt(Terms(self._placing.catalog, closed_through))
        await self._meta.adopted(self._worker_id, str(self._placing.catalog), closed_through)
        self._tasks = [spawn("heartbeat", self._beat()), spawn("rebuild", self._heal())]

    async def stop(self) -> None:
        """A rebuild that runs is left; another worker, or the next start, begins it again."""
        await cancel(*self._tasks)

    async def begin(self) -> Moment:
        """Moves this worker's counter, and tells the moment. Raises what the driver raises."""
        # Two at once on different connections could arrive in the other order.
        async with self._counting:
            count = self._count + 1
            keys = key_on_each(self._redis, self._key)
            moves = [(("GET", key), ("SET", key, count, "EX", _COUNTER_SECONDS)) for key in keys]
            commands = [("TIME",), ("GET", GENERATION_KEY), *(command for both in moves for command in both)]
            time, generation, *moved = await together(self._redis, commands)
            # On a cluster that changed, a key that was never written before says nothing.
            known = [before for key, before in zip(keys, moved[::2], strict=True) if key in self._counted]
            went_back = any(before is None or int(before) not in (self._count, count) for before in known)
            self._count, self._counted = count, frozenset(keys)
            moment = Moment(int(time[0]) * 1000 + int(time[1]) // 1000, int(generation or 0))
            if went_back and moment.generation and moment.generation == self._seen:
                await self._is_wrong(moment.generation, "a worker's counter went back")
                moment = moment._replace(generation=0)
            self._seen = moment.generation
        if not moment.generation:
            self._wanted.set()
        return moment

    async def make(self, progress: Progress) -> Rebuilt:
        """Makes the boards anew though nothing is wrong with them, after any rebuild that runs already."""
        while True:
            made = await self._under_lease(progress, asked=True)
            if made is not None:
                return made
            progress("waiting for another rebuild", 0, 0)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _beat(self) -> None:
        while True:
            try:
                moment = await self.begin()
                # Redis before MongoDB: a rebuild tells them in the other order.
                in_redis, evicted = await server_state(self._redis)
                boards = await self._meta.boards()
                await self._adopt(boards)
                if moment.generation and moment.generation != boards.completed:
                    await self._is_wrong(moment.generation, "another generation")
                elif moment.generation and in_redis != boards.run_id:
                    await self._is_wrong(moment.generation, "another Redis server")
                elif moment.generation and await self._is_unmarked(boards):
                    await self._is_wrong(moment.generation, "a Redis server has forgotten")
                elif moment.generation and evicted > boards.evicted:
                    await self._is_wrong(moment.generation, "Redis evicted keys")
                elif moment.generation and await self._is_declared_otherwise(boards):
                    await self._is_wrong(moment.generation, "other boards are declared")
                    self._was_absent = False
            except STORE_ERRORS as error:
                _log.warning("a store does not answer", error=type(error).__name__)
            await asyncio.sleep(self._heartbeat)

    async def _is_unmarked(self, boards: Boards) -> bool:
        marks = await together(self._redis, [("GET", mark) for mark in boards.marks])
        return any(mark is None or mark.decode() != str(boards.completed) for mark in marks)

    async def _adopt(self, boards: Boards) -> None:
        """Takes over which boards are declared and which periods closed, and says so once it is true of every write."""
        terms = self._placing.terms
        if boards.declared != str(terms.catalog):
            _log.info("other boards are declared", boards=boards.declared)
            self._was_absent = self._was_absent or boards.made == boards.declared
            self._placing.adopt(Terms(Catalog.of(boards.declared), boards.closed_through))
        elif boards.closed_through != terms.closed_through:
            self._placing.adopt(Terms(terms.catalog, boards.closed_through))
        if self._placing.settled:
            await self._meta.adopted(self._worker_id, boards.declared, boards.closed_through)

    async def _is_declared_otherwise(self, boards: Boards) -> bool:
        """True if the boards are to be made as they are declared, and nobody writes others any more."""
        if not self._was_absent and boards.made == boards.declared:
            return False
        return await self._meta.agreed(boards.declared, SILENCE)

    async def _is_wrong(self, generation: int, why: str) -> None:
        if any(await self._withdraw.run([((GENERATION_KEY,), (generation,))])):
            _log.warning("the boards can't be trusted", reason=why, generation=generation)
        self._wanted.set()

    async def _heal(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                if await self._needed() and await self._under_lease(_say_nothing, asked=False) is None:
                    await asyncio.sleep(_RETRY_SECONDS)
                    self._wanted.set()
            except BoardsLostError as error:
                _log.warning("a rebuild was overtaken", reason=str(error))
                self._wanted.set()
            except STORE_ERRORS as error:
                _log.warning("a store does not answer", error=type(error).__name__)
                self._wanted.set()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _needed(self) -> bool:
        generation = int(await self._redis.get(GENERATION_KEY) or 0)
        in_redis, evicted = await server_state(self._redis)
        boards = await self._meta.boards()
        return (
            generation == 0
            or generation != boards.completed
            or in_redis != boards.run_id
            or evicted > boards.evicted
            or boards.made != boards.declared
        )

    async def _under_lease(self, progress: Progress, *, asked: bool) -> Rebuilt | None:
        """None if another has the lease, or if it is not needed any more and nobody asked for it."""
        async with self._making:
            if not await self._meta.take_lease(self._worker_id, LEASE):
                return None
            try:
                if not asked and not await self._needed():
                    return None
                return await self._renewing(progress)
            finally:
                await self._meta.leave_lease(self._worker_id)

    async def _renewing(self, progress: Progress) -> Rebuilt:
        token = f"{self._worker_id}-{asyncio.get_running_loop().time():.3f}"
        work = asyncio.create_task(self._rebuild.run(token, progress))
        try:
            while True:
                done, _ = await asyncio.wait({work}, timeout=_RENEW_SECONDS)
                if done:
                    return work.result()
                if not await self._meta.take_lease(self._worker_id, LEASE):
                    raise BoardsLostError("the lease is another's")
        finally:
            await cancel(work)


def _say_nothing(_stage: str, _done: int, _total: int) -> None:
    """Nobody watches."""
