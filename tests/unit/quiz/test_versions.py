"""Answers are judged by the version of the quiz that the player saw, and told as far as its feedback allows."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import answers_of, selected
from services.quiz.quizzes.quiz import from_definition
from services.quiz.submissions.action import Action
from services.quiz.submissions.submission import Submission
from services.runtime.clock import utc_now
from services.runtime.errors import ServiceError
from tests.factories import every_kind, quiz_definition
from tests.servers import unique
from tests.unit.quiz.conftest import HOUR, Open, Replica


def act(quiz_id: str, option: str = "a", *, version: int = 0, user_id: str = "ada") -> Action:
    answers = (selected("q1", option), selected("q2", option))
    action_id = str(uuid.uuid4())
    return Action(user_id, "VN", action_id, quiz_id, answers, utc_now(), quiz_pb2.Client(), quiz_version=version)


async def submitted(replica: Replica, action: Action) -> Submission:
    (outcome,) = await replica.service.submit_actions([action])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome[0]


async def put(replica: Replica, definition: quiz_pb2.QuizDefinition) -> None:
    version, _ = await replica.quizzes.put_quiz(definition, utc_now())
    await replica.cache.announce(definition, version)


def swapped(definition: quiz_pb2.QuizDefinition) -> quiz_pb2.QuizDefinition:
    """Return the quiz with the ids of its two options exchanged."""
    changed = quiz_pb2.QuizDefinition()
    changed.CopyFrom(definition)
    for entry in changed.questions:
        entry.correct_option = "b"
        for option in entry.question.options:
            option.id = {"a": "b", "b": "a"}[option.id]
    return changed


async def test_answers_are_judged_by_the_version_that_the_player_saw(open_replica: Open) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("versions-"), max_attempts=1)
    await put(replica, definition)
    await put(replica, swapped(definition))
    before = await submitted(replica, act(definition.quiz_id, "a", version=1))
    assert (before.marks.points, before.version) == (20, 1)
    after = await submitted(replica, act(definition.quiz_id, "b", version=2, user_id="ben"))
    assert (after.marks.points, after.version) == (20, 2)
    plain = await submitted(replica, act(definition.quiz_id, "a", user_id="cem"))
    assert (plain.marks.points, plain.version) == (0, 2)


async def test_answers_that_meet_an_edit_are_judged_by_the_version_that_they_name(open_replica: Open) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("versions-"), max_attempts=1)
    await put(replica, definition)
    seen = [act(definition.quiz_id, "a", version=1, user_id=f"seen-{number}") for number in range(10)]
    plain = [act(definition.quiz_id, "a", user_id=f"plain-{number}") for number in range(10)]
    playing = [submitted(replica, action) for pair in zip(seen, plain, strict=True) for action in pair]
    recorded, _ = await asyncio.gather(asyncio.gather(*playing), put(replica, swapped(definition)))
    assert all(each.version == 1 for each in recorded[::2])
    assert all(each.marks.points == (20 if each.version == 1 else 0) for each in recorded)


async def test_version_that_another_instance_imported_is_known_at_once(open_replica: Open) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("versions-"))
    await put(replica, definition)
    await submitted(replica, act(definition.quiz_id))
    await replica.quizzes.put_quiz(swapped(definition), utc_now())
    assert (await submitted(replica, act(definition.quiz_id, "b", version=2))).marks.points == 20


async def test_version_that_is_not_judged_any_more_uses_no_attempt(open_replica: Open) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("versions-"), max_attempts=1)
    await put(replica, definition)
    await put(replica, swapped(definition))
    late = utc_now() - HOUR - timedelta(seconds=1)
    await replica.database["quiz_versions"].update_one(
        {"_id": f"{definition.quiz_id}:1"}, {"$set": {"replaced_at": late}}
    )
    action = act(definition.quiz_id, "b", version=1)
    assert await replica.submit(action, act(definition.quiz_id, version=3)) == ["QUIZ_CHANGED", "QUIZ_CHANGED"]
    again = replace(action, quiz_version=2)
    assert (await submitted(replica, again)).marks.points == 20


@pytest.mark.parametrize(
    ("feedback", "is_told", "is_answered"),
    [
        (quiz_pb2.FEEDBACK_NONE, [False] * 3, [False] * 3),
        (quiz_pb2.FEEDBACK_OUTCOMES, [True] * 3, [False] * 3),
        (quiz_pb2.FEEDBACK_ANSWERS, [True] * 3, [True] * 3),
        (quiz_pb2.FEEDBACK_ANSWERS_AFTER_LAST_ATTEMPT, [True] * 3, [False, True, True]),
        (quiz_pb2.FEEDBACK_ANSWERS_AFTER_CLOSE, [True] * 3, [False, False, True]),
    ],
)
async def test_right_answers_are_told_when_the_author_says(
    open_replica: Open, feedback: quiz_pb2.Feedback.ValueType, is_told: list[bool], is_answered: list[bool]
) -> None:
    replica = await open_replica()
    definition = every_kind(unique("versions-"))
    definition.feedback = feedback
    definition.attempts.max_attempts = 2
    definition.closes_at.FromDatetime(utc_now() + HOUR)
    await put(replica, definition)
    questions = from_definition(definition, 1).questions.items()
    right = answers_of(question.right_answer(question_id) for question_id, question in questions)
    first, second = (
        Action("ada", "VN", str(uuid.uuid4()), definition.quiz_id, answers, utc_now(), quiz_pb2.Client())
        for answers in (right[:3], right)
    )
    told = [await submitted(replica, first), await submitted(replica, second)]
    definition.closes_at.FromDatetime(utc_now())
    await put(replica, definition)
    told.append(await replica.reviews.review("ada", first.action_id))
    assert [bool(each.outcomes) for each in told] == is_told
    assert [any(outcome.HasField("correct") for outcome in each.outcomes) for each in told] == is_answered
    if is_told[0]:
        verdicts = [outcome.verdict for outcome in told[2].outcomes]
        assert verdicts == [quiz_pb2.VERDICT_RIGHT] * 3 + [quiz_pb2.VERDICT_UNANSWERED] * 4
    if is_answered[2]:
        explained = [(outcome.question_id, outcome.explanation) for outcome in told[2].outcomes]
        assert explained == [(question_id, "Because.") for question_id, _ in questions]
    repeated, is_duplicate = await replica.service.submit_action(second)
    assert is_duplicate
    assert [outcome.verdict for outcome in repeated.outcomes] == [outcome.verdict for outcome in told[1].outcomes]


async def test_review_is_of_the_players_own_submissions_at_quizzes_alone(open_replica: Open) -> None:
    replica = await open_replica()
    definition = quiz_definition(unique("versions-"))
    await put(replica, definition)
    action = act(definition.quiz_id)
    await submitted(replica, action)
    for user_id, action_id in (("ben", action.action_id), ("ada", str(uuid.uuid4()))):
        with pytest.raises(ServiceError, match="ACTION_NOT_FOUND"):
            await replica.reviews.review(user_id, action_id)
