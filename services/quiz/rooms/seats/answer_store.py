"""Answers in MongoDB: the collection `room_answers`.

A seat has one answer to a question: the ID of an answer decides every race. An answer names its seat, never its player.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from topten.quiz.v1 import quiz_pb2

from services.quiz.rooms.documents import Document, SeatAnswer, answer_fields, answer_of
from services.quiz.rooms.seats.inserts import insert_each
from services.quiz.rooms.seats.standings import Choice, Mark
from services.runtime.stores.mongo import unavailable_on_failure


class AnswerStore:
    """Answers of seats. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._answers = database["room_answers"]

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        async with unavailable_on_failure():
            await self._answers.create_index(
                [("room_id", ASCENDING), ("question", ASCENDING), ("seat_id", ASCENDING), ("points", ASCENDING)]
            )
            await self._answers.create_index([("seat_id", ASCENDING)])
            await self._answers.create_index("purge_at", expireAfterSeconds=0)

    async def record(self, answers: Sequence[tuple[SeatAnswer, datetime]]) -> list[tuple[SeatAnswer, bool]]:
        """Record answers, each with its time of deletion; return what is recorded, and whether it was recorded before."""
        documents = [{**answer_fields(answer), "purge_at": purge_at} for answer, purge_at in answers]
        existed = await insert_each(self._answers, documents)
        found = await self.recorded([documents[index]["_id"] for index in existed]) if existed else {}
        return [
            (found.get(document["_id"], answer), index in existed)
            for index, ((answer, _), document) in enumerate(zip(answers, documents, strict=True))
        ]

    async def recorded(self, ids: Sequence[str]) -> dict[str, SeatAnswer]:
        """Return the existing ones of these answers, by `answer_id`."""
        async with unavailable_on_failure():
            documents = self._answers.find({"_id": {"$in": list(ids)}})
            return {document["_id"]: answer_of(document) async for document in documents}

    async def answered(self, questions: Mapping[str, int]) -> dict[str, int]:
        """Return the number of answers to a question of each room, where there are any."""
        if not questions:
            return {}
        of_each = [{"room_id": room_id, "question": question} for room_id, question in questions.items()]
        return await counts_by_room(self._answers, {"$or": of_each})

    async def choices(self, questions: Mapping[str, int]) -> dict[str, list[Choice]]:
        """Return how many players selected each option of the first questions of rooms, of each so many."""
        choice = {"room": "$room_id", "question": "$question", "option": "$options"}
        stages: list[Document] = [
            {"$match": _to_first(questions)},
            {"$unwind": "$options"},
            {"$group": {"_id": choice, "players": {"$sum": 1}}},
        ]
        found: dict[str, list[Choice]] = {room_id: [] for room_id in questions}
        async with unavailable_on_failure():
            async for each in await self._answers.aggregate(stages):
                chosen = each["_id"]
                found[chosen["room"]].append(Choice(chosen["question"], chosen["option"], each["players"]))
        return found

    async def points(self, questions: Mapping[str, int]) -> dict[str, int]:
        """Return the points of each seat that answered any of the first questions of rooms, of each so many."""
        stages: list[Document] = [
            {"$match": _to_first(questions)},
            {"$group": {"_id": "$seat_id", "points": {"$sum": "$points"}}},
        ]
        async with unavailable_on_failure():
            return {each["_id"]: each["points"] async for each in await self._answers.aggregate(stages)}

    async def marks(self, room_id: str, questions: int) -> dict[int, dict[str, Mark]]:
        """Return the marks of the seats that answered each of the first `questions` questions."""
        fields = {"question": 1, "seat_id": 1, "verdict": 1, "points": 1}
        found: dict[int, dict[str, Mark]] = {}
        async with unavailable_on_failure():
            async for each in self._answers.find({"room_id": room_id, "question": {"$lt": questions}}, fields):
                is_right = each["verdict"] == quiz_pb2.VERDICT_RIGHT
                found.setdefault(each["question"], {})[each["seat_id"]] = Mark(is_right, each["points"])
        return found

    async def seats_of(self, room_id: str) -> set[str]:
        """Return the seats that have answers in a room."""
        stages: list[Document] = [{"$match": {"room_id": room_id}}, {"$group": {"_id": "$seat_id"}}]
        async with unavailable_on_failure():
            return {each["_id"] async for each in await self._answers.aggregate(stages)}

    async def of_seats(self, seat_ids: Sequence[str]) -> dict[str, list[SeatAnswer]]:
        """Return the answers of seats by question."""
        found: dict[str, list[SeatAnswer]] = {seat_id: [] for seat_id in seat_ids}
        async with unavailable_on_failure():
            answers = self._answers.find({"seat_id": {"$in": list(seat_ids)}}).sort("question", ASCENDING)
            async for document in answers:
                found[document["seat_id"]].append(answer_of(document))
        return found

    async def remove(self, seat_ids: Sequence[str]) -> None:
        """Remove the answers of seats. Safe to repeat."""
        async with unavailable_on_failure():
            await self._answers.delete_many({"seat_id": {"$in": list(seat_ids)}})


async def counts_by_room(collection: AsyncCollection[Document], query: Document) -> dict[str, int]:
    """Return the number of documents of each room that has any."""
    stages: list[Document] = [{"$match": query}, {"$group": {"_id": "$room_id", "count": {"$sum": 1}}}]
    async with unavailable_on_failure():
        return {each["_id"]: each["count"] async for each in await collection.aggregate(stages)}


def _to_first(questions: Mapping[str, int]) -> Document:
    """Select the answers to the first questions of rooms: one branch for rooms with equally many, most of them in one."""
    rooms: dict[int, list[str]] = {}
    for room_id, count in questions.items():
        rooms.setdefault(count, []).append(room_id)
    return {"$or": [{"room_id": {"$in": room_ids}, "question": {"$lt": count}} for count, room_ids in rooms.items()]}
