"""An action of a player: one effect and one answer, however and how often it is sent."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import grpc
import pytest_asyncio
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.local.client import GraphqlClient, GraphqlError
from services.runtime.grpc_client import call
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, running_stack, second, unique

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

RIGHT = [("q1", "a"), ("q2", "a")]
WRONG = [("q1", "b"), ("q2", "b")]
POINTS = 20


@pytest_asyncio.fixture
async def player(stack: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield await register(client)


async def refusal(work: object) -> str:
    try:
        await cast("asyncio.Future[object]", work)
    except GraphqlError as error:
        return error.reason
    return "OK"


async def test_fifty_of_one_action_at_once_are_one_effect_and_one_answer(stack: RunningStack, player: Player) -> None:
    quiz_id = unique("fifty-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    action_id = str(uuid.uuid4())
    answers = await asyncio.gather(*(player.submit(quiz_id, RIGHT, action_id) for _ in range(50)))
    assert sum(not answer["duplicate"] for answer in answers) <= 1
    assert len({tuple(sorted((answer | {"duplicate": None}).items(), key=str)) for answer in answers}) == 1
    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        seen = await until(events, shows(player.username, POINTS))
    assert seen.data["leaderboard"][0]["score"] == POINTS


async def test_no_interleaving_gives_more_attempts_than_the_quiz_allows(stack: RunningStack, player: Player) -> None:
    quiz_id = unique("limit-")
    definition = quiz_definition(quiz_id, max_attempts=3, counting=quiz_pb2.COUNTING_SUM)
    await import_quiz(endpoints(stack), definition)
    outcomes = await asyncio.gather(*(refusal(player.submit(quiz_id, RIGHT)) for _ in range(12)))
    assert sorted(outcomes) == ["ATTEMPTS_EXHAUSTED"] * 9 + ["OK"] * 3


async def test_a_replay_outlives_the_time_window_and_the_last_attempt(stack: RunningStack, player: Player) -> None:
    quiz_id = unique("replay-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, max_attempts=1))
    action_id = str(uuid.uuid4())
    first = await player.submit(quiz_id, RIGHT, action_id)
    long_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert await player.submit(quiz_id, RIGHT[::-1], action_id, timestamp=long_ago) == first | {"duplicate": True}
    assert await refusal(player.submit(quiz_id, WRONG, action_id)) == "ACTION_ID_CONFLICT"
    assert await refusal(player.submit("solar-system", [], action_id)) == "ACTION_ID_CONFLICT"


async def test_an_action_id_is_its_players_own(stack: RunningStack, player: Player) -> None:
    action_id = str(uuid.uuid4())
    await player.submit("solar-system", [], action_id)
    other = await register(player.client)
    assert not (await other.submit("solar-system", [], action_id))["duplicate"]


async def test_clocks_far_from_the_servers_and_closed_quizzes_score_nothing(
    stack: RunningStack, player: Player
) -> None:
    now = datetime.now(UTC)
    late, early = unique("late-"), unique("early-")
    closed, coming = quiz_definition(late), quiz_definition(early)
    closed.closes_at.FromDatetime(now - timedelta(seconds=1))
    coming.opens_at.FromDatetime(now + timedelta(hours=1))
    for definition in (closed, coming):
        await import_quiz(endpoints(stack), definition)
        assert await refusal(player.submit(definition.quiz_id, RIGHT)) == "QUIZ_CLOSED"
    for shift in (timedelta(hours=-2), timedelta(minutes=6)):
        stamp = (now + shift).isoformat()
        assert await refusal(player.submit("solar-system", [], timestamp=stamp)) == "TIMESTAMP_OUT_OF_WINDOW"
    for shift in (timedelta(minutes=-59), timedelta(minutes=4)):
        assert await refusal(player.submit("solar-system", [], timestamp=(now + shift).isoformat())) == "OK"


async def test_a_total_that_falls_is_shown_lower(stack: RunningStack, player: Player) -> None:
    quiz_id = unique("last-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_LAST))
    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        await player.submit(quiz_id, RIGHT)
        await until(events, shows(player.username, POINTS))
        await player.submit(quiz_id, [("q1", "a")])
        await until(events, lambda data: data["leaderboard"] and data["leaderboard"][0]["score"] == POINTS // 2)
        await player.submit(quiz_id, WRONG)
        await until(events, lambda data: data["leaderboard"] == [])


async def test_a_changed_quiz_is_seen_by_every_instance(stack: RunningStack, player: Player) -> None:
    quiz_id = unique("change-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    with second(stack, "quiz") as other:
        addresses = [stack.endpoints["grpc"]["quiz"], other["TOPTEN_QUIZ_GRPC_ADDRESS"]]

        async def titles() -> set[str]:
            found = set()
            for address in addresses:
                async with grpc.aio.insecure_channel(address) as channel:
                    stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
                    request = quiz_service_pb2.GetQuizRequest(quiz_id=quiz_id)
                    found.add((await call(stub.GetQuiz, request, token=player.access_token)).quiz.title)
            return found

        assert await titles() == {f"About {quiz_id}"}
        changed = quiz_definition(quiz_id)
        changed.title = "Another title"
        assert await import_quiz(endpoints(stack), changed) == 2
        # Sooner than the time for which a copy may be served, which is 30 s.
        async with asyncio.timeout(10):
            while await titles() != {"Another title"}:
                await asyncio.sleep(0.02)


async def test_players_are_served_while_the_stream_is_away_and_the_events_follow() -> None:
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms"}) as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            player = await register(client)
            os.kill(stack.pid_of("nats"), signal.SIGSTOP)
            try:
                answers = [await player.submit("arithmetic-sprint", [("q5", "true")]) for _ in range(5)]
                assert [answer["pointsAwarded"] for answer in answers] == [5] * 5
            finally:
                os.kill(stack.pid_of("nats"), signal.SIGCONT)
            async with stream(stack.http, player.access_token) as events:
                await until(events, shows(player.username, 25), seconds=40)
