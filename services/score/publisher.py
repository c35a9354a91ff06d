"""`score.events`: tells whoever watches boards that they have changed.

A hint, sent after the boards are written and before the event is acknowledged. Who misses it reads the boards.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from services.runtime import tracing
from services.runtime.boards import SCORE_CHANNEL
from services.score.events import Counted, batch


class ScorePublisher:
    """Publishes over Redis; raises what the driver raises."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def publish(self, events: Sequence[Counted]) -> None:
        """One message for all of them."""
        if events:
            await self._redis.publish(SCORE_CHANNEL, batch(events, tracing.carried()))
