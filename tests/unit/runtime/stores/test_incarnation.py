"""MongoDB's data has an identity: a process that knew the data of another moment notices."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import AsyncMongoClient

from services.runtime.stores.incarnation import Incarnation, IncarnationStore, IncarnationWatch
from tests.servers import unique


class Watched:
    """A process with a watch, and the changes that it acted on."""

    def __init__(self, store: IncarnationStore) -> None:
        self.changes: list[Incarnation] = []
        self.watch = IncarnationWatch(store, self._on_change)

    async def _on_change(self, now: Incarnation) -> None:
        self.changes.append(now)


@pytest.fixture
async def client(mongo_url: str) -> Any:
    opened: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True)
    async with opened:
        yield opened


async def test_unchanged_data_keeps_its_incarnation(client: Any) -> None:
    store = IncarnationStore(client, unique("incarnation"))
    first, second = Watched(store), Watched(store)
    for process in (first, second):
        await process.watch.start()
    for _ in range(3):
        await first.watch.check()
        await second.watch.check()
    assert first.changes == second.changes == []
    assert first.watch.known.id == second.watch.known.id
    assert second.watch.known.mark == first.watch.known.mark + 1
    for process in (first, second):
        await process.watch.stop()


async def test_an_older_moment_is_noticed_by_every_process_as_one_change(client: Any) -> None:
    prefix = unique("incarnation")
    store = IncarnationStore(client, prefix)
    first, second = Watched(store), Watched(store)
    for process in (first, second):
        await process.watch.start()
    older = await client[prefix]["incarnation"].find_one({})
    await first.watch.check()
    await second.watch.check()
    await client[prefix]["incarnation"].replace_one({"_id": "mongo"}, older)

    await second.watch.check()
    await first.watch.check()
    assert [change.id for change in first.changes] == [change.id for change in second.changes] == [first.watch.known.id]
    assert first.watch.known.id != older["id"]
    await first.watch.check()
    await second.watch.check()
    assert len(first.changes) == len(second.changes) == 1
    for process in (first, second):
        await process.watch.stop()


async def test_a_database_that_came_back_empty_is_noticed(client: Any) -> None:
    prefix = unique("incarnation")
    process = Watched(IncarnationStore(client, prefix))
    await process.watch.start()
    await client.drop_database(prefix)
    await process.watch.check()
    assert [change.id for change in process.changes] == [process.watch.known.id]
    await process.watch.stop()


async def test_a_missing_row_that_one_process_reports_is_a_change_for_all(client: Any) -> None:
    store = IncarnationStore(client, unique("incarnation"))
    first, second = Watched(store), Watched(store)
    for process in (first, second):
        await process.watch.start()
    await first.watch.report("a ledger row is missing", first.watch.known)
    await second.watch.report("a ledger row is missing", second.watch.known)
    await second.watch.check()
    assert len(first.changes) == len(second.changes) == 1
    assert first.watch.known.id == second.watch.known.id
    for process in (first, second):
        await process.watch.stop()


async def test_an_incarnation_that_comes_back_is_a_change_too(client: Any) -> None:
    """Otherwise boards built on the first time of its data would count as built on the second."""
    prefix = unique("incarnation")
    process = Watched(IncarnationStore(client, prefix))
    await process.watch.start()
    await process.watch.check()
    first = await client[prefix]["incarnation"].find_one({})
    await process.watch.report("a ledger row is missing", process.watch.known)
    await client[prefix]["incarnation"].replace_one({"_id": "mongo"}, first)
    await process.watch.check()
    assert len({first["id"], *(change.id for change in process.changes)}) == 3
    await process.watch.check()
    assert len(process.changes) == 2
    await process.watch.stop()


async def test_a_report_of_data_that_was_replaced_meanwhile_changes_nothing(client: Any) -> None:
    prefix = unique("incarnation")
    process = Watched(IncarnationStore(client, prefix))
    await process.watch.start()
    known = process.watch.known
    await client.drop_database(prefix)
    await process.watch.check()
    await process.watch.report("a ledger row is missing", known)
    assert len(process.changes) == 1
    await process.watch.stop()


async def test_a_change_that_could_not_be_acted_on_is_acted_on_again(client: Any) -> None:
    prefix = unique("incarnation")
    failures = [ConnectionError("no caches dropped")]
    acted: list[str] = []

    async def on_change(now: Incarnation) -> None:
        if failures:
            raise failures.pop()
        acted.append(now.id)

    watch = IncarnationWatch(IncarnationStore(client, prefix), on_change)
    await watch.start()
    await client.drop_database(prefix)
    with pytest.raises(ConnectionError):
        await watch.check()
    await watch.check()
    assert acted == [watch.known.id]
    await watch.stop()
