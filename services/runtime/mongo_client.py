"""A client of MongoDB for data that must not be lost: majority and journal on every write, majority on every read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import structlog
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError, WriteConcernError

from services.runtime.errors import Reason, ServiceError
from services.runtime.lifecycle import wait_for
from services.runtime.settings import MongoConfig
from services.runtime.store_metrics import MongoPools, counted
from services.runtime.store_spans import mongo_listeners

Document = dict[str, Any]
RETRY_AFTER = timedelta(seconds=1)
_AUTHENTICATION_FAILED = 18
_log = structlog.get_logger("mongo")


class Mongo(NamedTuple):
    """An open client and the database of one service."""

    client: AsyncMongoClient[Document]
    database: AsyncDatabase[Document]

    async def ping(self) -> None:
        """Raises unless a primary answers."""
        await self.client.admin.command("ping")


@asynccontextmanager
async def open_mongo(config: MongoConfig, service: str, *, wait: bool = True) -> AsyncIterator[Mongo]:
    """The database `<config.database>_<service>`, waiting up to 60 s for a primary; without `wait` not at all.

    Times are UTC and aware. Every operation ends within `config.timeout`; one that may take longer stands in a
    `with pymongo.timeout(seconds)` block.
    """
    pools = MongoPools()
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        config.url,
        appname=f"topten-{service}",
        tz_aware=True,
        uuidRepresentation="standard",
        w="majority",
        journal=True,
        readConcernLevel="majority",
        readPreference="primary",
        retryWrites=True,
        retryReads=True,
        timeoutMS=int(config.timeout.total_seconds() * 1000),
        serverSelectionTimeoutMS=min(2000, int(config.timeout.total_seconds() * 1000)),
        connectTimeoutMS=2000,
        maxPoolSize=50,
        maxIdleTimeMS=300_000,
        event_listeners=[pools, *mongo_listeners()],
    )
    try:
        opened = Mongo(client, client[f"{config.database}_{service}"])
        if wait:
            await wait_for("mongo", lambda: _first_ping(opened), retry_on=(ConnectionFailure, _NoSuchUserYetError))
            _log.info("connected", database=opened.database.name)
        with counted("mongo", pools.count):
            yield opened
    finally:
        await client.close()


class _NoSuchUserYetError(Exception):
    """The login is refused: wrong, or of a user who is made a moment after the server starts."""


async def _first_ping(mongo: Mongo) -> None:
    try:
        await mongo.ping()
    except OperationFailure as error:
        if error.code == _AUTHENTICATION_FAILED:
            raise _NoSuchUserYetError from error
        raise


@asynccontextmanager
async def unavailable_on_failure() -> AsyncIterator[None]:
    """Raises ServiceError UNAVAILABLE where the database did not answer in time or could not promise the write.

    Whether a write was done is then unknown. Every other error of the driver is a fault of the caller's and passes.
    """
    try:
        yield
    except PyMongoError as error:
        if error.timeout or isinstance(error, ConnectionFailure | WriteConcernError):
            _log.warning("the database did not answer", error=type(error).__name__)
            raise ServiceError(
                Reason.UNAVAILABLE, "the database does not answer at this moment", retry_after=RETRY_AFTER
            ) from error
        raise
