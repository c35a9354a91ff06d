"""The definitions of boards that a leaderboard process knows are those that MongoDB has, also after it went back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pymongo import AsyncMongoClient

from services.boards.catalog import Catalog
from services.boards.config import BoardsConfig
from services.boards.definition import DEFINITIONS, Definition, to_document
from services.leaderboard.reading.boards import requested_board
from services.leaderboard.reading.definitions import Definitions
from services.runtime.clock import utc_now
from services.runtime.errors import ServiceError
from tests.servers import unique


async def test_definitions_are_those_of_the_database_after_it_went_back_to_none(mongo_url: str) -> None:
    catalog, changes = Catalog.from_text(""), list[int]()
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)
    async with client:
        database = client[unique("definitions-")]
        definitions = Definitions(
            database, catalog, lambda: changes.append(catalog.edition), timeout=timedelta(seconds=30)
        )
        await definitions.read()
        cup = {"cup": to_document(Definition("cup"))}
        await database[DEFINITIONS].insert_one({"_id": DEFINITIONS, "edition": 3, "numbers": 1, "boards": cup})
        for _ in range(2):
            await definitions.read()
        assert list(catalog.definitions) == ["cup"]
        await database[DEFINITIONS].delete_one({"_id": DEFINITIONS})
        for _ in range(2):
            await definitions.read()
        assert (list(catalog.definitions), changes) == ([], [3, 0])
        await client.drop_database(database.name)


async def test_a_defined_board_is_unavailable_until_definitions_are_read(mongo_url: str) -> None:
    """A process that has just started, or started while MongoDB is away."""
    catalog = BoardsConfig(declared="north=all,DK+SE").catalog
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)

    def asked(name: str) -> str:
        try:
            return requested_board(catalog, name, utc_now()).name
        except ServiceError as error:
            return error.reason

    async with client:
        database = client[unique("definitions-")]
        definitions = Definitions(database, catalog, lambda: None, timeout=timedelta(seconds=30))
        names = ("all", "custom:north", "custom:cup", "quiz:No Such")
        assert [asked(name) for name in names] == ["all", "custom:north", "UNAVAILABLE", "BOARD_NOT_FOUND"]
        await definitions.read()  # there are none
        assert asked("custom:cup") == "BOARD_NOT_FOUND"
        await client.drop_database(database.name)
