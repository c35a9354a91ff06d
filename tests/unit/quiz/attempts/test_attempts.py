"""An attempt is started once, saved, and handed in exactly once, by the player or the server, whatever else happens."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from topten.quiz.v1 import quiz_pb2

from services.quiz.attempts.attempt import Attempt
from services.quiz.attempts.attempt_store import AttemptStore
from services.quiz.attempts.deadlines import LEASE
from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.attempts.metrics import overdue_attempts, overdue_seconds
from services.quiz.authoring.draft_store import DraftStore
from services.quiz.questions.answers import Answer, selected
from services.quiz.submissions.action import Action
from services.runtime.auth.claims import Claims
from services.runtime.clock import utc_now
from services.runtime.errors import ServiceError
from tests.factories import quiz_definition
from tests.servers import unique
from tests.unit.quiz.conftest import HOUR, Open, Replica
from tests.unit.quiz.test_versions import put, swapped


def claims(user_id: str, role: str = "player") -> Claims:
    return Claims(user_id, user_id, frozenset({role}), "VN", "", "access", 9e9)


ADA = claims("ada")
RIGHT = (selected("q1", "a"), selected("q2", "a"))


async def timed(replica: Replica, *, limit: int = 60, **policy: Any) -> quiz_pb2.QuizDefinition:
    definition = quiz_definition(unique("timed-"), **policy)
    definition.timing.limit_seconds, definition.timing.grace_seconds = limit, 5
    await put(replica, definition)
    return definition


def hand_in(attempt: Attempt, answers: tuple[Answer, ...] = RIGHT, *, action_id: str = "") -> Action:
    return Action(
        attempt.user_id,
        "VN",
        action_id or str(uuid.uuid4()),
        attempt.quiz_id,
        answers,
        utc_now(),
        quiz_pb2.Client(),
        attempt_id=attempt.attempt_id,
    )


async def time_up(replica: Replica, attempt: Attempt) -> None:
    """Let the time of an attempt be over a minute ago."""
    ago = utc_now() - timedelta(minutes=1)
    times = {"deadline": ago, "accepts_until": ago, "due_at": ago}
    await replica.database["attempts"].update_one({"_id": attempt.attempt_id}, {"$set": times})


async def refused(doing: Awaitable[object]) -> str:
    with pytest.raises(ServiceError) as caught:
        await doing
    return str(caught.value.reason)


async def records(replica: Replica, quiz_id: str) -> list[tuple[str, int, int]]:
    """The action id, points and number of each record at a quiz."""
    found = replica.database["submissions"].find({"quiz_id": quiz_id}).sort("attempt")
    return [(each["action_id"], each["points"], each["used"]) async for each in found]


async def test_two_starts_at_once_get_the_same_attempt_and_it_counts(open_replica: Open) -> None:
    one, other = await open_replica(), await open_replica()
    definition = await timed(one, max_attempts=1)
    starts = [replica.attempts.start(ADA, definition.quiz_id) for replica in (one, other) for _ in range(3)]
    begun = await asyncio.gather(*starts)
    assert len({attempt.attempt_id for attempt, _, _ in begun}) == 1
    assert sum(not resumed for _, _, resumed in begun) == 1
    standing = await other.attempts.standing(ADA, definition.quiz_id)
    assert (standing.used, standing.left, standing.open) == (1, 0, begun[0][0])
    attempt = begun[0][0]
    assert await one.submit(hand_in(attempt)) == ["1"]
    assert await refused(other.attempts.start(ADA, definition.quiz_id)) == "ATTEMPTS_EXHAUSTED"


async def test_a_timed_quiz_needs_an_attempt_and_shows_its_questions_only_there(open_replica: Open) -> None:
    replica = await open_replica()
    definition = await timed(replica)
    plain = Action("ada", "VN", str(uuid.uuid4()), definition.quiz_id, RIGHT, utc_now(), quiz_pb2.Client())
    assert await replica.submit(plain) == ["ATTEMPT_REQUIRED"]
    preview = (await replica.cache.quiz(definition.quiz_id)).preview
    assert (list(preview.questions), preview.question_count, preview.total_points) == ([], 2, 20)
    _, quiz, _ = await replica.attempts.start(ADA, definition.quiz_id)
    assert len(quiz.view.questions) == 2


async def test_saved_answers_are_those_of_the_last_call_and_belong_to_their_player(open_replica: Open) -> None:
    replica = await open_replica()
    definition = await timed(replica)
    attempt, _, _ = await replica.attempts.start(ADA, definition.quiz_id)
    await replica.attempts.save(ADA, attempt.attempt_id, RIGHT, [])
    saved, quiz = await replica.attempts.save(ADA, attempt.attempt_id, [selected("q1", "b")], ["q2"])
    assert saved.in_order_of(quiz) == (selected("q1", "b"),)
    resumed, _, is_resumed = await replica.attempts.start(ADA, definition.quiz_id)
    assert (resumed.answers, is_resumed) == ({"q1": selected("q1", "b")}, True)
    ben = claims("ben")
    assert await refused(replica.attempts.save(ben, attempt.attempt_id, RIGHT, [])) == "ATTEMPT_CLOSED"
    wrong = selected("q9", "a")
    assert await refused(replica.attempts.save(ADA, attempt.attempt_id, [wrong], [])) == "INVALID_ARGUMENT"
    await time_up(replica, attempt)
    assert await refused(replica.attempts.save(ADA, attempt.attempt_id, RIGHT, [])) == "ATTEMPT_CLOSED"
    assert await replica.submit(hand_in(attempt)) == ["ATTEMPT_CLOSED"]


async def test_two_replicas_and_the_player_hand_in_at_once_and_one_record_counts(open_replica: Open) -> None:
    one, other = await open_replica(), await open_replica()
    definition = await timed(one)
    for number in range(1, 4):
        attempt, _, _ = await one.attempts.start(ADA, definition.quiz_id)
        await one.attempts.save(ADA, attempt.attempt_id, [RIGHT[0]], [])
        # The player's request was received in time; the deadline passes while it is under way.
        theirs = one.service.submit_actions([hand_in(attempt)])
        ago = utc_now() - timedelta(seconds=1)
        await one.database["attempts"].update_one({"_id": attempt.attempt_id}, {"$set": {"due_at": ago}})
        await asyncio.gather(theirs, one.deadlines.hand_in_due(), other.deadlines.hand_in_due())
        made = await records(one, definition.quiz_id)
        assert [used for _, _, used in made] == list(range(1, number + 1))
        assert made[-1][1] in (10, 20)
    assert await one.database["attempts"].count_documents({"quiz_id": definition.quiz_id}) == 0


async def test_what_a_dead_process_left_behind_is_handed_in_once(open_replica: Open) -> None:
    replica = await open_replica()
    definition = await timed(replica, max_attempts=2)
    attempt, _, _ = await replica.attempts.start(ADA, definition.quiz_id)
    await replica.attempts.save(ADA, attempt.attempt_id, [RIGHT[0]], [])
    left = await replica.database["attempts"].find_one({"_id": attempt.attempt_id})
    await time_up(replica, attempt)
    await replica.deadlines.hand_in_due()
    assert await records(replica, definition.quiz_id) == [(attempt.attempt_id, 10, 1)]
    # It died after the record, before the attempt was removed; or a backup brought the attempt back.
    await replica.database["attempts"].insert_one(left)
    await time_up(replica, attempt)
    await replica.deadlines.hand_in_due()
    assert len(await records(replica, definition.quiz_id)) == 1
    assert await replica.database["attempts"].count_documents({}) == 0
    # A start finds an attempt whose time is up before the loop does.
    attempt, _, _ = await replica.attempts.start(ADA, definition.quiz_id)
    await time_up(replica, attempt)
    assert await refused(replica.attempts.start(ADA, definition.quiz_id)) == "ATTEMPTS_EXHAUSTED"
    assert await records(replica, definition.quiz_id) == [
        (left["_id"], 10, 1),
        (attempt.attempt_id, 0, 2),
    ]


async def test_an_overdue_attempt_is_told_until_it_is_handed_in(open_replica: Open) -> None:
    replica = await open_replica()
    definition = await timed(replica, max_attempts=2)
    attempt, _, _ = await replica.attempts.start(ADA, definition.quiz_id)
    await replica.attempts.start(claims("ben"), definition.quiz_id)
    assert await replica.deadlines.overdue() == (0, timedelta())
    await time_up(replica, attempt)
    # An instance took it, and has died or cannot submit: it is due again after the lease.
    store = AttemptStore(replica.database)
    assert await store.take_due(utc_now(), LEASE)
    await replica.deadlines.measure()
    attempts, oldest = (next(iter(each.collect())).samples[0].value for each in (overdue_attempts, overdue_seconds))
    assert (attempts, oldest >= 60) == (1, True)
    await replica.deadlines.end(attempt.attempt_id)
    assert await replica.deadlines.overdue() == (0, timedelta())


async def test_a_repeated_handing_in_gets_the_first_response_and_another_one_is_refused(open_replica: Open) -> None:
    replica = await open_replica()
    definition = await timed(replica)
    attempt, _, _ = await replica.attempts.start(ADA, definition.quiz_id)
    action = hand_in(attempt, action_id=attempt.attempt_id)
    changed = hand_in(attempt, RIGHT[:1], action_id=attempt.attempt_id)
    assert await replica.submit(action, action, changed, hand_in(attempt)) == [
        "1",
        "again",
        "ATTEMPT_CLOSED",
        "ATTEMPT_CLOSED",
    ]
    assert await replica.submit(action, changed) == ["again", "ATTEMPT_CLOSED"]


async def test_an_attempt_is_judged_by_the_version_that_it_shows(open_replica: Open) -> None:
    replica = await open_replica()
    definition = await timed(replica)
    attempt, _, _ = await replica.attempts.start(ADA, definition.quiz_id)
    await put(replica, swapped(definition))
    long_ago = utc_now() - 2 * HOUR
    await replica.database["quiz_versions"].update_one(
        {"_id": f"{definition.quiz_id}:1"}, {"$set": {"replaced_at": long_ago}}
    )
    resumed, quiz, _ = await replica.attempts.start(ADA, definition.quiz_id)
    assert (resumed.attempt_id, quiz.version) == (attempt.attempt_id, 1)
    assert await replica.submit(hand_in(attempt)) == ["1"]
    assert [points for _, points, _ in await records(replica, definition.quiz_id)] == [20]


async def test_a_cooldown_lies_between_attempts_and_an_open_one_ends_in_spite_of_it(open_replica: Open) -> None:
    replica = await open_replica()
    definition = await timed(replica)
    attempt, _, _ = await replica.attempts.start(ADA, definition.quiz_id)
    definition.attempts.cooldown_seconds = 3600
    await put(replica, definition)
    assert await replica.submit(hand_in(attempt)) == ["1"]
    assert await refused(replica.attempts.start(ADA, definition.quiz_id)) == "ATTEMPT_TOO_SOON"
    assert (await replica.attempts.standing(ADA, definition.quiz_id)).next_allowed_at


async def test_an_attempt_without_a_limit_counts_when_it_is_handed_in(open_replica: Open) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("plain-"), max_attempts=1)
    await put(replica, definition)
    attempt, _, _ = await replica.attempts.start(ADA, definition.quiz_id)
    assert (await replica.attempts.standing(ADA, definition.quiz_id)).used == 0
    await replica.attempts.save(ADA, attempt.attempt_id, RIGHT, [])
    assert await replica.submit(hand_in(attempt)) == ["1"]
    assert await refused(replica.attempts.start(ADA, definition.quiz_id)) == "ATTEMPTS_EXHAUSTED"


async def test_extra_time_is_decided_for_a_quiz_or_all_and_erased_with_the_player(open_replica: Open) -> None:
    replica = await open_replica()
    definition = await timed(replica)
    mod, author = claims("mod", "moderator"), claims("aut", "author")
    decide = replica.attempts.set_extra_time
    half, double = ExtraTime.ONE_AND_A_HALF, ExtraTime.DOUBLE
    await DraftStore(replica.database).share(definition.quiz_id, author.user_id, ())
    other = await timed(replica)
    for quiz_id in ("", other.quiz_id):
        assert await refused(decide(author, "ada", quiz_id, double, "why")) == "PERMISSION_DENIED"
    assert await decide(mod, "ada", "", half, "a document") == ExtraTime.NONE
    assert await decide(author, "ada", definition.quiz_id, double, "this one") == ExtraTime.NONE
    replica.identity.unknown.add("nobody")
    assert await refused(decide(mod, "nobody", "", half, "why")) == "PLAYER_NOT_FOUND"
    attempt, _, _ = await replica.attempts.start(ADA, definition.quiz_id)
    assert attempt.deadline == attempt.started_at + timedelta(seconds=120)
    assert {each.reason for each in await replica.attempts.extra_times("ada")} == {"a document", "this one"}
    await replica.attempts.erase("ada", "p-1")
    await replica.attempts.erase("ada", "p-1")
    assert await replica.attempts.extra_times("ada") == []
    assert await replica.attempts.of_player("ada") == []
