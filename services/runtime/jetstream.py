"""A connection to NATS with JetStream that comes back by itself, for as long as the process lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from services.runtime.bulk_client import BulkClient
from services.runtime.lifecycle import cancel, wait_for
from services.runtime.settings import NatsConfig
from services.runtime.store_metrics import Connections, counted

PUBLISH_TIMEOUT_SECONDS = 5.0
WAIT_SECONDS = 60.0
CLOSE_SECONDS = 3.0
_log = structlog.get_logger("nats")


class Nats(NamedTuple):
    """An open connection and its JetStream context."""

    client: BulkClient
    jetstream: JetStreamContext

    async def ping(self) -> None:
        """Raises unless the server answers and has JetStream."""
        await self.jetstream.account_info()


@asynccontextmanager
async def open_jetstream(config: NatsConfig, name: str, *, wait: bool = True) -> AsyncIterator[Nats]:
    """Connects as `name`, waiting up to 60 s for a server that is still starting, and drains when it is left.

    Afterwards a lost connection is made again for ever; a publish in between raises, a subscription goes on. Without
    `wait` the same holds from the beginning: it connects when there is a server, however late.
    """
    client = BulkClient()
    connection = Nats(client, client.jetstream(timeout=PUBLISH_TIMEOUT_SECONDS))
    connecting = asyncio.create_task(_connect(client, config, name), name="nats")
    try:
        if wait:
            # It tries for ever by itself, hence the limit.
            async with asyncio.timeout(WAIT_SECONDS):
                await connecting
            await wait_for("jetstream", connection.ping, retry_on=(NatsError, TimeoutError))
        with counted("nats", lambda: Connections(0, int(client.is_connected))):
            yield connection
    finally:
        await cancel(connecting)
        await _close(client)


async def _connect(client: Client, config: NatsConfig, name: str) -> None:
    said = ("", 0.0)

    async def failed(error: Exception) -> None:
        # A server that is away fails once a second; that is said when it changes and every 5 s.
        nonlocal said
        text = str(error)[:200]
        if text != said[0] or time.monotonic() - said[1] >= 5.0:
            said = (text, time.monotonic())
            _log.warning("connection error", error=type(error).__name__, detail=text)

    async def disconnected() -> None:
        _log.warning("disconnected")

    async def reconnected() -> None:
        _log.info("reconnected")

    await client.connect(
        servers=[server.strip() for server in config.url.split(",")],
        name=name,
        error_cb=failed,
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        connect_timeout=2,
        ping_interval=10,
        max_outstanding_pings=2,
        drain_timeout=2,
    )
    _log.info("connected")


async def _close(client: Client) -> None:
    """Delivers what is buffered and ends; without a connection there is nothing to deliver to."""
    try:
        if client.is_connected:
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.drain()
    except (NatsError, TimeoutError, OSError) as error:
        _log.warning("not drained", error=type(error).__name__)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.close()
