"""Reading rooms: their current state, and the fold of their answers.

A read first records the transitions that are due without a command, such as the lock of a question. Concurrent callers share
one read, which starts after all of their calls, so that none gets a state from before its call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

from cachetools import LRUCache

from services.quiz.rooms.changes import RoomChanges
from services.quiz.rooms.documents import answer_id
from services.quiz.rooms.room import Phase, Room, Snapshot
from services.quiz.rooms.room_store import RoomStore, Transition
from services.quiz.rooms.seat_store import SeatStore
from services.quiz.rooms.standings import Fold, ranked
from services.quiz.rooms.transitions import settled
from services.runtime.batcher import Batcher

BY_ITSELF: Final = "by_itself"
MAX_SHARED: Final = 500
MAX_READS: Final = 4
MAX_FOLDS: Final = 200
T = TypeVar("T")


class RoomReader:
    """Reads rooms. Every method raises ROOM_NOT_FOUND for a room that is gone, UNAVAILABLE without the database."""

    def __init__(
        self, rooms: RoomStore, seats: SeatStore, changes: RoomChanges, *, now: Callable[[], datetime]
    ) -> None:
        self._rooms = rooms
        self._seats = seats
        self._changes = changes
        self._now = now
        self._folds: LRUCache[tuple[str, int], Fold] = LRUCache(MAX_FOLDS)
        self._share_read: Batcher[str, Snapshot] = Batcher(
            "room reads", self._read_all, max_size=MAX_SHARED, max_concurrent=MAX_READS
        )
        self._share_fold: Batcher[Room, Fold] = Batcher("room folds", self._fold_all, max_size=MAX_SHARED)

    async def current(self, room_id: str) -> Snapshot:
        """Return a room as it is now, after recording the transitions that are due without a command."""
        return await self._share_read(room_id)

    async def fold(self, room: Room) -> Fold:
        """Return the fold of the answers to the questions that the room counts and reveals at this revision."""
        found = self._folds.get((room.room_id, room.revision))
        return found if found is not None else await self._share_fold(room)

    def forget(self) -> None:
        """Empty the cache, because the database holds other data now."""
        self._folds.clear()

    async def _read_all(self, room_ids: Sequence[str]) -> list[Snapshot | Exception]:
        distinct = list(dict.fromkeys(room_ids))
        snapshots = await asyncio.gather(*map(self._read, distinct), return_exceptions=True)
        found = dict(zip(distinct, snapshots, strict=True))
        return [outcome(found[room_id]) for room_id in room_ids]

    async def _read(self, room_id: str) -> Snapshot:
        while True:
            room = await self._rooms.room(room_id)
            players = await self._seats.count(room_id)
            answered = await self._seats.answered(room_id, room.question) if room.shows_question else 0
            waiting_for = await self._waiting_for(room)
            now = self._now()
            after = settled(room, now, waiting_for=waiting_for, all_answered=0 < players <= answered)
            if after is room:
                return Snapshot(room, players, answered, waiting_for)
            if await self._rooms.replace(room, after, Transition(BY_ITSELF, now)):
                self._changes.announce(room_id, transition=True)
                return Snapshot(after, players, answered)

    async def _waiting_for(self, room: Room) -> Collection[str]:
        if room.phase is not Phase.QUESTION or not room.extra_times:
            return ()
        keys = {answer_id(seat_id, room.question): seat_id for seat_id in room.extra_times}
        recorded = await self._seats.recorded(list(keys))
        return [seat_id for key, seat_id in keys.items() if key not in recorded]

    async def _fold_all(self, rooms: Sequence[Room]) -> list[Fold | Exception]:
        distinct = {(room.room_id, room.revision): room for room in rooms}
        for key, room in distinct.items():
            if key not in self._folds:
                self._folds[key] = await self._fold(room)
        return [self._folds[room.room_id, room.revision] for room in rooms]

    async def _fold(self, room: Room) -> Fold:
        seats = await self._seats.of_room(room.room_id)
        points = await self._seats.points(room.room_id, room.counted_questions)
        choices = await self._seats.choices(room.room_id, room.revealed_questions)
        return Fold.of(ranked(seats, points), choices)


async def each_of(read: Callable[[str], Awaitable[T]], keys: Collection[str]) -> Mapping[str, T | BaseException]:
    """Read several keys concurrently; return the result or the exception of each."""
    return dict(zip(keys, await asyncio.gather(*map(read, keys), return_exceptions=True), strict=True))


def ok(found: T | BaseException) -> T:
    """Return a result of `each_of`, or raise the exception in its place."""
    if isinstance(found, BaseException):
        raise found
    return found


def outcome(found: T | BaseException) -> T | Exception:
    """Return a result or the error in its place. Raises any other exception, such as a cancellation."""
    if isinstance(found, BaseException) and not isinstance(found, Exception):
        raise found
    return found
