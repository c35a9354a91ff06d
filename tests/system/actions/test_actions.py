"""An action has one effect and one response, however often it is sent."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import grpc
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub
from topten.score.v1.confirmation_pb2 import COUNTED

from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.grpc.client import call
from tests.deadline import deadline_seconds, eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, shows, stream, until
from tests.replicas import second_instance
from tests.servers import RunningStack, running_stack, unique

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

RIGHT = [("q1", "a"), ("q2", "a")]
WRONG = [("q1", "b"), ("q2", "b")]
POINTS = 20


async def refusal(work: object) -> str:
    try:
        await cast("asyncio.Future[object]", work)
    except GraphqlError as error:
        return error.reason
    return "OK"


async def test_action_sent_fifty_times_at_once_has_one_effect_and_one_response(
    stack: RunningStack, player: Player
) -> None:
    quiz_id = unique("fifty-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    action_id = str(uuid.uuid4())
    responses = await asyncio.gather(*(player.submit(quiz_id, RIGHT, action_id) for _ in range(50)))
    assert sum(not response["duplicate"] for response in responses) <= 1
    assert len({tuple(sorted((response | {"duplicate": None}).items(), key=str)) for response in responses}) == 1
    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        update = await until(events, shows(player.username, POINTS))
    assert update.data["leaderboard"][0]["score"] == POINTS


async def test_no_interleaving_gives_more_attempts_than_the_quiz_allows(stack: RunningStack, player: Player) -> None:
    quiz_id = unique("limit-")
    definition = quiz_definition(quiz_id, max_attempts=3, counting=quiz_pb2.COUNTING_SUM)
    await import_quiz(endpoints(stack), definition)
    outcomes = await asyncio.gather(*(refusal(player.submit(quiz_id, RIGHT)) for _ in range(12)))
    assert sorted(outcomes) == ["ATTEMPTS_EXHAUSTED"] * 9 + ["OK"] * 3


async def test_replay_is_answered_after_the_time_window_and_the_last_attempt(
    stack: RunningStack, player: Player
) -> None:
    quiz_id = unique("replay-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, max_attempts=1))
    action_id = str(uuid.uuid4())
    first = await player.submit(quiz_id, RIGHT, action_id)
    long_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert await player.submit(quiz_id, RIGHT[::-1], action_id, timestamp=long_ago) == first | {"duplicate": True}
    assert await refusal(player.submit(quiz_id, WRONG, action_id)) == "ACTION_ID_CONFLICT"
    assert await refusal(player.submit("solar-system", [], action_id)) == "ACTION_ID_CONFLICT"


async def test_action_id_is_unique_per_player(stack: RunningStack, player: Player) -> None:
    action_id = str(uuid.uuid4())
    await player.submit("solar-system", [], action_id)
    other = await register(player.client)
    assert not (await other.submit("solar-system", [], action_id))["duplicate"]


async def test_wrong_clock_or_closed_quiz_is_refused(stack: RunningStack, player: Player) -> None:
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


async def test_lower_total_is_shown(stack: RunningStack, player: Player) -> None:
    quiz_id = unique("last-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_LAST))
    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        await player.submit(quiz_id, RIGHT)
        await until(events, shows(player.username, POINTS))
        await player.submit(quiz_id, [("q1", "a")])
        await until(events, lambda data: data["leaderboard"] and data["leaderboard"][0]["score"] == POINTS // 2)
        await player.submit(quiz_id, WRONG)
        await until(events, lambda data: data["leaderboard"] == [])


async def test_changed_quiz_reaches_every_instance(stack: RunningStack, player: Player) -> None:
    quiz_id = unique("change-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    # With a time to live beyond the deadline, only the message about the change can be what expires an entry.
    with second_instance(stack, "quiz", QUIZ_CACHE_TTL="1h") as other:
        addresses = [stack.endpoints["grpc"]["quiz"], other["TOPTEN_QUIZ_GRPC_ADDRESS"]]

        async def served_titles() -> set[str]:
            titles = set()
            for address in addresses:
                async with grpc.aio.insecure_channel(address) as channel:
                    stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
                    request = quiz_service_pb2.GetQuizRequest(quiz_id=quiz_id)
                    titles.add((await call(stub.GetQuiz, request, token=player.access_token)).quiz.title)
            return titles

        assert await served_titles() == {f"About {quiz_id}"}
        changed = quiz_definition(quiz_id)
        changed.title = "Another title"
        assert await import_quiz(endpoints(stack), changed) == 2

        async def is_changed() -> bool:
            return await served_titles() == {"Another title"}

        await eventually(is_changed, "both instances serve the new title")


async def test_actions_are_accepted_while_jetstream_is_away_and_count_later() -> None:
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms"}) as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client:
            player = await register(client)
            os.kill(stack.pid_of("nats"), signal.SIGSTOP)
            try:
                responses = [await player.submit("arithmetic-sprint", [("q5", "true")]) for _ in range(5)]
                assert [response["pointsAwarded"] for response in responses] == [5] * 5
                request = quiz_service_pb2.SubmitActionRequest(
                    quiz_id="arithmetic-sprint", action_id=str(uuid.uuid4()), wait=COUNTED
                )
                request.timestamp.GetCurrentTime()
                async with grpc.aio.insecure_channel(stack.endpoints["grpc"]["quiz"]) as channel:
                    stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
                    response = await call(stub.SubmitAction, request, token=player.access_token, timeout=5)
                    assert not response.HasField("total"), "recorded, and still on its way"
                    os.kill(stack.pid_of("nats"), signal.SIGCONT)
                    response = await call(
                        stub.SubmitAction, request, token=player.access_token, timeout=deadline_seconds()
                    )
                    assert (response.duplicate, response.total) == (True, 25)
            finally:
                os.kill(stack.pid_of("nats"), signal.SIGCONT)
            async with stream(stack.http, player.access_token) as events:
                await until(events, shows(player.username, 25))
