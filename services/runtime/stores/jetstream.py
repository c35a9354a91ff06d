"""A connection to NATS with JetStream that reconnects for the lifetime of the process."""

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

from services.runtime.config.settings import NatsConfig
from services.runtime.process.lifecycle import cancel, startup_left, wait_for
from services.runtime.stores.bulk_client import BulkClient
from services.runtime.stores.metrics import Connections, counted

PUBLISH_TIMEOUT_SECONDS = 5.0
CLOSE_SECONDS = 3.0
_log = structlog.get_logger("nats")


class Nats(NamedTuple):
    """A connection, its JetStream context, and the task that makes the first connection."""

    client: BulkClient
    jetstream: JetStreamContext
    connecting: asyncio.Task[None]

    async def ping(self) -> None:
        """Raise unless the server responds and has JetStream; wait for the first connection."""
        # The client never sends a request that is made before it is connected.
        await asyncio.wait({self.connecting})
        await self.jetstream.account_info()


@asynccontextmanager
async def open_jetstream(config: NatsConfig, name: str, *, wait: bool = True) -> AsyncIterator[Nats]:
    """Connect as `name`, waiting for a server that is still starting (`startup_left`); drain at the end of the block.

    A lost connection is restored without limit of time: until then publishing raises, and subscriptions continue
    afterwards. Without `wait`, the first connection is made the same way, however late the server starts.
    """
    client = BulkClient()
    connecting = asyncio.create_task(_connect(client, config, name), name="nats")
    connection = Nats(client, client.jetstream(timeout=PUBLISH_TIMEOUT_SECONDS), connecting)
    try:
        if wait:
            # The client itself retries without a limit.
            async with asyncio.timeout(startup_left().total_seconds()):
                await connecting
            await wait_for("jetstream", connection.ping, retry_on=(NatsError, TimeoutError))
        with counted("nats", lambda: Connections(0, int(client.is_connected))):
            yield connection
    finally:
        await cancel(connecting)
        await _close(client)


async def _connect(client: Client, config: NatsConfig, name: str) -> None:
    logged = ("", 0.0)

    async def failed(error: Exception) -> None:
        # Attempts fail once a second; a new error is logged at once, the same one every 5 s.
        nonlocal logged
        text = str(error)[:200]
        if text != logged[0] or time.monotonic() - logged[1] >= 5.0:
            logged = (text, time.monotonic())
            _log.warning("nats connection error", error=type(error).__name__, detail=text)

    async def disconnected() -> None:
        _log.warning("nats disconnected")

    async def reconnected() -> None:
        _log.info("nats reconnected")

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
    _log.info("nats connected")


async def _close(client: Client) -> None:
    """Send buffered messages, if connected, and close."""
    try:
        if client.is_connected:
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.drain()
    except (NatsError, TimeoutError, OSError) as error:
        _log.warning("connection not drained", error=type(error).__name__)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.close()
