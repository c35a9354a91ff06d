"""Nothing is written on top of data that MongoDB no longer has, whenever it was replaced: step by step, on real stores."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uuid_utils
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from services.quiz.quizzes.scoring import Marks, Tally
from services.quiz.submissions.store import SubmissionStore
from services.quiz.submissions.submission import Draft, Submission, TakenError
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.errors import ServiceError
from services.runtime.stores.data_identity import DataIdentity
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.same_data import CollectionReplacedError
from services.score.coordination_store import CoordinationStore, Reconciled
from services.score.errors import OtherSaltError, ReplacedDataError
from services.score.ledger.folds.fold import next_row
from tests.deadline import deadline
from tests.servers import RunningServer, unique
from tests.system.counting.local_worker import event, local_worker, now_ms
from tests.system.score import ScoreSystem, score_system

NOW = utc_now()


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    async with score_system(servers) as fresh:
        await fresh.store.prepare(timedelta(days=1))
        yield fresh


class RewindableMongo(RunningServer):
    """MongoDB whose files can be put back: the same collections with the rows of an older moment."""

    def __init__(self, folder: Path) -> None:
        super().__init__("mongo", folder / "mongo")
        self._files, self._copy = folder / "mongo", folder / "copy"

    async def keep(self) -> None:
        """Copy the files as they are now."""
        self.signal(signal.SIGSTOP)
        await asyncio.to_thread(shutil.copytree, self._files, self._copy)
        self.signal(signal.SIGCONT)

    async def rewind(self) -> None:
        """Kill the server and start it on the copy."""
        self.kill()
        await asyncio.to_thread(shutil.rmtree, self._files)
        self._copy.rename(self._files)
        await self.start()


@asynccontextmanager
async def rewindable_mongo() -> AsyncIterator[RewindableMongo]:
    folder = Path(tempfile.mkdtemp(prefix="topten-rewindable-"))
    (folder / "mongo").mkdir()
    server = RewindableMongo(folder)
    try:
        await server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


class Kept:
    """Copies of the collections of a database, to be swapped in as a restore does."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], *names: str) -> None:
        self._database = database
        self._names = names

    async def keep(self) -> None:
        for name in self._names:
            await (await self._database[name].aggregate([{"$out": f"kept_{name}"}])).to_list()

    async def swap_in(self) -> None:
        for name in self._names:
            await self._database[f"kept_{name}"].rename(name, dropTarget=True)


def swapped(collections: str) -> Any:
    return pytest.param(collections.split(), id=collections.replace(" ", " and "))


@pytest.mark.parametrize("names", [swapped("ledger"), swapped("players ledger"), swapped("ledger players")])
async def test_row_is_never_inserted_into_a_ledger_that_was_swapped_after_its_predecessor_was_read(
    system: ScoreSystem, names: list[str]
) -> None:
    one = await local_worker(system)
    known = one.incarnation.known
    kept = Kept(system.database, *names)
    await one.count(event("ada", 10, 1, 10), event("bob", 5, 1, 5))
    await one.folds.flush()
    await kept.keep()
    await one.count(event("ada", 20, 2, 30))
    one.store.before = kept.swap_in
    await one.count(event("ada", 40, 3, 70), event("bob", 7, 2, 12))
    assert await system.chain("ada") == await system.chain("bob") == [1, 2]
    assert one.incarnation.known.id != known.id
    await one.rebuild.run(unique("t"), lambda *_: None, of_other_data=True)
    assert dict(await system.board("all")) == {"ada": 50, "bob": 12}
    folds = await system.store.folds(["ada", "bob"])
    assert {user: fold.total.points for user, fold in folds.items()} == {"ada": 50, "bob": 12}


async def test_row_is_never_inserted_into_a_ledger_whose_chains_have_other_names(system: ScoreSystem) -> None:
    """By a worker of the former data, from the moment at which a backup of another deployment is swapped in to its end."""
    one = await local_worker(system)
    kept = Kept(system.database, "ledger", "players")
    await one.count(event("ada", 10, 1, 10))
    await one.folds.flush()
    await kept.keep()
    meta, other = system.database["meta"], secrets.token_bytes(32)
    await meta.update_one({"_id": "salt"}, {"$set": {"replaced_by": other}})
    before = one.store.identity
    await kept.swap_in()
    for _ in range(2):
        with pytest.raises(OtherSaltError):
            await one.store.prepare(timedelta(days=1))
        assert one.store.identity == before
        row = next_row((await one.folds.load(["ada"]))["ada"], event("ada", 20, 2, 30), now_ms())
        with pytest.raises(CollectionReplacedError):
            await one.store.insert([row], one.store.identity)
        await meta.replace_one({"_id": "salt"}, {"value": other})
    assert await system.chain("ada") == [1]


async def test_process_that_starts_while_other_data_is_swapped_in_waits_for_it(system: ScoreSystem) -> None:
    coordination, meta, other = CoordinationStore(system.database), system.database["meta"], secrets.token_bytes(32)
    former = await coordination.salt()
    await meta.update_one({"_id": "salt"}, {"$set": {"replaced_by": former}})
    assert await coordination.salt() == former, "the backup is of this deployment"
    await meta.update_one({"_id": "salt"}, {"$set": {"replaced_by": other}})
    with pytest.raises(OtherSaltError, match="run it again"):
        await coordination.salt()
    await meta.replace_one({"_id": "salt"}, {"value": other})
    assert await coordination.salt() == other


async def test_rows_that_were_removed_never_count_as_inserted(system: ScoreSystem) -> None:
    """Not even if the row that they follow is found after all, while they are removed."""
    one, ledger = await local_worker(system), system.database["ledger"]
    second = event("ada", 20, 2, 30, at=NOW + timedelta(seconds=1))
    await one.count(event("ada", 10, 1, 10, at=NOW))
    first = await ledger.find_one_and_delete({"user_id": "ada"})
    assert first is not None
    basis = one.folds.basis()._replace(identity=DataIdentity({}, "another primary"))
    before = (await one.folds.load(["ada"]))["ada"]
    row = next_row(before, second, now_ms())
    await system.store.insert([row], one.store.identity)

    async def show() -> None:
        await ledger.insert_one(first)

    one.store.before_remove = show
    with pytest.raises(ReplacedDataError):
        await one.folds.confirm_insert([row], [before], basis)
    assert await system.chain("ada") == [1]
    await one.count(second)
    assert await system.chain("ada") == [1, 2]


async def test_fold_is_never_stored_in_a_collection_that_was_swapped_after_it_was_read(system: ScoreSystem) -> None:
    """The chain has the fold's last row, so only the collection tells that it is another one."""
    one = await local_worker(system)
    kept = Kept(system.database, "players")
    await one.count(event("ada", 10, 1, 10))
    await kept.keep()
    await one.count(event("ada", 20, 2, 30))
    await kept.swap_in()
    with pytest.raises(ReplacedDataError):
        await one.folds.flush()
    assert await system.store.folds(["ada"]) == {}
    await one.folds.flush()
    await one.folds.correct_stored()
    assert (await system.store.folds(["ada"]))["ada"].total.points == 30


async def test_comparison_of_former_data_is_not_recorded_in_other_data(system: ScoreSystem) -> None:
    """By a worker that was frozen since it compared: what the other data lacks would count as compared."""
    one, kept = CoordinationStore(system.database), Kept(system.database, "meta")
    await one.prepare()
    earlier = Reconciled("incarnation", "stream", 1_000)
    assert await one.record_reconciled(earlier, one.identity)
    await kept.keep()
    compared = one.identity
    await kept.swap_in()
    assert not await one.record_reconciled(Reconciled("incarnation", "stream", 2_000), compared)
    assert await one.reconciled() == earlier
    await one.prepare()
    assert await one.record_reconciled(Reconciled("another", "stream", 1_500), one.identity)


async def test_row_that_an_older_server_took_after_its_predecessor_was_read_is_removed(
    servers: dict[str, RunningServer],
) -> None:
    """The collection has the same UUID: only the run of the primary tells."""
    async with rewindable_mongo() as mongo, score_system({**servers, "mongo": mongo}) as system:
        one = await local_worker(system)
        await one.count(event("ada", 10, 1, 10))
        await mongo.keep()
        await one.count(event("ada", 20, 2, 30))

        async def rewind() -> None:
            await mongo.rewind()
            await eventually_pings(system)  # the driver has noticed: the insert finds a connection at once

        one.store.before = rewind
        await one.count(event("ada", 40, 3, 70))
        assert await system.chain("ada") == [1, 2]
        assert (await system.store.last_total("ada"))[1].points == 50


async def eventually_pings(system: ScoreSystem) -> None:
    async with deadline("MongoDB responds"):
        while True:
            with suppress(PyMongoError):
                return await system.mongo.ping()
            await asyncio.sleep(0.05)


def submission(attempt: int) -> Submission:
    """The n-th attempt of a player at a quiz that adds up, 10 points each."""
    return Submission(
        event_id=str(uuid_utils.uuid7()),
        user_id="ada",
        action_id=unique("action-"),
        quiz_id="q",
        version=1,
        payload_digest="",
        answers=(),
        marks=Marks(10, 1, 1),
        tally=Tally(attempt, attempt, attempt, 10 * attempt, 10 * attempt),
        delta=10,
        client_time=NOW,
        received_at=NOW,
    )


async def add(store: SubmissionStore, attempt: int, identity: DataIdentity | None = None) -> None:
    draft = Draft(submission(attempt), b"", identity or store.identity)
    (failure,) = await store.add_all([draft], NOW + timedelta(minutes=1))
    if failure is not None:
        raise failure


async def attempts(database: AsyncDatabase[dict[str, Any]]) -> list[int]:
    return [each["attempt"] async for each in database["submissions"].find({}).sort("attempt")]


async def test_attempt_is_never_recorded_in_a_collection_that_was_swapped_after_the_tally_was_read(
    mongo_url: str,
) -> None:
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "quiz") as mongo:
        store, kept = SubmissionStore(mongo.database), Kept(mongo.database, "submissions")
        await store.prepare()
        await add(store, 1)
        await kept.keep()
        await add(store, 2)
        before = store.identity
        await kept.swap_in()
        with pytest.raises(TakenError):
            await add(store, 3, before)
        # The tally of the former data, with a new look at the collection: as if it had been cached.
        with pytest.raises(TakenError):
            await add(store, 3, before)
        assert await attempts(mongo.database) == [1]
        await store.prepare()
        await add(store, (await store.last_tally("ada", "q")).sequence + 1)
        assert await attempts(mongo.database) == [1, 2]


async def test_attempt_that_is_sent_again_to_an_older_server_is_not_recorded() -> None:
    """MongoDB is killed while the record is under way, and comes back with older files."""
    async with rewindable_mongo() as server:
        async with open_mongo(MongoConfig(url=server.url, database=unique("t")), "quiz") as mongo:
            store = SubmissionStore(mongo.database)
            await store.prepare()
            await add(store, 1)
            await server.keep()
            await add(store, 2)
            server.signal(signal.SIGSTOP)
            adding = asyncio.create_task(add(store, 3))
            await asyncio.sleep(0)  # it is under way, and may have been sent
            await server.rewind()
            with pytest.raises((TakenError, ServiceError)):
                await adding
            async with deadline("MongoDB responds"):
                while True:
                    with suppress(PyMongoError):
                        assert await attempts(mongo.database) == [1]
                        break
                    await asyncio.sleep(0.05)


async def test_row_is_never_inserted_on_rows_that_are_gone(system: ScoreSystem) -> None:
    one = await local_worker(system)
    known = one.incarnation.known
    await one.count(event("ada", 10, 1, 10))
    older = [row async for row in system.database["ledger"].find({})]
    await one.count(event("ada", 20, 2, 30), event("bob", 5, 1, 5))

    await system.database["ledger"].delete_many({"_id": {"$nin": [row["_id"] for row in older]}})
    await one.count(event("ada", 40, 3, 70), event("bob", 7, 2, 12))
    assert await system.chain("ada") == [1, 2]
    assert await system.chain("bob") == [1]
    assert one.incarnation.known.id != known.id
    await one.folds.flush()
    folds = await system.store.folds(["ada", "bob"])
    assert {user: fold.total.points for user, fold in folds.items()} == {"ada": 50, "bob": 7}


async def test_stored_folds_ahead_of_the_ledger_and_behind_it_are_corrected(system: ScoreSystem) -> None:
    one = await local_worker(system)
    await one.count(event("ada", 10, 1, 10), event("bob", 5, 1, 5))
    await one.folds.flush()
    older = [row async for row in system.database["ledger"].find({})]
    behind = await system.database["players"].find_one({"user_id": "bob"})
    assert behind is not None
    await one.count(event("ada", 20, 2, 30), event("bob", 5, 2, 10), event("eve", 5, 1, 5))
    await one.folds.flush()
    # What a flush just before the change leaves, or a restore whose collections are of different moments.
    kept = [row["_id"] for row in older] + [
        row["_id"] async for row in system.database["ledger"].find({"user_id": "bob"})
    ]
    await system.database["ledger"].delete_many({"_id": {"$nin": kept}})
    await system.database["players"].replace_one({"user_id": "bob"}, behind)

    await one.rebuild.run(unique("t"), lambda *_: None, of_other_data=True)
    folds = await system.store.folds(["ada", "bob", "eve"])
    assert {user: fold.total.points for user, fold in folds.items()} == {"ada": 10, "bob": 10, "eve": 0}
    assert dict(await system.board("all")) == {"ada": 10, "bob": 10}


async def test_fold_of_rows_that_are_gone_is_not_stored(system: ScoreSystem) -> None:
    one = await local_worker(system)
    await one.count(event("ada", 10, 1, 10))
    await system.database["ledger"].delete_many({})
    with pytest.raises(ReplacedDataError):
        await one.folds.flush()
    assert (await system.store.folds(["ada"])).get("ada", system.store.empty_fold("ada")).revision == 0
    await one.folds.flush()


async def test_rows_that_a_restored_worker_report_does_not_cover_are_put_into_the_folds(system: ScoreSystem) -> None:
    one = await local_worker(system)
    await one.count(event("ada", 10, 1, 10))
    await one.folds.flush()
    meta = await system.database["meta"].find_one({"_id": {"$regex": "^worker:"}})
    assert meta is not None
    players = [fold async for fold in system.database["players"].find({})]
    await one.count(event("ada", 20, 2, 30))
    await one.folds.flush()
    await one.folds.flush()
    # Restored: the ledger has row 2, the folds and the worker's report are of the moment before its flush.
    await system.database["meta"].replace_one({"_id": meta["_id"]}, meta)
    await system.database["players"].replace_one({"_id": players[0]["_id"]}, players[0])
    with pytest.raises(ReplacedDataError):
        await one.folds.flush()
    await one.folds.flush()
    assert (await system.store.folds(["ada"]))["ada"].revision == 2
