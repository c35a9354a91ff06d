"""The live state of rooms: a frame after each change.

Must never depend on a message: a room is read again when a transition is due without a command, and every READ_AGAIN in any
case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import Gauge, Histogram
from topten.room.v1.room_pb2 import RoomFrame

from services.quiz.rooms.changes import RoomChanges
from services.quiz.rooms.documents import Seat
from services.quiz.rooms.play.frames import frame_of
from services.quiz.rooms.reading import MAX_READS, MAX_SHARED, RoomReader, outcome
from services.quiz.rooms.room import Phase, Snapshot
from services.quiz.rooms.room_store import RoomStore
from services.quiz.rooms.seats.seat_store import SeatStore
from services.quiz.rooms.seats.seating import removed_player
from services.runtime.batcher import Batcher
from services.runtime.errors import ServiceError
from services.runtime.process.periodic import Periodic

READ_AGAIN: Final = timedelta(seconds=2)
# A frame goes to every player, so the least time between two frames of a room grows with the number of its players and of
# rooms: an instance makes at most 250 frames a second, and a room sends at most 2 500. Transitions are not delayed.
MIN_PAUSE_SECONDS: Final = 0.1
PAUSE_SECONDS_PER_PLAYER: Final = 0.0004
PAUSE_SECONDS_PER_ROOM: Final = 0.004
COUNT_EVERY: Final = timedelta(seconds=5)

rooms_open = Gauge("topten_rooms", "Rooms that have not ended; each instance reports all of them")
players_seated = Gauge("topten_room_players", "Players in rooms that have not ended; each instance reports all of them")
reveal_seconds = Histogram(
    "topten_room_reveal_seconds",
    "Time from the reveal of a question to the frame that shows it",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
lock_to_reveal_seconds = Histogram(
    "topten_room_lock_to_reveal_seconds",
    "Time from the lock of a question to the frame that shows its reveal; the host decides how long",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)


class RoomWatching:
    """Streams frames, and counts open rooms."""

    def __init__(
        self,
        rooms: RoomStore,
        seats: SeatStore,
        reader: RoomReader,
        changes: RoomChanges,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._rooms = rooms
        self._seats = seats
        self._reader = reader
        self._changes = changes
        self._now = now
        self._share_frame: Batcher[Snapshot, RoomFrame] = Batcher(
            "room frames", self._frame_all, max_size=MAX_SHARED, max_concurrent=MAX_READS
        )

    def server(self) -> Periodic:
        """Return the loop that counts open rooms and their players."""
        return Periodic("room count", self._count, every=COUNT_EVERY, at_rest=6, retry_on=(ServiceError,))

    async def frame(self, snapshot: Snapshot) -> RoomFrame:
        """Return the frame of a room. Callers at the same moment share it. Raises ROOM_NOT_FOUND, UNAVAILABLE."""
        return await self._share_frame(snapshot)

    async def _frame_all(self, snapshots: Sequence[Snapshot]) -> list[RoomFrame | Exception]:
        distinct = {_key(snapshot): snapshot for snapshot in snapshots}
        lobbies = {each.room.room_id: each.players for each in distinct.values() if each.room.phase is Phase.LOBBY}
        newest = await self._seats.newest(lobbies) if lobbies else {}
        frames = await asyncio.gather(
            *(self._frame(each, newest.get(each.room.room_id, ())) for each in distinct.values()),
            return_exceptions=True,
        )
        found = dict(zip(distinct, map(outcome, frames), strict=True))
        return [found[_key(snapshot)] for snapshot in snapshots]

    async def _frame(self, snapshot: Snapshot, newest: Sequence[Seat]) -> RoomFrame:
        room = snapshot.room
        quiz = await self._rooms.quiz(room.room_id)
        fold = await self._reader.fold(room) if room.shows_key or room.shows_board else None
        return frame_of(snapshot, quiz, fold, newest)

    async def current(self, pin: str, viewer_id: str = "") -> RoomFrame:
        """Return the frame of the room with a PIN. Raises ROOM_NOT_FOUND, ROOM_CLOSED for a removed player, UNAVAILABLE."""
        snapshot = await self._reader.current(await self._rooms.room_id(pin))
        if viewer_id and viewer_id in await self._reader.removed_from(snapshot.room):
            raise removed_player()
        return await self.frame(snapshot)

    async def room_id(self, pin: str) -> str:
        """Return the id of the room with a PIN. Raises ROOM_NOT_FOUND, UNAVAILABLE."""
        return await self._rooms.room_id(pin)

    async def frames(self, room_id: str) -> AsyncGenerator[tuple[RoomFrame, frozenset[str]], None]:
        """Yield the current frame, then the latest one after each change, until the room has ended; each with the players
        whom a host has removed by then, but for hosts.

        Raises ROOM_NOT_FOUND, UNAVAILABLE.
        """
        shown: RoomFrame | None = None
        with self._changes.following(room_id) as follower:
            while True:
                follower.clear()
                snapshot = await self._reader.current(room_id)
                frame, removed = await asyncio.gather(self.frame(snapshot), self._reader.removed_from(snapshot.room))
                if frame != shown:
                    self._observe(snapshot, shown)
                    shown = frame
                    yield frame, removed
                if snapshot.room.phase is Phase.ENDED:
                    return
                await follower.pause(self._pause_seconds(snapshot))
                await self._wait(follower.changed, snapshot)

    def _pause_seconds(self, snapshot: Snapshot) -> float:
        for_players = PAUSE_SECONDS_PER_PLAYER * snapshot.players
        return MIN_PAUSE_SECONDS + for_players + PAUSE_SECONDS_PER_ROOM * self._changes.followed_rooms

    async def _wait(self, changed: asyncio.Event, snapshot: Snapshot) -> None:
        """Wait for a change, at most until a transition is due without a command or READ_AGAIN is over."""
        # A question locks just after, not at, its deadline and grace.
        due = snapshot.room.next_change_at(snapshot.waiting_for) - self._now() + timedelta(milliseconds=1)
        try:
            async with asyncio.timeout(max(0.0, min(due, READ_AGAIN).total_seconds())):
                await changed.wait()
        except TimeoutError:
            return

    def _observe(self, snapshot: Snapshot, shown: RoomFrame | None) -> None:
        room = snapshot.room
        if room.phase is Phase.REVEAL and shown is not None and shown.revision < room.revision:
            now = self._now()
            reveal_seconds.observe((now - room.changed_at).total_seconds())
            if room.locked_at is not None:
                lock_to_reveal_seconds.observe((now - room.locked_at).total_seconds())

    async def _count(self) -> None:
        living = await self._rooms.living(self._now())
        rooms_open.set(len(living))
        players_seated.set(sum((await self._seats.counts(living)).values()) if living else 0)


def _key(snapshot: Snapshot) -> tuple[str, int, int, int]:
    """Return a key that is different for different frames."""
    return snapshot.room.room_id, snapshot.room.revision, snapshot.players, snapshot.answered
