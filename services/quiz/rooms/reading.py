"""Reading rooms: their current state, the fold of their answers, and who was removed from them.

A read first records the transitions that are due without a command, such as the lock of a question. Concurrent callers share
one read, for all of their rooms, which starts after all of their calls, so that none gets a state from before its call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cachetools import LRUCache, TTLCache

from services.quiz.rooms.changes import RoomChanges
from services.quiz.rooms.documents import answer_id
from services.quiz.rooms.room import Phase, Room, Snapshot
from services.quiz.rooms.room_store import RoomStore, Transition, room_not_found
from services.quiz.rooms.seats.seat_store import SeatStore
from services.quiz.rooms.seats.standings import Fold, ranked
from services.quiz.rooms.transitions import settled
from services.runtime.batcher import Batcher

BY_ITSELF: Final = "by_itself"
MAX_SHARED: Final = 500
MAX_READS: Final = 4
MAX_FOLDS: Final = 500
# A player who is erased keeps their name in a fold for as long, also of a room that has ended.
FOLD_LIFE: Final = timedelta(minutes=1)
T = TypeVar("T")
FoldKey = tuple[str, int, int, int]
"""Room, revision, and how many questions it counts and reveals there."""


class RoomReader:
    """Reads rooms. Every method raises ROOM_NOT_FOUND for a room that is gone, UNAVAILABLE without the database."""

    def __init__(
        self, rooms: RoomStore, seats: SeatStore, changes: RoomChanges, *, now: Callable[[], datetime]
    ) -> None:
        self._rooms = rooms
        self._seats = seats
        self._changes = changes
        self._now = now
        self._folds: TTLCache[FoldKey, Fold] = TTLCache(
            MAX_FOLDS, FOLD_LIFE.total_seconds(), timer=lambda: now().timestamp()
        )
        self._share_read: Batcher[str, Snapshot] = Batcher(
            "room reads", self._read_all, max_size=MAX_SHARED, max_concurrent=MAX_READS
        )
        self._share_fold: Batcher[Room, Fold] = Batcher("room folds", self._fold_all, max_size=MAX_SHARED)
        self._removed: LRUCache[tuple[str, int], frozenset[str]] = LRUCache(MAX_FOLDS)
        self._share_removed: Batcher[Room, frozenset[str]] = Batcher(
            "removed players", self._removed_from_all, max_size=MAX_SHARED
        )

    async def current(self, room_id: str) -> Snapshot:
        """Return a room as it is now, after recording the transitions that are due without a command."""
        return await self._share_read(room_id)

    async def fold(self, room: Room) -> Fold:
        """Return the fold of the answers to the questions that the room counts and reveals at this revision.

        It is kept for the revision, for up to a minute: players who joined or were erased since are not seen in it.
        """
        found = self._folds.get(_fold_key(room))
        return found if found is not None else await self._share_fold(room)

    async def removed_from(self, room: Room) -> frozenset[str]:
        """Return the players whom a host has removed by this revision, except those who host the room themselves."""
        found = self._removed.get((room.room_id, room.revision))
        return found if found is not None else await self._share_removed(room)

    async def latest_fold(self, room: Room) -> Fold:
        """Return the same with all players of this moment, who may join without a new revision."""
        if room.phase is Phase.ENDED:
            return await self.fold(room)
        return (await self._read_folds({room.room_id: room}))[room.room_id]

    def forget(self) -> None:
        """Empty the caches, because the database holds other data now."""
        self._folds.clear()
        self._removed.clear()

    async def _read_all(self, room_ids: Sequence[str]) -> list[Snapshot | Exception]:
        found: dict[str, Snapshot | Exception] = {}
        while unread := [room_id for room_id in dict.fromkeys(room_ids) if room_id not in found]:
            rooms = await self._rooms.rooms(unread)
            found |= {room_id: room_not_found() for room_id in unread if room_id not in rooms}
            shown = {room_id: room.question for room_id, room in rooms.items() if room.shows_question}
            players, answered = await asyncio.gather(
                self._seats.counts(list(rooms)), self._seats.answers.answered(shown)
            )
            waiting_for = await self._waiting_for(rooms.values())
            for room_id, room in rooms.items():
                seen = Snapshot(room, players.get(room_id, 0), answered.get(room_id, 0), waiting_for[room_id])
                current = await self._settled(seen)
                if current is not None:
                    found[room_id] = current
        return [found[room_id] for room_id in room_ids]

    async def _settled(self, seen: Snapshot) -> Snapshot | None:
        """Return a room after recording its due transition, if there is one; None if it has another revision by now."""
        now, room = self._now(), seen.room
        all_answered = 0 < seen.players <= seen.answered
        after = settled(room, now, waiting_for=seen.waiting_for, all_answered=all_answered)
        if after is room:
            return seen
        if not await self._rooms.replace(room, after, Transition(BY_ITSELF, now)):
            return None
        self._changes.announce(room.room_id, transition=True)
        return Snapshot(after, seen.players, seen.answered)

    async def _waiting_for(self, rooms: Collection[Room]) -> Mapping[str, Collection[str]]:
        asked = [room for room in rooms if room.phase is Phase.QUESTION]
        keys = {
            answer_id(seat_id, room.question): (room.room_id, seat_id) for room in asked for seat_id in room.extra_times
        }
        recorded = await self._seats.answers.recorded(list(keys)) if keys else {}
        waiting: dict[str, list[str]] = {room.room_id: [] for room in rooms}
        for key, (room_id, seat_id) in keys.items():
            if key not in recorded:
                waiting[room_id].append(seat_id)
        return waiting

    async def _fold_all(self, rooms: Sequence[Room]) -> list[Fold | Exception]:
        distinct = {_fold_key(room): room for room in rooms}
        found = {key: fold for key in distinct if (fold := self._folds.get(key)) is not None}
        while missing := {room.room_id: room for key, room in distinct.items() if key not in found}:
            made = await self._read_folds(missing)
            found |= {_fold_key(room): made[room_id] for room_id, room in missing.items()}
        self._folds.update(found)
        return [found[_fold_key(room)] for room in rooms]

    async def _removed_from_all(self, rooms: Sequence[Room]) -> list[frozenset[str]]:
        removed = await self._seats.removed_players([room.room_id for room in rooms])
        found = [removed[room.room_id].difference(room.hosts) for room in rooms]
        self._removed.update(((room.room_id, room.revision), each) for room, each in zip(rooms, found, strict=True))
        return found

    async def _read_folds(self, rooms: Mapping[str, Room]) -> dict[str, Fold]:
        """Read the folds of rooms together: hosts press at the same moment, and a read costs more than what it reads."""
        seats, points, choices = await asyncio.gather(
            self._seats.of_rooms(list(rooms)),
            self._seats.answers.points({room_id: room.counted_questions for room_id, room in rooms.items()}),
            self._seats.answers.choices({room_id: room.revealed_questions for room_id, room in rooms.items()}),
        )
        return {room_id: Fold.of(ranked(seats[room_id], points), choices[room_id]) for room_id in rooms}


def _fold_key(room: Room) -> FoldKey:
    return room.room_id, room.revision, room.counted_questions, room.revealed_questions


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
