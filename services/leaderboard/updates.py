"""What `score.events` says, told to the watches it is about.

A message is a hint: whenever the subscription begins anew, every watched board is read, since what was said meanwhile is
gone. Must never stop because Redis does.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

import structlog
from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from topten.score.v1 import score_events_pb2

from services.leaderboard.watch import Watch
from services.runtime.boards import SCORE_CHANNEL, Board
from services.runtime.lifecycle import cancel, spawn

PAUSE_SECONDS: Final = 0.5
_log = structlog.get_logger("updates")


class Updates:
    """A server: between `start` and `stop` it listens. Watches register the board they look at."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._watches: defaultdict[str, set[Watch]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._listener = spawn("score events", self._listen())

    async def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            await cancel(self._listener)

    def watch(self, watch: Watch, board: Board) -> None:
        """Tell this watch of changes to `board`, and of no other from now on."""
        self.forget(watch)
        self._watches[board.text].add(watch)

    def forget(self, watch: Watch) -> None:
        """Tell this watch no more."""
        for text in [text for text, watches in self._watches.items() if watch in watches]:
            self._watches[text].discard(watch)
            if not self._watches[text]:
                del self._watches[text]

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(SCORE_CHANNEL)
                    async for message in subscription.listen():
                        if message["type"] == "subscribe":
                            self._mark_all_dirty()
                        elif message["type"] == "message":
                            self._tell(message["data"])
            except (RedisError, OSError) as error:
                _log.warning("no score events", error=type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)

    def _mark_all_dirty(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.mark_dirty()

    def _tell(self, data: bytes) -> None:
        try:
            batch = score_events_pb2.ScoreUpdatedBatch.FromString(data)
        except DecodeError:
            _log.warning("an unreadable message", size=len(data))
            self._mark_all_dirty()
            return
        for event in batch.events:
            for standing in event.payload.standings:
                for watch in self._watches.get(standing.board, ()):
                    watch.notice(event.payload.user_id, standing.value, lowered=standing.lowered)
