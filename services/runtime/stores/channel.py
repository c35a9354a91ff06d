"""One Redis Pub/Sub channel, followed until its connection is lost or silent.

Messages are hints: those sent while no subscription is open are lost, so `opened` is called when everything that they announce
has to be read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog
from redis.asyncio import Redis

from services.runtime.process.periodic import Periodic
from services.runtime.stores.redis import REDIS_ERRORS, subscription

SILENCE: Final = timedelta(seconds=3)
PAUSE: Final = timedelta(seconds=0.5)
_log = structlog.get_logger("channel")


class Channel:
    """The subscription. `opened` is called whenever it is opened, `received` with the data of each message.

    A connection that is silent for `silence`, even when it is pinged, is given up after twice that.
    """

    def __init__(
        self,
        redis: Redis,
        name: str,
        *,
        opened: Callable[[], None],
        received: Callable[[bytes], None],
        silence: timedelta = SILENCE,
    ) -> None:
        self._redis = redis
        self._name = name
        self._opened = opened
        self._received = received
        self._silence = silence.total_seconds()

    def server(self) -> Periodic:
        """Return the server that subscribes again whenever a subscription ends."""
        return Periodic(self._name, self._follow, every=PAUSE, retry_on=(*REDIS_ERRORS, TimeoutError))

    async def _follow(self) -> None:
        """Return when the connection is silent; raise the driver's errors."""
        async with subscription(self._redis) as messages:
            await messages.subscribe(self._name)
            received_at = time.monotonic()
            while True:
                message = await messages.get_message(timeout=self._silence)
                if message is not None:
                    received_at = time.monotonic()
                    if message["type"] == "subscribe":
                        self._opened()
                    elif message["type"] == "message":
                        self._received(message["data"])
                elif time.monotonic() - received_at > 2 * self._silence:
                    _log.warning("subscription silent", channel=self._name)
                    return
                else:
                    await messages.ping()
