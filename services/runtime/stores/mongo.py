"""A MongoDB client for data that must not be lost: writes with majority and journal, reads with majority."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final, NamedTuple

import pymongo
import structlog
from pymongo import AsyncMongoClient
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConnectionFailure, NetworkTimeout, OperationFailure, PyMongoError, WriteConcernError

from services.runtime.config.settings import MongoConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.process.lifecycle import wait_for
from services.runtime.process.patience import patience
from services.runtime.stores.metrics import counted
from services.runtime.stores.mongo_clock import MongoClock
from services.runtime.stores.mongo_listeners import MongoPools, mongo_listeners

Document = dict[str, Any]
RETRY_AFTER = timedelta(seconds=1)
LONG_OPERATION: Final = timedelta(hours=1)
SCAN: Final = timedelta(minutes=10)
# Documents that are handled without a pause of the event loop.
_PAGE: Final = 500
_AUTHENTICATION_FAILED = 18
# A server with older data does not have the key of the cluster time that this client has seen.
_KEY_NOT_FOUND = 211
_log = structlog.get_logger("mongo")


class Mongo(NamedTuple):
    """An open client, the database of one service, and the time of the server."""

    client: AsyncMongoClient[Document]
    database: AsyncDatabase[Document]
    clock: MongoClock

    async def ping(self) -> None:
        """Raise unless a primary responds. Its response sets the clock."""
        started = self.clock.started()
        response = await self.client.admin.command("hello")
        self.clock.note(response["localTime"], started)


def long_operation() -> AbstractContextManager[None]:
    """Give each operation of a block an hour: it works through a whole collection. Start no task and yield nothing within it.

    MongoDB abandons a build of an index whose command times out, so a process that gave it no more than its usual timeout
    would never end building.
    """
    return pymongo.timeout(LONG_OPERATION.total_seconds())


async def every_document(found: AsyncCursor[Document], *, within: timedelta | None = None) -> AsyncIterator[Document]:
    """Yield all documents of a cursor that was not read yet, read 500 at a time, however many there are.

    Each page must come `within` a time, by default the client's timeout; SCAN is for a read that passes over many documents
    for each that it finds. Raises what PyMongo raises, NetworkTimeout for a page that is late.
    """
    # MongoDB ends a cursor when its pages have together taken as long as the command that opened it was given.
    patience = found.collection.database.client.options.timeout if within is None else within.total_seconds()
    found = found.batch_size(_PAGE)
    while page := await _page(found, patience):
        for document in page:
            yield document


async def _page(found: AsyncCursor[Document], patience: float | None) -> list[Document]:
    try:
        with long_operation():
            async with asyncio.timeout(patience):
                return await found.to_list(_PAGE)
    except TimeoutError as error:
        raise NetworkTimeout(f"a page took longer than {patience} s") from error


@asynccontextmanager
async def open_mongo(
    config: MongoConfig, service: str, *, wait: bool = True, clock: MongoClock | None = None
) -> AsyncIterator[Mongo]:
    """The database `<config.database>_<service>`. Waits for a primary (`startup_left`), unless `wait` is False.

    Times are in UTC and timezone-aware; `clock` is set by each ping. Operations end within `config.timeout`, or that of a
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
        # Whatever the URL says: by the run of the primary a write tells other data, so another run must be known at once.
        serverMonitoringMode="stream",
        maxPoolSize=50,
        maxIdleTimeMS=300_000,
        event_listeners=[pools, *mongo_listeners()],
    )
    try:
        with patience(), suppress(PyMongoError):
            await client.aconnect()  # starts the driver's own tasks, and waits for no server
        opened = Mongo(client, client[f"{config.database}_{service}"], clock or MongoClock())
        if wait:
            await wait_for("mongo", lambda: _first_ping(opened), retry_on=(ConnectionFailure, _NoSuchUserYetError))
            _log.info("mongodb connected", database=opened.database.name)
        with counted("mongo", pools.count):
            yield opened
    finally:
        await client.close()


class _NoSuchUserYetError(Exception):
    """The login was refused: it is wrong, or its user is created shortly after the start of the server."""


async def _first_ping(mongo: Mongo) -> None:
    try:
        await mongo.ping()
    except OperationFailure as error:
        if error.code == _AUTHENTICATION_FAILED:
            raise _NoSuchUserYetError from error
        raise


@asynccontextmanager
async def unavailable_on_failure() -> AsyncIterator[None]:
    """Raise ServiceError UNAVAILABLE if the database does not respond in time or cannot guarantee a write.

    The outcome of a write is then unknown. Other errors of the driver are faults of the caller and are not caught.
    """
    try:
        yield
    except PyMongoError as error:
        is_older = isinstance(error, OperationFailure) and error.code == _KEY_NOT_FOUND
        if error.timeout or is_older or isinstance(error, ConnectionFailure | WriteConcernError):
            _log.warning("database did not respond", error=type(error).__name__)
            raise ServiceError(
                Reason.UNAVAILABLE, "The database is unavailable. Retry in 1 s.", retry_after=RETRY_AFTER
            ) from error
        raise
