"""Telling every instance that a room has changed, over a Redis channel.

Messages are hints: followers read the room again after each one, and periodically without one, so a lost message delays a
frame and never hides a change. Changes of a room within `TELL_EVERY` share one message. A transition sends a second message,
so that its frame is not delayed as frames of joins and answers are.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from redis.asyncio import Redis

from services.runtime.process.lifecycle import Stage
from services.runtime.process.periodic import Periodic
from services.runtime.stores.channel import Channel
from services.runtime.stores.redis import REDIS_ERRORS

CHANNEL: Final = "room.changed"
# Follows the room's ID in the message of a transition.
TRANSITION: Final = "!"
TELL_EVERY: Final = timedelta(milliseconds=50)
TICK_SECONDS: Final = 0.1
_log = structlog.get_logger("room.changes")


@dataclass(frozen=True, eq=False, slots=True)
class Follower:
    """Two events: `changed` is set whenever a room may have changed, `moved_on` if that was a transition."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    moved_on: asyncio.Event = field(default_factory=asyncio.Event)

    def clear(self) -> None:
        """Reset both events, so that only later changes set them."""
        self.changed.clear()
        self.moved_on.clear()

    async def pause(self, seconds: float) -> None:
        """Wait for at least some time, until the next tick, or for a transition.

        The pauses of all rooms end at ticks, so that rooms that change at the same time are read together.
        """
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(math.ceil(until / TICK_SECONDS) * TICK_SECONDS):
                await self.moved_on.wait()
        except TimeoutError:
            return


class RoomChanges:
    """Changes of rooms, made here and elsewhere. Use from one event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._channel = Channel(redis, CHANNEL, opened=self._wake_all, received=self._wake)
        self._followers: defaultdict[str, set[Follower]] = defaultdict(set)
        self._unpublished: set[str] = set()
        self._any_unpublished = asyncio.Event()

    def servers(self) -> tuple[Periodic, Periodic]:
        """Return the subscription to the changes of other instances, and the loop that publishes those of this one."""
        publishing = Periodic("room changes", self._publish, every=TELL_EVERY, stage=Stage.PUBLISHER)
        return self._channel.server(), publishing

    def announce(self, room_id: str, *, transition: bool = False) -> None:
        """Tell every instance that a room has changed, this one at once; and whether that was a transition."""
        for message in (room_id, room_id + TRANSITION) if transition else (room_id,):
            self._wake(message.encode())
            self._unpublished.add(message)
        self._any_unpublished.set()

    @property
    def followed_rooms(self) -> int:
        """How many rooms are followed here."""
        return len(self._followers)

    @contextmanager
    def following(self, room_id: str) -> Iterator[Follower]:
        """Yield a follower of a room, which is notified until the block ends."""
        follower = Follower()
        self._followers[room_id].add(follower)
        try:
            yield follower
        finally:
            self._followers[room_id].discard(follower)
            if not self._followers[room_id]:
                del self._followers[room_id]

    async def _publish(self) -> None:
        await self._any_unpublished.wait()
        self._any_unpublished.clear()
        unpublished, self._unpublished = self._unpublished, set()
        try:
            for message in unpublished:
                await self._redis.publish(CHANNEL, message)
        except REDIS_ERRORS as error:
            _log.warning("room changes not announced", messages=len(unpublished), error=type(error).__name__)

    def _wake(self, message: bytes) -> None:
        text = message.decode("utf-8", "replace")
        for follower in self._followers.get(text.removesuffix(TRANSITION), ()):
            follower.changed.set()
            if text.endswith(TRANSITION):
                follower.moved_on.set()

    def _wake_all(self) -> None:
        for followers in self._followers.values():
            for follower in followers:
                follower.changed.set()
