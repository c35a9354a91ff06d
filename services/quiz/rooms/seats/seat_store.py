"""Seats in MongoDB: the collection `room_seats`.

A player has one seat in a room, and a nickname is one seat's: unique indexes decide every race. Answers go with their seat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.quiz.rooms.documents import (
    Document,
    Seat,
    seat_fields,
    seat_of,
)
from services.quiz.rooms.seats.answer_store import AnswerStore, counts_by_room
from services.quiz.rooms.seats.inserts import insert_each
from services.runtime.stores.mongo import unavailable_on_failure

NEWEST: Final = 50
EXPORT_PAGE: Final = 50
SeatKey = tuple[str, str]
"""Room and player."""


class SeatedError(Exception):
    """The player has another seat in the room."""


class SeatStore:
    """Seats, with their `answers`. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._seats = database["room_seats"]
        self.answers = AnswerStore(database)

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        async with unavailable_on_failure():
            await self._seats.create_index([("room_id", ASCENDING), ("user_id", ASCENDING)], unique=True)
            await self._seats.create_index([("room_id", ASCENDING), ("nickname_key", ASCENDING)], unique=True)
            # To count seats without a document, and find the newest without the others.
            await self._seats.create_index(
                [("room_id", ASCENDING), ("is_removed", ASCENDING), ("joined_at", DESCENDING)]
            )
            await self._seats.create_index([("user_id", ASCENDING), ("_id", ASCENDING)])
            await self._seats.create_index([("code.digest", ASCENDING)], sparse=True)
            await self._seats.create_index("purge_at", expireAfterSeconds=0)
        await self.answers.prepare()

    async def seat(self, room_id: str, user_id: str) -> Seat | None:
        """Return a player's seat in a room."""
        return (await self.seats([(room_id, user_id)])).get((room_id, user_id))

    async def seats(self, keys: Sequence[SeatKey]) -> dict[SeatKey, Seat]:
        """Return the existing ones of these seats, from one read."""
        if not keys:
            return {}
        players: dict[str, list[str]] = {}
        for room_id, user_id in keys:
            players.setdefault(room_id, []).append(user_id)
        # One branch a room: the planner takes its time for each.
        query = {"$or": [{"room_id": room_id, "user_id": {"$in": user_ids}} for room_id, user_ids in players.items()]}
        async with unavailable_on_failure():
            seats = [seat_of(document) async for document in self._seats.find(query)]
        return {(seat.room_id, seat.user_id): seat for seat in seats}

    async def of_rooms(self, room_ids: Sequence[str]) -> dict[str, list[Seat]]:
        """Return the seats of each room, without those that were removed, from one read."""
        found: dict[str, list[Seat]] = {room_id: [] for room_id in room_ids}
        async with unavailable_on_failure():
            async for document in self._seats.find({"room_id": {"$in": list(found)}, "is_removed": False}):
                found[document["room_id"]].append(seat_of(document))
        return found

    async def all_of_room(self, room_id: str) -> list[Seat]:
        """Return every seat of a room, also those that were removed."""
        async with unavailable_on_failure():
            return [seat_of(document) async for document in self._seats.find({"room_id": room_id})]

    async def removed_players(self, room_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return the players whose seats were removed in each room, from one read."""
        found: dict[str, set[str]] = {room_id: set() for room_id in room_ids}
        query = {"room_id": {"$in": list(found)}, "is_removed": True}
        async with unavailable_on_failure():
            async for document in self._seats.find(query, {"room_id": 1, "user_id": 1}):
                found[document["room_id"]].add(document["user_id"])
        return {room_id: frozenset(user_ids) for room_id, user_ids in found.items()}

    async def newest(self, players: Mapping[str, int]) -> dict[str, list[Seat]]:
        """Return the last 50 seats that were taken in each room, newest first, without those that were removed.

        `players` is the number of players of each: those of small rooms are one read.
        """
        small = [room_id for room_id, count in players.items() if count <= NEWEST]
        reads = [self._newest(room_id) for room_id in players if room_id not in small]
        found: dict[str, list[Seat]] = {room_id: [] for room_id in small}
        async with unavailable_on_failure():
            if small:
                query = {"room_id": {"$in": small}, "is_removed": False}
                async for document in self._seats.find(query):
                    found[document["room_id"]].append(seat_of(document))
            latest = await asyncio.gather(*reads)
        for room_id, seats in found.items():
            found[room_id] = sorted(seats, key=lambda seat: seat.joined_at, reverse=True)[:NEWEST]
        return found | {seats[0].room_id: seats for seats in latest if seats}

    async def _newest(self, room_id: str) -> list[Seat]:
        found = self._seats.find({"room_id": room_id, "is_removed": False})
        return [seat_of(each) async for each in found.sort("joined_at", DESCENDING).limit(NEWEST)]

    async def counts(self, room_ids: Sequence[str]) -> dict[str, int]:
        """Return the number of seats of each room that has any, without those that were removed."""
        return await counts_by_room(self._seats, {"room_id": {"$in": list(room_ids)}, "is_removed": False})

    async def take(self, seats: Sequence[tuple[Seat, datetime]]) -> list[Seat | None]:
        """Store seats, each with its time of deletion; return the seat that each player has now.

        That is another one if the player had a seat before, and None if another player of the room has the nickname, or one
        that looks like it.
        """
        documents = [{**seat_fields(seat), "purge_at": purge_at} for seat, purge_at in seats]
        existed = await insert_each(self._seats, documents)
        found = await self.seats([_key(seats[index][0]) for index in existed]) if existed else {}
        return [found.get(_key(seat)) if index in existed else seat for index, (seat, _) in enumerate(seats)]

    async def keep_code(self, seat: Seat, digest: str, expires_at: datetime) -> bool:
        """Keep the digest of a seat's code in place of an earlier one; False if the player has the seat no more."""
        code = {"digest": digest, "expires_at": expires_at}
        query = {"_id": seat.seat_id, "user_id": seat.user_id, "is_removed": False}
        async with unavailable_on_failure():
            written = await self._seats.update_one(query, {"$set": {"code": code}})
        return written.matched_count == 1

    async def move(self, room_id: str, digest: str, user_id: str, now: datetime) -> Seat | None:
        """Give a player the seat whose code has this digest, and remove the code; None if no code is valid at `now`.

        Safe to repeat: the player who got the seat gets it again. Raises SeatedError if they have another seat in the room.
        """
        query: Document = {"room_id": room_id, "is_removed": False}
        unused = query | {"code.digest": digest, "code.expires_at": {"$gt": now}}
        async with unavailable_on_failure():
            try:
                moved = await self._seats.find_one_and_update(
                    unused,
                    {"$set": {"user_id": user_id, "moved_by": digest}, "$unset": {"code": ""}},
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                raise SeatedError from None
            if moved is None:
                moved = await self._seats.find_one(query | {"user_id": user_id, "moved_by": digest})
        return None if moved is None else seat_of(moved)

    async def find(self, room_id: str, seat_id: str) -> Seat | None:
        """Return a seat of a room by its id."""
        async with unavailable_on_failure():
            document = await self._seats.find_one({"_id": seat_id, "room_id": room_id})
        return None if document is None else seat_of(document)

    async def remove(self, seat_id: str) -> None:
        """Remove a seat with its answers. Safe to repeat."""
        async with unavailable_on_failure():
            await self._seats.update_one({"_id": seat_id}, {"$set": {"is_removed": True}})
        await self.answers.remove([seat_id])

    async def removed(self, seat_ids: Sequence[str]) -> set[str]:
        """Return those of these seats that were removed, and remove the answers that they have by now."""
        query = {"_id": {"$in": list(seat_ids)}, "is_removed": True}
        async with unavailable_on_failure():
            removed = {document["_id"] async for document in self._seats.find(query, {"_id": 1})}
        if removed:
            await self.answers.remove(list(removed))
        return removed

    async def note_attempts(self, attempts: Mapping[str, Sequence[str]]) -> None:
        """Record outcomes of attempts, each with its seats: COUNTED, or the reason of the refusal. Safe to repeat."""
        async with unavailable_on_failure():
            for outcome, seat_ids in attempts.items():
                await self._seats.update_many({"_id": {"$in": list(seat_ids)}}, {"$set": {"attempt": outcome}})

    async def attempts(self, room_id: str) -> dict[str, str]:
        """Return the recorded outcomes of attempts in a room, by seat."""
        query = {"room_id": room_id, "attempt": {"$exists": True}}
        async with unavailable_on_failure():
            return {each["_id"]: each["attempt"] async for each in self._seats.find(query, {"attempt": 1})}

    async def of_player(self, user_id: str, after: str) -> tuple[list[Seat], str]:
        """Return up to 50 seats of a player with ids above `after`, and the next `after`, empty if there are no more."""
        async with unavailable_on_failure():
            later = self._seats.find({"user_id": user_id, "_id": {"$gt": after}})
            documents = await later.sort("_id", ASCENDING).limit(EXPORT_PAGE + 1).to_list()
        seats = [seat_of(document) for document in documents[:EXPORT_PAGE]]
        return seats, seats[-1].seat_id if len(documents) > EXPORT_PAGE else ""

    async def erase(self, user_id: str, pseudonym: str) -> int:
        """Remove a player's identity and names from their seats; return how many. Points and answers stay."""
        erased = 0
        async with unavailable_on_failure():
            async for document in self._seats.find({"user_id": user_id}, {"_id": 1}):
                seat_id = document["_id"]
                await self._seats.update_one(
                    {"_id": seat_id},
                    {
                        "$set": {
                            "user_id": f"{pseudonym}/{seat_id}",
                            "nickname": "",
                            "nickname_key": f"erased {seat_id}",
                            "country": "",
                            "is_guest": True,
                        },
                        "$unset": {"code": "", "moved_by": ""},
                    },
                )
                erased += 1
        return erased


def _key(seat: Seat) -> SeatKey:
    return seat.room_id, seat.user_id
