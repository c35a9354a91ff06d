"""Watches of a table that a test writes, by a clock that it turns, and the screens before them.

That Redis is read rightly is tested against Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from topten.leaderboard.v1.leaderboard_pb2 import Frame

from services.leaderboard.frames import Reading, frame_of
from services.leaderboard.head import Head, UnreadableError
from services.leaderboard.names import Name
from services.leaderboard.ranking import order
from services.leaderboard.watch import Clock
from services.leaderboard.watches import Watches, WatchLimits
from services.runtime.boards import Board
from services.runtime.catalog import Catalog
from services.runtime.errors import ServiceError

TICK, REREAD, LINGER, CLOSING = 0.5, 5.0, 10.0, 10.0
# A Sunday, an hour before the ISO week 2026-47 is over.
NOW = datetime(2026, 11, 22, 23, tzinfo=UTC)
ALL = Board("all")
LIMITS = WatchLimits(
    frame_size=3,
    tick=timedelta(seconds=TICK),
    reread=timedelta(seconds=REREAD),
    linger=timedelta(seconds=LINGER),
    closing=timedelta(seconds=CLOSING),
    max_watched=3,
)


class HandClock(Clock):
    """A clock that only the test turns."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._waiting: dict[asyncio.Future[None], float] = {}

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        due = asyncio.get_running_loop().create_future()
        self._waiting[due] = self.seconds + seconds
        woken = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait([due, woken], return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            del self._waiting[due]

    async def turn(self, seconds: float) -> None:
        """Let time pass, waking whoever is due on the way, each at his moment."""
        until = self.seconds + seconds
        await settle()
        while (due := min(self._waiting.values(), default=until + 1)) <= until:
            self.seconds = max(self.seconds, due)
            for future, at in self._waiting.items():
                if at <= self.seconds and not future.done():
                    future.set_result(None)
            await settle()
        self.seconds = until
        await settle()


async def settle() -> None:
    """Let every task run until it waits: far more turns of the loop than any chain of wake-ups here has."""
    for _ in range(50):
        await asyncio.sleep(0)


class Table:
    """What there is to read: values by board, and whether they can be read."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, float]] = {}
        self.generation, self.version = 1, 0
        self.readable = True
        self.reads = 0
        self.hold: asyncio.Event | None = None

    def put(self, board: str = "all", **values: float) -> None:
        self.values.setdefault(board, {}).update(values)
        self.version += 1

    async def read(self, board: Board, size: int) -> Reading:
        self.reads += 1
        members = order(self.values.get(board.text, {}).items())[:size]
        head = Head(self.generation, self.version, members, {})
        readable = self.readable
        if self.hold is not None:
            await self.hold.wait()
        if not readable:
            raise UnreadableError("gone")
        names: Mapping[str, Name] = {user_id: Name(user_id.upper(), "VN") for user_id, _ in members}
        return Reading(frame_of(board, head, NOW, names), members, has_all_names=True)


class Screen:
    """A reader that keeps what it is sent."""

    def __init__(self, frames: AsyncGenerator[Frame, None]) -> None:
        self.frames: list[Frame] = []
        self.error: ServiceError | None = None
        self._source = frames
        self.task = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        try:
            async for frame in self._source:
                self.frames.append(frame)
        except ServiceError as error:
            self.error = error

    @property
    def scores(self) -> list[dict[str, int]]:
        return [{entry.user_id: entry.score for entry in frame.entries} for frame in self.frames]

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        await self._source.aclose()


class World:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.table = Table()
        self.watches = Watches(self.table.read, LIMITS, Catalog(), self.clock)
        self.screens: list[Screen] = []

    async def look(self, board: str = "all") -> Screen:
        screen = Screen(self.watches.frames(board))
        self.screens.append(screen)
        await settle()
        return screen

    def score(self, board: str = "all", *, lowered: bool = False, **values: float) -> None:
        """Write to the board and say so."""
        self.table.put(board, **values)
        for user_id, value in values.items():
            self.watches.notice(board, user_id, value, lowered=lowered)


@asynccontextmanager
async def opened() -> AsyncIterator[World]:
    world = World()
    try:
        yield world
    finally:
        await world.watches.stop()
        for screen in world.screens:
            await screen.close()
