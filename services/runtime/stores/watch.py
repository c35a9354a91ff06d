"""Whether each store responds to this process, as a metric. It does not affect readiness: see `StoreWatch`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog
from prometheus_client import Gauge

from services.runtime.process.activity import PROCESS
from services.runtime.process.periodic import Periodic

Ping = Callable[[], Awaitable[Any]]

EVERY: Final = timedelta(seconds=5)
PING_SECONDS: Final = 2.0
_log = structlog.get_logger("stores")
store_up = Gauge("topten_store_up", "Whether a store responds to the process: 1 or 0", ["store"])


class StoreWatch:
    """Pings each store periodically; a store is down if the ping raises or takes longer than 2 s. A server.

    A process that once reached its stores stays in service without them: it serves what it holds and refuses the rest.
    Taking it out of service would lose both, on every instance, since all share the store. So a store that is down is a
    metric, a log line and an alert.

    A RuntimeError is no failure of the store but of its driver, whose locks then may stay taken for good: MongoDB was back,
    and the process never reached it again. So it ends the process, which starts again with a new client.
    """

    def __init__(self, *, every: timedelta = EVERY, **pings: Ping) -> None:
        self._up = dict.fromkeys(pings, True)
        self._loops = [
            Periodic(f"ping {store}", partial(self._check, store, pings[store]), every=every, at_rest=6)
            for store in pings
        ]

    async def start(self) -> None:
        """Start to ping."""
        for loop in self._loops:
            await loop.start()

    async def stop(self) -> None:
        """Stop to ping, before the stores are closed."""
        for loop in self._loops:
            await loop.stop()

    async def _check(self, store: str, ping: Ping) -> None:
        error = await _failure(ping)
        store_up.labels(store).set(error is None)
        if error is not None:
            PROCESS.note()  # to look again soon
        if error is None and not self._up[store]:
            _log.info("store reachable again", store=store)
        elif error is not None and self._up[store]:
            # Never the driver's message: it may contain a URL with a password.
            _log.warning("store unreachable", store=store, error=type(error).__name__)
        self._up[store] = error is None


async def _failure(ping: Ping) -> Exception | None:
    try:
        async with asyncio.timeout(PING_SECONDS):
            await ping()
    except RuntimeError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever else a driver raises, the store is down
        return error
    return None
