"""Processes that die at the worst moments: every accepted action still counts exactly once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from topten.action.v1 import action_pb2, action_service_pb2
from topten.action.v1.action_service_pb2_grpc import ActionServiceStub
from topten.identity.v1 import identity_service_pb2
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.boards.proofs.signed_heads import HEADS
from services.leaderboard.reading.proofs import NotSealedError
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call, open_channel
from services.score.coordination_store import CoordinationStore
from tests.deadline import deadline
from tests.factories import quiz_definition
from tests.faults.crash_points import POINTS, resolve
from tests.system.periods.test_sealing import WEEK, archive, database_of, names, proof_of, published_keys, until_sealed
from tests.system.processes import Identity, running_identity, running_service, service_process
from tests.system.score import ScoreSystem, assert_counted_once, random_events

if TYPE_CHECKING:
    from topten.action.v1.action_service_pb2_grpc import ActionServiceAsyncStub
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

# The shortest ack wait, so that messages of a dead worker are delivered again within the test.
SHORT_ACK_WAIT = {"TOPTEN_SCORE_ACK_WAIT": "3s", "TOPTEN_SCORE_BATCH": "20"}
_OTHER = ("rebuild", "building", "erasing", "sealing")
COUNTING = [name for name in POINTS if name.startswith("score.") and not any(other in name for other in _OTHER)]
SEALING = [name for name in POINTS if "sealing" in name]
SUBMITTING = [name for name in POINTS if name.startswith("quiz.") and "erasing" not in name]
REBUILDING = [name for name in POINTS if "rebuild" in name]
QUIZ, RUN = "crash-quiz", "crash-run"
Send = Callable[[str, str, str], Awaitable["quiz_service_pb2.SubmitActionResponse | action_pb2.ActionResult"]]


@pytest.mark.parametrize("name", POINTS)
def test_every_crash_point_names_a_method(name: str) -> None:
    resolve(POINTS[name].path)


@pytest.mark.parametrize("point", COUNTING)
async def test_worker_crash_while_counting_loses_and_doubles_nothing(system: ScoreSystem, point: str) -> None:
    events = random_events(120, players=8, seed=41, lowest=-20)
    with system.crashing(point, SHORT_ACK_WAIT, nth=1 if "flush" in point else 2) as worker:
        await worker.start()
        await system.publish(*events[:60])
        await system.publish_groups(*events[60:])
        await worker.died()
    async with system.worker(**SHORT_ACK_WAIT):
        await system.until_drained()
        await assert_counted_once(system, events)


@pytest.mark.parametrize("point", REBUILDING)
async def test_worker_crash_during_a_rebuild_leaves_it_to_another(system: ScoreSystem, point: str) -> None:
    events = random_events(120, players=8, seed=42, lowest=-20)
    async with system.worker(**SHORT_ACK_WAIT):
        await system.publish(*events[:100])
        await system.until_drained()
    await system.redis.flushall()
    with system.crashing(point, SHORT_ACK_WAIT) as worker:
        worker.launch()
        await system.publish(*events[100:])
        await worker.died()
    async with system.worker(**SHORT_ACK_WAIT):
        await system.until_drained()
        await assert_counted_once(system, events)


@pytest.mark.parametrize("point", SEALING)
async def test_worker_crash_while_sealing_leaves_nothing_half_sealed(system: ScoreSystem, point: str) -> None:
    database = database_of(system)
    await archive(database, WEEK, names(300))
    async with running_identity(system.servers["mongo"].url) as identity:
        settings = {**identity.environ, "TOPTEN_SCORE_CLOSE_INTERVAL": "100ms"}
        with system.crashing(point, settings) as worker:
            worker.launch()
            await worker.died()
        assert await database[HEADS].count_documents({}) == 0
        with pytest.raises(NotSealedError):
            await proof_of(database, "player-0")
        await CoordinationStore(system.database).release_lease(await holder(system), "sealing")
        async with system.worker(**settings):
            await until_sealed(database, WEEK)
            await proof_of(database, "player-0", keys=await published_keys(identity))
            assert await system.verify() == []
    await system.mongo.client.drop_database(database)


async def holder(system: ScoreSystem) -> str:
    """Return who has the lease of sealing: the worker that died, for 30 s."""
    document = await system.database["meta"].find_one({"_id": "sealing"})
    assert document is not None
    return str(document["holder"])


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


async def report(address: str, token: str, action_id: str) -> action_pb2.ActionResult:
    request = action_service_pb2.SubmitActionsRequest()
    request.actions.add(action_type_id=RUN, action_id=action_id, quantity=3)
    async with open_channel(address) as channel:
        stub = cast("ActionServiceAsyncStub", ActionServiceStub(channel))
        return (await call(stub.SubmitActions, request, token=token)).results[0]


async def imported(address: str, identity: Identity) -> None:
    async with open_channel(address) as channel, identity.token() as token:
        stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
        request = quiz_service_pb2.ImportQuizRequest(definition=quiz_definition(QUIZ))
        await call(stub.ImportQuiz, request, token=await token.get())
        actions = cast("ActionServiceAsyncStub", ActionServiceStub(channel))
        run = action_pb2.ActionType(action_type_id=RUN, title="Run", submitters=action_pb2.ActionType.PLAYERS)
        run.rule.per_unit.points_per_unit, run.rule.per_unit.max_units = 2, 10
        await call(
            actions.PutActionType, action_service_pb2.PutActionTypeRequest(action_type=run), token=await token.get()
        )


# An action of a type takes the same path, so it is tried at one of the points.
@pytest.mark.parametrize(("point", "send"), [*((name, submit) for name in SUBMITTING), (SUBMITTING[0], report)])
async def test_repeated_action_is_settled_after_the_quiz_service_crashed(
    system: ScoreSystem, point: str, send: Send
) -> None:
    async with running_identity(system.servers["mongo"].url) as identity:
        environ = {**system.environ, **identity.environ, "TOPTEN_QUIZ_OUTBOX_LEASE": "1s"}
        environ = {name: value for name, value in environ.items() if not name.startswith("TOPTEN_SCORE")}
        player, action_id = await identity.register(), str(uuid.uuid4())
        async with running_service("quiz", environ) as quiz:
            await imported(quiz.grpc, identity)
        with service_process("quiz", environ, ("tests.faults.crashing", point)) as quiz:
            await quiz.start()
            with suppress(ServiceError):  # the process may have responded before it died
                await send(quiz.grpc, player.access_token, action_id)
            await quiz.died()
        async with running_service("quiz", environ) as quiz, system.worker(**SHORT_ACK_WAIT):
            answer = await send(quiz.grpc, player.access_token, action_id)
            if isinstance(answer, action_pb2.ActionResult):
                assert (answer.status, answer.points_awarded) == (action_pb2.ActionResult.DUPLICATE, 6)
            else:
                assert (answer.duplicate, answer.points_awarded) == (True, 10), "recorded before the process died"
            await until_scored(system, player.user.user_id, answer.points_awarded)
            await system.until_drained()
            assert await system.chain(player.user.user_id) == [1]
            assert await system.verify() == []


async def until_scored(system: ScoreSystem, user_id: str, points: int) -> None:
    async with deadline():
        while dict(await system.board("all")).get(user_id) != points:
            await asyncio.sleep(0.02)


async def test_block_is_published_after_identity_crashed(system: ScoreSystem) -> None:
    mongo, nats = system.servers["mongo"].url, {"TOPTEN_NATS_URL": system.environ["TOPTEN_NATS_URL"]}
    async with running_identity(mongo, system.prefix) as identity:
        player = await identity.register()
        blocking = identity_service_pb2.BlockUserRequest(user_id=player.user.user_id, reason="a test")
        await identity.service.stop()
        own = {name: value for name, value in identity.service.environ.items() if not name.endswith("_ADDRESS")} | nats
        with service_process("identity", own, ("tests.faults.crashing", "identity.after-a-change")) as dying:
            await dying.start()
            identity.service.grpc, identity.service.ops = dying.grpc, dying.ops
            async with identity.token() as token, open_channel(dying.grpc) as channel:
                stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
                with pytest.raises(ServiceError):
                    await call(stub.BlockUser, blocking, token=await token.get())
            await dying.died()
        async with running_service("identity", own), system.worker(**SHORT_ACK_WAIT):
            async with deadline():
                while not await system.chain(player.user.user_id):
                    await asyncio.sleep(0.02)
            fold = (await system.store.current_folds([player.user.user_id]))[player.user.user_id]
            assert (fold.hidden, fold.version) == (True, 1)
