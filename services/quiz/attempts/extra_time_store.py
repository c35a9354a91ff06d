"""The extra time of players in MongoDB: the collection `extra_times`.

A document for each player and quiz (or all quizzes) has the last 50 decisions, newest first. The newest one is in force.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from services.quiz.attempts.extra_time import ExtraTime
from services.runtime.stores.mongo import unavailable_on_failure

MAX_DECISIONS: Final = 50
Document = dict[str, Any]


class Decision(NamedTuple):
    """A decision about extra time at one quiz, or at all quizzes if `quiz_id` is empty."""

    quiz_id: str
    extra_time: ExtraTime
    decided_by: str
    decided_at: datetime
    reason: str


class ExtraTimeStore:
    """The decisions. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._decisions = database["extra_times"]

    async def extra_time(self, user_id: str, quiz_id: str) -> ExtraTime:
        """Return the extra time of a player at a quiz: by the decision for it, else for all quizzes, else NONE."""
        return (await self.extra_times([(user_id, quiz_id)])).get((user_id, quiz_id), ExtraTime.NONE)

    async def extra_times(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], ExtraTime]:
        """Return the extra time of players at quizzes, as `extra_time` does, from one read; those with none are left out."""
        ids = {_id(user_id, each) for user_id, quiz_id in wanted for each in (quiz_id, "")}
        async with unavailable_on_failure():
            found = self._decisions.find({"_id": {"$in": list(ids)}})
            in_force = {each["_id"]: ExtraTime(each["decisions"][0]["extra_time"]) async for each in found}
        extra_times: dict[tuple[str, str], ExtraTime] = {}
        for user_id, quiz_id in wanted:
            of_all = in_force.get(_id(user_id, ""), ExtraTime.NONE)
            extra_time = in_force.get(_id(user_id, quiz_id), of_all)
            if extra_time is not ExtraTime.NONE:
                extra_times[user_id, quiz_id] = extra_time
        return extra_times

    async def decide(self, user_id: str, decision: Decision) -> ExtraTime:
        """Record a decision; return the extra time that was in force for the same quizzes before, NONE if none was."""
        entry = decision._asdict()
        quiz_id = entry.pop("quiz_id")
        async with unavailable_on_failure():
            before = await self._decisions.find_one_and_update(
                {"_id": _id(user_id, quiz_id)},
                {
                    "$setOnInsert": {"user_id": user_id, "quiz_id": quiz_id},
                    "$push": {"decisions": {"$each": [entry], "$position": 0, "$slice": MAX_DECISIONS}},
                },
                upsert=True,
                return_document=ReturnDocument.BEFORE,
            )
        return ExtraTime(before["decisions"][0]["extra_time"]) if before else ExtraTime.NONE

    async def decisions(self, user_id: str) -> list[Decision]:
        """Return the decisions about a player, newest first."""
        async with unavailable_on_failure():
            documents = await self._decisions.find(_of_player(user_id)).to_list()
        made = [
            Decision(document["quiz_id"], **entry | {"extra_time": ExtraTime(entry["extra_time"])})
            for document in documents
            for entry in document["decisions"]
        ]
        return sorted(made, key=lambda decision: decision.decided_at, reverse=True)

    async def erase(self, user_id: str, pseudonym: str) -> None:
        """Remove the decisions about a player, and replace their id in those that they made."""
        async with unavailable_on_failure():
            await self._decisions.delete_many(_of_player(user_id))
            await self._decisions.update_many(
                {"decisions.decided_by": user_id},
                {"$set": {"decisions.$[own].decided_by": pseudonym}},
                array_filters=[{"own.decided_by": user_id}],
            )


def _id(user_id: str, quiz_id: str) -> str:
    return f"{user_id}/{quiz_id}"


def _of_player(user_id: str) -> Document:
    return {"_id": {"$regex": f"^{re.escape(_id(user_id, ''))}"}}
