"""What is left of an erased player's records: what adds up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from topten.quiz.v1 import quiz_events_pb2

from services.quiz.personal import PersonalRecords
from services.quiz.scoring import Marks, Tally
from services.quiz.store import QuizStore
from services.quiz.submission import Submission
from services.runtime.clock import utc_now
from services.runtime.mongo_client import open_mongo
from services.runtime.settings import MongoConfig
from tests.servers import unique

NOW = utc_now()
PSEUDONYM = "erased-0f"


def submission(event_id: str, user_id: str = "ada") -> Submission:
    return Submission(
        event_id=event_id,
        user_id=user_id,
        action_id="the-action",
        quiz_id="q",
        quiz_version=1,
        payload_digest="a digest",
        answers=(("q1", "a"),),
        marks=Marks(10, 1, 1),
        tally=Tally(1, 1, 1, 10, 10),
        delta=10,
        client_time=NOW,
        received_at=NOW,
        country="VN",
    )


async def test_a_record_that_comes_when_all_others_are_nameless_finds_a_place_among_them(mongo_url: str) -> None:
    """The player's index of places and actions is free again for who has an old token, and the pseudonym's is not."""
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "quiz") as mongo:
        store, records = QuizStore(mongo.database), PersonalRecords(mongo.database)
        await store.prepare()
        await store.add(submission("e1"), b"an event with an address", NOW + timedelta(minutes=1))
        await store.add(submission("e9", "ben"), b"", NOW)
        assert await records.erase("ada", PSEUDONYM, NOW) == 1
        await store.add(submission("e2"), b"an event with an address", NOW + timedelta(minutes=1))
        assert await records.erase("ada", PSEUDONYM, NOW) == 1
        assert await records.erase("ada", PSEUDONYM, NOW) == 0

        found: list[dict[str, Any]] = (
            await mongo.database["submissions"].find({"user_id": PSEUDONYM}).sort("_id").to_list()
        )
        assert [(each["_id"], each["attempt"], each["delta"]) for each in found] == [("e1", 1, 10), ("e2", 2, 10)]
        for each in found:
            assert (each["answers"], each["country"], each["payload_digest"]) == ([], "", "")
            event = quiz_events_pb2.QuizCompletedEvent.FromString(each["unpublished"]["event"])
            assert (event.payload.user_id, event.payload.score_delta) == (PSEUDONYM, 10)
            assert (event.payload.client.ip, event.payload.client.user_agent) == ("", "")
        untouched = await store.submission("ben", "the-action")
        assert untouched is not None
        assert untouched.answers == (("q1", "a"),)
