"""Erasing a player's records keeps the numbers and removes the person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from topten.quiz.v1 import quiz_events_pb2

from services.quiz.personal_data_store import PersonalDataStore
from services.quiz.questions.answers import selected
from services.quiz.quizzes.scoring import Marks, Tally
from services.quiz.submissions.store import SubmissionStore
from services.quiz.submissions.submission import Draft, Submission
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.stores.mongo import open_mongo
from tests.servers import unique

NOW = utc_now()
PSEUDONYM = "erased-0f"


def submission(event_id: str, user_id: str = "ada") -> Submission:
    return Submission(
        event_id=event_id,
        user_id=user_id,
        action_id="the-action",
        quiz_id="q",
        version=1,
        payload_digest="a digest",
        answers=(selected("q1", "a"),),
        marks=Marks(10, 1, 1),
        tally=Tally(1, 1, 1, 10, 10),
        delta=10,
        client_time=NOW,
        received_at=NOW,
        country="VN",
    )


async def test_record_made_after_an_erasure_is_erased_under_a_new_number(mongo_url: str) -> None:
    """With an old token the player can use the same action id and number again, which the pseudonym has already."""
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "quiz") as mongo:
        store, records = SubmissionStore(mongo.database), PersonalDataStore(mongo.database)
        await store.prepare()
        await store.add_all(
            [Draft(submission("e1"), b"an event with an address", store.identity)], NOW + timedelta(minutes=1)
        )
        await store.add_all([Draft(submission("e9", "ben"), b"", store.identity)], NOW)
        assert await records.erase("ada", PSEUDONYM, NOW) == 1
        await store.add_all(
            [Draft(submission("e2"), b"an event with an address", store.identity)], NOW + timedelta(minutes=1)
        )
        assert await records.erase("ada", PSEUDONYM, NOW) == 1
        assert await records.erase("ada", PSEUDONYM, NOW) == 0

        erased: list[dict[str, Any]] = (
            await mongo.database["submissions"].find({"user_id": PSEUDONYM}).sort("_id").to_list()
        )
        assert [(each["_id"], each["attempt"], each["delta"]) for each in erased] == [("e1", 1, 10), ("e2", 2, 10)]
        for each in erased:
            assert (each["answers"], each["country"], each["payload_digest"]) == ([], "", "")
            event = quiz_events_pb2.QuizCompletedEvent.FromString(each["unpublished"]["event"])
            assert (event.payload.user_id, event.payload.score_delta) == (PSEUDONYM, 10)
            assert (event.payload.client.ip, event.payload.client.user_agent) == ("", "")
        untouched = await store.submission("ben", "the-action")
        assert untouched is not None
        assert untouched.answers == (selected("q1", "a"),)
