"""A process that dies at the worst moments: what was accepted is counted once all the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_service_pb2
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.runtime.errors import ServiceError
from services.runtime.grpc_client import call, open_channel
from tests.factories import quiz_definition
from tests.faults.crash_points import POINTS, resolve
from tests.servers import RunningServer
from tests.system.processes import Identity, made, running_identity, running_service
from tests.system.score import ScoreSystem, assert_counted_once, many, score_servers, score_system

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

# The shortest there is, so that what a dead worker held is delivered again within the test.
SOON = {"TOPTEN_SCORE_ACK_WAIT": "3s", "TOPTEN_SCORE_BATCH": "20"}
COUNTING = [name for name in POINTS if name.startswith("score.") and "rebuild" not in name and "erasing" not in name]
REBUILDING = [name for name in POINTS if "rebuild" in name]
QUIZ = "crash-quiz"


@pytest_asyncio.fixture(scope="module")
async def servers() -> AsyncIterator[dict[str, RunningServer]]:
    async with score_servers() as running:
        yield running


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    async with score_system(servers) as fresh:
        yield fresh


@pytest.mark.parametrize("name", POINTS)
def test_every_named_point_is_somewhere(name: str) -> None:
    resolve(POINTS[name].path)


@pytest.mark.parametrize("point", COUNTING)
async def test_a_worker_that_dies_while_it_counts_loses_and_doubles_nothing(system: ScoreSystem, point: str) -> None:
    events = many(120, players=8, seed=41, lowest=-20)
    with system.crashing(point, SOON, nth=1 if "flush" in point else 2) as worker:
        await worker.start()
        await system.publish(*events)
        await worker.died()
    async with system.worker(**SOON):
        await system.settled()
        await assert_counted_once(system, events)


@pytest.mark.parametrize("point", REBUILDING)
async def test_a_worker_that_dies_while_it_makes_boards_leaves_them_to_another(system: ScoreSystem, point: str) -> None:
    events = many(120, players=8, seed=42, lowest=-20)
    async with system.worker(**SOON):
        await system.publish(*events[:100])
        await system.settled()
    await system.redis.flushall()
    with system.crashing(point, SOON) as worker:
        worker.launch()
        await system.publish(*events[100:])
        await worker.died()
    async with system.worker(**SOON):
        await system.settled()
        await assert_counted_once(system, events)


async def submit(address: str, token: str, action_id: str) -> quiz_service_pb2.SubmitActionResponse:
    now = Timestamp()
    now.GetCurrentTime()
    request = quiz_service_pb2.SubmitActionRequest(
        quiz_id=QUIZ,
        action_id=action_id,
        answers=[quiz_pb2.Answer(question_id="q1", selected_option="a")],
        timestamp=now,
    )
    async with open_channel(address) as channel:
        stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
        return await call(stub.SubmitAction, request, token=token)


async def imported(address: str, identity: Identity) -> None:
    async with open_channel(address) as channel, identity.token() as token:
        stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
        request = quiz_service_pb2.ImportQuizRequest(definition=quiz_definition(QUIZ))
        await call(stub.ImportQuiz, request, token=await token.get())


@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith("quiz.") and "erasing" not in name])
async def test_a_quiz_service_that_dies_has_recorded_or_not_and_the_same_action_settles_it(
    system: ScoreSystem, point: str
) -> None:
    async with running_identity(system.servers["mongo"].url) as identity:
        environ = {**system.environ, **identity.environ, "TOPTEN_QUIZ_OUTBOX_LEASE": "1s"}
        environ = {name: value for name, value in environ.items() if not name.startswith("TOPTEN_SCORE")}
        player, action_id = await identity.register(), str(uuid.uuid4())
        async with running_service("quiz", environ) as quiz:
            await imported(quiz.grpc, identity)
        with made("quiz", environ, ("tests.faults.crashing", point)) as quiz:
            await quiz.start()
            with suppress(ServiceError):  # the player may have been answered before
                await submit(quiz.grpc, player.access_token, action_id)
            await quiz.died()
        async with running_service("quiz", environ) as quiz, system.worker(**SOON):
            answer = await submit(quiz.grpc, player.access_token, action_id)
            assert (answer.duplicate, answer.points_awarded) == (True, 10), "it was on record before the process died"
            await until_scored(system, player.user.user_id, 10)
            await system.settled()
            assert await system.chain(player.user.user_id) == [1]
            assert await system.verified() == []


async def until_scored(system: ScoreSystem, user_id: str, points: int) -> None:
    async with asyncio.timeout(30):
        while dict(await system.board("all")).get(user_id) != points:
            await asyncio.sleep(0.02)


async def test_an_identity_that_dies_after_a_block_is_recorded_still_tells_of_it(system: ScoreSystem) -> None:
    mongo, nats = system.servers["mongo"].url, {"TOPTEN_NATS_URL": system.environ["TOPTEN_NATS_URL"]}
    async with running_identity(mongo) as identity:
        player = await identity.register()
        blocking = identity_service_pb2.BlockUserRequest(user_id=player.user.user_id, reason="a test")
        await identity.service.stop()
        own = {name: value for name, value in identity.service.environ.items() if not name.endswith("_ADDRESS")} | nats
        with made("identity", own, ("tests.faults.crashing", "identity.after-a-change")) as dying:
            await dying.start()
            identity.service.grpc, identity.service.ops = dying.grpc, dying.ops
            async with identity.token() as token, open_channel(dying.grpc) as channel:
                stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
                with pytest.raises(ServiceError):
                    await call(stub.BlockUser, blocking, token=await token.get())
            await dying.died()
        async with running_service("identity", own), system.worker(**SOON):
            async with asyncio.timeout(30):
                while not await system.chain(player.user.user_id):
                    await asyncio.sleep(0.02)
            fold = (await system.store.exact_folds([player.user.user_id]))[player.user.user_id]
            assert (fold.hidden, fold.version) == (True, 1)
