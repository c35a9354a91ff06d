"""Rooms in MongoDB: the collections `rooms` and `room_pins`.

A room is one document with its quiz as it was when the room was opened, and the record of its last 1000 transitions. A
transition replaces the revision from which it was computed, or changes nothing. Extra time is added and removed by seat: what
players bring is no transition, so that a new revision tells nobody of it. A PIN is a document too, whose `_id` makes it
unique. It is deleted a day after the room's life, and can be used again from then on.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from bson import Binary
from cachetools import LRUCache, TTLCache
from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from topten.quiz.v1 import quiz_pb2

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.quizzes.quiz import Quiz, from_definition
from services.quiz.rooms.documents import Document, room_fields, room_of, state_fields
from services.quiz.rooms.room import Phase, Room
from services.quiz.rooms.transitions import Command
from services.runtime.errors import RETRY_AFTER, Reason, ServiceError
from services.runtime.stores.mongo import unavailable_on_failure

PIN_RETENTION: Final = timedelta(days=1)
MAX_RECORD: Final = 1000
MAX_QUIZZES: Final = 500
MAX_PINS: Final = 10_000
PIN_SECONDS: Final = 3600
# How many random PINs of six digits are tried, and then of seven.
SHORT_TRIES: Final = 5
LONG_TRIES: Final = 20
UNCOUNTED: Final = "uncounted"
MAX_EXTRA_TIMES: Final = 500
EXPORT_PAGE: Final = 50
# The seats whose extra time a host has decided, or their player has brought: what a player brings counts once, and before a
# host's decision.
DECIDED: Final = "decided_extra_times"
_STATE: Final = {"definition": 0, "record": 0, DECIDED: 0}


class Transition(NamedTuple):
    """The record of a transition: the command, its time, who sent it, its id, and the seat that it is about.

    A transition without a command has neither actor nor id.
    """

    command: str
    at: datetime
    actor: str = ""
    command_id: str = ""
    about: str = ""


class RoomRecord(NamedTuple):
    """A room, and what an account did there, as a host or to move its seat."""

    room: Room
    acts: Sequence[Transition]


class RoomStore:
    """The rooms. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._rooms = database["rooms"]
        self._pins = database["room_pins"]
        self._quizzes: LRUCache[str, Quiz] = LRUCache(MAX_QUIZZES)
        self._room_ids: TTLCache[str, str] = TTLCache(MAX_PINS, PIN_SECONDS)

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        async with unavailable_on_failure():
            await self._rooms.create_index("purge_at", expireAfterSeconds=0)
            await self._rooms.create_index([(UNCOUNTED, ASCENDING)], sparse=True)
            for people in ("hosts", "record.actor"):
                await self._rooms.create_index([(people, ASCENDING), ("_id", ASCENDING)])
            await self._pins.create_index("purge_at", expireAfterSeconds=0)

    def forget(self) -> None:
        """Empty the caches, because the database holds other data now."""
        self._quizzes.clear()
        self._room_ids.clear()

    async def open(self, room: Room, definition: quiz_pb2.QuizDefinition) -> Room:
        """Store a new room under a PIN that no other has, and return it with the PIN."""
        async with unavailable_on_failure():
            pin = await self._reserve_pin(room.room_id, room.ends_at + PIN_RETENTION)
            opened = replace(room, pin=pin)
            await self._rooms.insert_one(
                {
                    **room_fields(opened),
                    "definition": Binary(definition.SerializeToString()),
                    "record": [],
                    "purge_at": room.purge_at,
                    # Removed once the room's answers are counted, or known not to count.
                    UNCOUNTED: room.ends_at,
                }
            )
        return opened

    async def room_id(self, pin: str) -> str:
        """Return the id of the room with a PIN. Raises ROOM_NOT_FOUND."""
        room_id = self._room_ids.get(pin)
        if room_id is None:
            async with unavailable_on_failure():
                document = await self._pins.find_one({"_id": pin})
            if document is None:
                raise ServiceError(Reason.ROOM_NOT_FOUND, "No room has this PIN.")
            room_id = self._room_ids[pin] = str(document["room_id"])
        return room_id

    async def rooms(self, room_ids: Sequence[str]) -> dict[str, Room]:
        """Return the existing ones of these rooms, by id, from one read."""
        async with unavailable_on_failure():
            documents = await self._rooms.find({"_id": {"$in": list(room_ids)}}, _STATE).to_list()
        return {document["_id"]: room_of(document) for document in documents}

    async def page(self, after: str, limit: int) -> list[Room]:
        """Return the next `limit` rooms by id after `after`."""
        async with unavailable_on_failure():
            page = self._rooms.find({"_id": {"$gt": after}}, _STATE).sort("_id", ASCENDING).limit(limit)
            return [room_of(document) async for document in page]

    async def quiz(self, room_id: str) -> Quiz:
        """Return the quiz of a room as it was when the room was opened. Raises ROOM_NOT_FOUND."""
        quiz = self._quizzes.get(room_id)
        if quiz is None:
            async with unavailable_on_failure():
                document = await self._rooms.find_one({"_id": room_id}, {"definition": 1, "quiz_version": 1})
            if document is None:
                raise room_not_found()
            definition = quiz_pb2.QuizDefinition.FromString(bytes(document["definition"]))
            quiz = self._quizzes[room_id] = from_definition(definition, document["quiz_version"])
        return quiz

    async def replace(self, before: Room, after: Room, transition: Transition) -> bool:
        """Replace a revision by the next one. Return False, and change nothing, if the room is at another one by now."""
        entry = {"revision": after.revision, **{name: value for name, value in transition._asdict().items() if value}}
        query: Document = {"_id": before.room_id, "revision": before.revision}
        if transition.command_id:
            query["record.command_id"] = {"$ne": transition.command_id}
        fields = state_fields(after)
        extra_times = after.extra_times.items() - before.extra_times.items()
        fields |= {f"extra_times.{seat_id}": extra_time for seat_id, extra_time in extra_times}
        full_points = after.full_points.items() - before.full_points.items()
        fields |= {f"full_points.{seat_id}": question for seat_id, question in full_points}
        if after.options != before.options:
            fields["options.frozen_questions"] = after.options.frozen_questions
        if after.phase is Phase.ENDED:
            fields[UNCOUNTED] = after.ended_at
        update: Document = {"$set": fields, "$push": {"record": {"$each": [entry], "$slice": -MAX_RECORD}}}
        # Added and removed, not set: a host may be erased meanwhile, which is no transition. A transition does one of both.
        if added := [host for host in after.hosts if host not in before.hosts]:
            update["$addToSet"] = {"hosts": {"$each": added}}
        if removed := [host for host in before.hosts if host not in after.hosts]:
            update["$pull"] = {"hosts": {"$in": removed}}
        if transition.command in (Command.KICK, Command.SET_EXTRA_TIME):
            update.setdefault("$addToSet", {})[DECIDED] = transition.about
            given = {"extra_times": after.extra_times, "full_points": after.full_points}
            if taken := {
                f"{name}.{transition.about}": "" for name, seats in given.items() if transition.about not in seats
            }:
                update["$unset"] = taken
        async with unavailable_on_failure():
            written = await self._rooms.update_one(query, update)
        return written.matched_count == 1

    async def bring_extra_time(self, room_id: str, seat_id: str, extra_time: ExtraTime) -> bool:
        """Give a seat the extra time that its player brings, in the same revision.

        Return False, and change nothing, if it was given or a host has decided for the seat before, if the room has ended,
        and if MAX_EXTRA_TIMES seats have some.
        """
        number = {"$size": {"$objectToArray": {"$ifNull": ["$extra_times", {}]}}}
        query = {
            "_id": room_id,
            "phase": {"$ne": Phase.ENDED},
            DECIDED: {"$ne": seat_id},
            "$expr": {"$lt": [number, MAX_EXTRA_TIMES]},
        }
        update = {"$set": {f"extra_times.{seat_id}": extra_time}, "$addToSet": {DECIDED: seat_id}}
        async with unavailable_on_failure():
            written = await self._rooms.update_one(query, update)
        return written.matched_count == 1

    async def has_carried_out(self, room_id: str, command_id: str) -> bool:
        """Return whether a command is in the record."""
        async with unavailable_on_failure():
            found = await self._rooms.find_one({"_id": room_id, "record.command_id": command_id}, {"_id": 1})
        return found is not None

    async def has_only_moved_seats(self, room_id: str, since: int) -> bool:
        """Return whether every transition after the revision `since` moved a seat. False if they are too many to tell."""
        later = {"$elemMatch": {"revision": {"$gt": since}, "command": {"$ne": Command.MOVE_SEAT}}}
        query = {"_id": room_id, "record": {"$not": later}, "revision": {"$gt": since, "$lte": since + MAX_RECORD}}
        async with unavailable_on_failure():
            return await self._rooms.find_one(query, {"_id": 1}) is not None

    async def living(self, now: datetime) -> list[str]:
        """Return the ids of the rooms that have not ended."""
        async with unavailable_on_failure():
            query = {"phase": {"$ne": Phase.ENDED}, UNCOUNTED: {"$gt": now}}
            return [document["_id"] async for document in self._rooms.find(query, {"_id": 1})]

    async def uncounted(self, now: datetime, limit: int) -> list[Room]:
        """Return rooms that have ended, or should have by now, and whose answers are not counted yet."""
        async with unavailable_on_failure():
            due = self._rooms.find({UNCOUNTED: {"$lte": now}}, _STATE).sort(UNCOUNTED, ASCENDING).limit(limit)
            return [room_of(document) async for document in due]

    async def counted(self, room_id: str, revision: int) -> None:
        """Note that the answers of an ended room are counted."""
        async with unavailable_on_failure():
            await self._rooms.update_one({"_id": room_id, "revision": revision}, {"$unset": {UNCOUNTED: ""}})

    async def records(self, user_id: str, after: str) -> tuple[list[RoomRecord], str]:
        """Return up to 50 rooms that an account hosts or did something in, with ids above `after`.

        And the next `after`, empty if there are no more.
        """
        query = {"$or": [{"hosts": user_id}, {"record.actor": user_id}], "_id": {"$gt": after}}
        async with unavailable_on_failure():
            later = self._rooms.find(query, {"definition": 0, DECIDED: 0}).sort("_id", ASCENDING)
            documents = await later.limit(EXPORT_PAGE + 1).to_list()
        rooms = [
            RoomRecord(room_of(each), [act for act in map(_transition, each["record"]) if act.actor == user_id])
            for each in documents[:EXPORT_PAGE]
        ]
        return rooms, rooms[-1].room.room_id if len(documents) > EXPORT_PAGE else ""

    async def erase(self, user_id: str, pseudonym: str) -> None:
        """Replace a player by a pseudonym, as a host and in the records of rooms. Safe to repeat."""
        async with unavailable_on_failure():
            await self._rooms.update_many(
                {"$or": [{"hosts": user_id}, {"record.actor": user_id}]},
                {"$set": {"hosts.$[host]": pseudonym, "record.$[entry].actor": pseudonym}},
                array_filters=[{"host": user_id}, {"entry.actor": user_id}],
            )

    async def _reserve_pin(self, room_id: str, purge_at: datetime) -> str:
        for attempt in range(SHORT_TRIES + LONG_TRIES):
            digits = 6 if attempt < SHORT_TRIES else 7
            pin = str(secrets.randbelow(9 * 10 ** (digits - 1)) + 10 ** (digits - 1))
            try:
                await self._pins.insert_one({"_id": pin, "room_id": room_id, "purge_at": purge_at})
            except DuplicateKeyError:
                continue
            return pin
        raise ServiceError(Reason.UNAVAILABLE, "No PIN is free. Try again.", retry_after=RETRY_AFTER)


def _transition(entry: Document) -> Transition:
    return Transition(**{name: entry[name] for name in Transition._fields if name in entry})


def room_not_found() -> ServiceError:
    """Return the refusal of an unknown room."""
    return ServiceError(Reason.ROOM_NOT_FOUND, "No room has this ID.")
