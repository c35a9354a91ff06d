"""Telling every instance that a room has changed, over a Redis channel.

Messages are hints: followers of a room read it again, and do so now and then without one, so a lost message delays a frame and
never hides a change. Many changes of a room within a short time are one message.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import structlog
from redis.asyncio import Redis

from services.runtime.lifecycle import Stage
from services.runtime.periodic import Periodic
from services.runtime.stores.channel import Channel
from services.runtime.stores.redis import REDIS_ERRORS

CHANNEL: Final = "room.changed"
TELL_EVERY: Final = timedelta(milliseconds=50)
_log = structlog.get_logger("room.changes")


class RoomChanges:
    """Changes of rooms, made here and elsewhere. Use from one event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._channel = Channel(redis, CHANNEL, opened=self._wake_all, received=self._wake)
        self._followers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._untold: set[str] = set()
        self._any_untold = asyncio.Event()

    def servers(self) -> tuple[Periodic, Periodic]:
        """Return what hears of the changes of other instances, and what tells them of ours."""
        telling = Periodic("room changes", self._tell, every=TELL_EVERY, stage=Stage.PUBLISHER)
        return self._channel.server(), telling

    def announce(self, room_id: str) -> None:
        """Tell every instance that a room has changed, this one at once."""
        self._wake(room_id.encode())
        self._untold.add(room_id)
        self._any_untold.set()

    @contextmanager
    def following(self, room_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the room may have changed."""
        changed = asyncio.Event()
        self._followers[room_id].add(changed)
        try:
            yield changed
        finally:
            self._followers[room_id].discard(changed)
            if not self._followers[room_id]:
                del self._followers[room_id]

    async def _tell(self) -> None:
        await self._any_untold.wait()
        self._any_untold.clear()
        untold, self._untold = self._untold, set()
        try:
            for room_id in untold:
                await self._redis.publish(CHANNEL, room_id)
        except REDIS_ERRORS as error:
            _log.warning("room changes not announced", rooms=len(untold), error=type(error).__name__)

    def _wake(self, room_id: bytes) -> None:
        for changed in self._followers.get(room_id.decode("utf-8", "replace"), ()):
            changed.set()

    def _wake_all(self) -> None:
        for followers in self._followers.values():
            for changed in followers:
                changed.set()
