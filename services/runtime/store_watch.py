"""Whether each store answers this process, as a metric. Readiness does not ask it: see `StoreWatch`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import structlog
from prometheus_client import Gauge

from services.runtime.lifecycle import cancel, spawn

Ping = Callable[[], Awaitable[Any]]

EVERY: Final = timedelta(seconds=2)
ANSWER_SECONDS: Final = 2.0
_log = structlog.get_logger("stores")
store_up = Gauge("topten_store_up", "Whether a store answers the process: 1 or 0", ["store"])


class StoreWatch:
    """Pings each store all the while, `every` so often; one that raises, or takes longer than 2 s, is away. A server.

    A process that once reached its stores serves on without them what it can: what it holds, and a clear refusal of the
    rest. To take it out of service for that would take away both, and every other instance with it, since all share the
    store. So a store that is away is a metric, a line of the log and an alert.
    """

    def __init__(self, *, every: timedelta = EVERY, **pings: Ping) -> None:
        self._pings = pings
        self._every = every.total_seconds()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins."""
        self._tasks = [spawn(f"watch of {store}", self._watch(store, ping)) for store, ping in self._pings.items()]

    async def stop(self) -> None:
        """Ends, before the stores are closed."""
        await cancel(*self._tasks)

    async def _watch(self, store: str, ping: Ping) -> None:
        was_up = True
        while True:
            error = await _failure(ping)
            store_up.labels(store).set(error is None)
            if error is None and not was_up:
                _log.info("a store answers again", store=store)
            elif error is not None and was_up:
                # Never what the driver says: that may hold a URL.
                _log.warning("a store does not answer", store=store, error=type(error).__name__)
            was_up = error is None
            await asyncio.sleep(self._every)


async def _failure(ping: Ping) -> Exception | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await ping()
    except Exception as error:  # noqa: BLE001  # whatever a driver raises, the store is away
        return error
    return None
