"""Indexes that somebody drops come back while processes run, with all their options, or somebody is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from services.cli.system.client import GraphqlClient
from services.runtime.stores.index_keeper import STAGED, IndexKeeper, missing_indexes
from tests.deadline import eventually
from tests.players import endpoints, register
from tests.servers import RunningServer, RunningStack, running_stack, unique

Document = dict[str, Any]
# A collection of each database.
PLACES = (("identity", "users"), ("quiz", "submissions"), ("score", "ledger"), ("boards", "closed"))


async def indexes_of(collection: AsyncCollection[Document]) -> dict[str, Any]:
    return {each["name"]: each async for each in await collection.list_indexes()}


async def test_an_index_is_created_again_as_it_was(servers: dict[str, RunningServer]) -> None:
    async with AsyncMongoClient[Document](servers["mongo"].url) as client:
        database = client[unique("indexes")]
        kept, staged = database["kept"], database[f"kept{STAGED}"]
        keeper = IndexKeeper(database)
        await kept.create_index("a", unique=True, partialFilterExpression={"a": {"$exists": True}})
        await keeper.look()
        await kept.create_index([("b", 1), ("c", -1)], sparse=True)
        await kept.create_index("at", expireAfterSeconds=60)
        await staged.create_index("d")
        await keeper.look()
        await database.command({"collMod": "kept", "index": {"name": "at_1", "expireAfterSeconds": 90}})
        await keeper.look()
        before = await indexes_of(kept)
        await kept.drop_indexes()
        await staged.drop_indexes()
        await keeper.look()
        assert await indexes_of(kept) == before
        assert await indexes_of(staged) == {"_id_": before["_id_"]}
        await kept.drop()
        await keeper.look()
        assert "kept" not in await database.list_collection_names(), (
            "data that is gone is not for the keeper to make up"
        )
        await client.drop_database(database.name)


async def test_an_index_that_the_data_contradicts_is_told_until_it_is_back(
    servers: dict[str, RunningServer], capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncMongoClient[Document](servers["mongo"].url) as client:
        database = client[unique("indexes")]
        kept, keeper = database["kept"], IndexKeeper(database)
        await kept.create_index("a", unique=True)
        await keeper.look()
        before = await indexes_of(kept)
        await kept.drop_indexes()
        await kept.insert_many([{"a": 1}, {"a": 1}])
        for _ in range(2):
            await keeper.look()
            assert missing_indexes._value.get() == 1
        assert "index cannot be created again" in capsys.readouterr().out
        await kept.delete_one({"a": 1})
        await keeper.look()
        assert (await indexes_of(kept), missing_indexes._value.get()) == (before, 0)
        await client.drop_database(database.name)


@pytest.fixture(scope="module")
def own() -> Iterator[RunningStack]:
    """A system whose indexes may be dropped and whose processes may be killed."""
    with running_stack() as started:
        yield started


async def test_every_process_keeps_the_indexes_of_its_databases(own: RunningStack) -> None:
    """Takes up to 15 s, after which a process looks again."""
    async with GraphqlClient(endpoints(own).graphql) as client, mongo_of(own) as mongo:
        player = await register(client)
        collections = [mongo[f"topten_{database}"][name] for database, name in PLACES]
        before = [await indexes_of(each) for each in collections]
        assert all(len(each) > 1 for each in before)
        for each in collections:
            await each.drop_indexes()

        async def are_back() -> bool:
            await player.submit("arithmetic-sprint", [("q1", "c")])  # processes at rest look more rarely
            return [await indexes_of(each) for each in collections] == before

        await eventually(are_back, "all indexes are there again")


async def test_an_index_may_take_longer_to_build_than_other_operations(own: RunningStack) -> None:
    """MongoDB abandons a build whose command times out: a process with many records would never start after an upgrade."""
    async with mongo_of(own) as mongo:
        databases = [mongo[f"topten_{database}"] for database, _ in PLACES]
        for database, (_, name) in zip(databases, PLACES, strict=True):
            await database[name].drop_indexes()
            await database.command("profile", 2)
        for name in ("identity", "quiz", "score"):
            os.kill(own.pid_of(name), signal.SIGKILL)
        built = {"command.createIndexes": {"$exists": True}}
        for database in databases:
            await eventually(partial(database["system.profile"].find_one, built), f"the indexes of {database.name}")
            limits = [each["command"]["maxTimeMS"] async for each in database["system.profile"].find(built)]
            assert min(limits) > 600_000, database.name


def mongo_of(stack: RunningStack) -> AsyncMongoClient[Document]:
    return AsyncMongoClient(stack.endpoints["stores"]["mongo"])
