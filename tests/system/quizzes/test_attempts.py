"""Attempts at timed quizzes over GraphQL: started, saved and handed in, by the player or by the server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from topten.quiz.v1 import quiz_pb2

from services.cli.audit.attempts import audit_attempts
from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack, unique

START = """mutation ($id: ID!) {
  startAttempt(quizId: $id) { resumed quiz { questions { id } } id deadline startedAt answers { questionId } }
}"""
SAVE = """mutation ($id: ID!, $answers: [AnswerInput!]!, $cleared: [ID!]) {
  saveAnswers(attemptId: $id, answers: $answers, clearedQuestionIds: $cleared) { answers { questionId selectedOption } }
}"""
QUIZ = """query ($id: ID!) { quiz(id: $id) {
  questionCount totalPoints timing { limitSeconds graceSeconds } cooldownSeconds questions { id } attemptsUsed
  attempts { used left nextAllowedAt timeLimitSeconds open { id answers { questionId selectedOption } } }
} }"""
REVIEW = "query ($id: ID!) { reviewAction(actionId: $id) { quizId pointsAwarded totalQuestions } }"
EXTRA = """mutation ($user: ID!, $quiz: ID) {
  setPlayerExtraTime(userId: $user, quizId: $quiz, extraTime: DOUBLE, reason: "a document")
}"""


async def timed(stack: RunningStack, limit: int, *, grace: int = 30, most: int = 0) -> str:
    definition = quiz_definition(unique("timed-"), max_attempts=most)
    definition.timing.limit_seconds, definition.timing.grace_seconds = limit, grace
    definition.feedback = quiz_pb2.FEEDBACK_OUTCOMES
    await import_quiz(endpoints(stack), definition)
    return definition.quiz_id


async def ask(player: Player, document: str, **variables: Any) -> Any:
    (result,) = (await player.client.execute(document, variables, player.access_token)).values()
    return result


async def refused(player: Player, document: str, **variables: Any) -> str:
    with pytest.raises(GraphqlError) as error:
        await ask(player, document, **variables)
    return str(error.value.reason)


async def test_an_attempt_is_started_saved_resumed_and_handed_in_once(
    stack: RunningStack, client: GraphqlClient, player: Player
) -> None:
    short, quiz_id = await timed(stack, 5, grace=0), await timed(stack, 3600, most=1)
    left = await ask(player, START, id=short)  # nobody hands it in

    shown = await ask(player, QUIZ, id=quiz_id)
    assert (shown["questionCount"], shown["totalPoints"], shown["questions"]) == (2, 20, [])
    assert shown["timing"] == {"limitSeconds": 3600, "graceSeconds": 30}
    assert shown["attempts"] == {
        "used": 0, "left": 1, "nextAllowedAt": None, "timeLimitSeconds": 3600, "open": None
    }  # fmt: skip
    with pytest.raises(GraphqlError) as error:
        await player.submit(quiz_id, [("q1", "a")])
    assert error.value.reason == "ATTEMPT_REQUIRED"

    begun = await ask(player, START, id=quiz_id)
    assert (begun["resumed"], len(begun["quiz"]["questions"])) == (False, 2)
    answer = {"questionId": "q1", "selectedOption": "a"}
    saved = await ask(player, SAVE, id=begun["id"], answers=[answer, answer | {"questionId": "q2"}])
    saved = await ask(player, SAVE, id=begun["id"], answers=[], cleared=["q2"])
    assert saved["answers"] == [answer]
    assert await refused(player, SAVE, id=begun["id"], answers=[answer | {"questionId": "q9"}]) == "INVALID_ARGUMENT"
    other = await register(client)
    assert await refused(other, SAVE, id=begun["id"], answers=[answer]) == "ATTEMPT_CLOSED"
    again = await ask(player, START, id=quiz_id)
    assert (again["id"], again["resumed"], again["answers"]) == (begun["id"], True, [{"questionId": "q1"}])
    standing = (await ask(player, QUIZ, id=quiz_id))["attempts"]
    assert (standing["used"], standing["left"], standing["open"]["id"]) == (1, 0, begun["id"])

    right = [("q1", "a"), ("q2", "a")]
    result = await player.submit(quiz_id, right, begun["id"], attemptId=begun["id"])
    assert (result["pointsAwarded"], result["duplicate"]) == (20, False)
    assert (await player.submit(quiz_id, right, begun["id"], attemptId=begun["id"]))["duplicate"]
    with pytest.raises(GraphqlError) as error:
        await player.submit(quiz_id, right, attemptId=begun["id"])
    assert error.value.reason == "ATTEMPT_CLOSED"
    assert await refused(player, START, id=quiz_id) == "ATTEMPTS_EXHAUSTED"

    async def handed_in() -> bool:
        try:
            return bool(await ask(player, REVIEW, id=left["id"]))
        except GraphqlError as error:
            assert error.reason == "ACTION_NOT_FOUND"
            return False

    await eventually(handed_in)
    assert (await ask(player, REVIEW, id=left["id"]))["pointsAwarded"] == 0
    assert (await ask(player, QUIZ, id=short))["attempts"]["used"] == 1


async def test_an_attempt_that_nobody_hands_in_is_found(stack: RunningStack, player: Player) -> None:
    begun = await ask(player, START, id=await timed(stack, 3600))
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"], tz_aware=True)
    async with mongo:
        attempts = mongo["topten_quiz"]["attempts"]
        attempt = await attempts.find_one({"_id": begun["id"]})
        assert attempt

        async def found() -> list[str]:
            """Leave it as an instance does that took it and cannot submit; after the lease another one hands it in."""
            now = datetime.now(UTC)
            times = {"accepts_until": now - timedelta(hours=2), "due_at": now + timedelta(seconds=9)}
            await attempts.replace_one({"_id": begun["id"]}, attempt | times | {"is_over": True}, upsert=True)
            return await audit_attempts(endpoints(stack), 3600)

        (line,) = await eventually(found)
        assert line.startswith("attempts not handed in although their time is up: 1, the oldest for 72"), line
        await attempts.replace_one({"_id": begun["id"]}, attempt)


async def test_an_attempt_whose_version_is_gone_is_found_and_can_be_replaced(
    stack: RunningStack, player: Player
) -> None:
    quiz_id = await timed(stack, 3600)
    begun = await ask(player, START, id=quiz_id)
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"], tz_aware=True)
    async with mongo:
        changed = await mongo["topten_quiz"]["attempts"].update_one({"_id": begun["id"]}, {"$set": {"version": 99}})
        assert changed.modified_count == 1
    (line,) = await audit_attempts(endpoints(stack), 3600)
    assert line.startswith("open attempts that show a version of their quiz that is not kept: 1."), line
    answer = {"questionId": "q1", "selectedOption": "a"}
    assert await refused(player, SAVE, id=begun["id"], answers=[answer]) == "QUIZ_CHANGED"
    again = await ask(player, START, id=quiz_id)
    assert (again["resumed"], again["id"] != begun["id"]) == (False, True)
    assert await audit_attempts(endpoints(stack), 3600) == []


async def test_extra_time_is_given_by_staff_and_told_to_its_player_alone(
    stack: RunningStack, client: GraphqlClient, player: Player
) -> None:
    quiz_id, moderator = await timed(stack, 100), await register(client)
    await grant_role(endpoints(stack), moderator.username, "moderator")
    moderator.access_token = await client.login(moderator.username, PASSWORD)
    assert await refused(player, EXTRA, user=player.user_id, quiz=quiz_id) == "PERMISSION_DENIED"
    assert await ask(moderator, EXTRA, user=player.user_id, quiz=quiz_id) == "NONE"
    assert (await ask(player, QUIZ, id=quiz_id))["attempts"]["timeLimitSeconds"] == 200
    decisions = await ask(
        moderator,
        "query ($id: ID!) { playerExtraTimes(userId: $id) { quizId extraTime decidedBy } }",
        id=player.user_id,
    )
    assert decisions == [{"quizId": quiz_id, "extraTime": "DOUBLE", "decidedBy": moderator.user_id}]
    await ask(player, START, id=quiz_id)
    exported = (await ask(player, "query { exportMyData { data } }"))["data"]
    assert [each["quizId"] for each in exported["attempts"]] == [quiz_id]
    assert [(each["extraTime"], each["decidedBy"]) for each in exported["extraTimes"]] == [("EXTRA_TIME_DOUBLE", "")]
