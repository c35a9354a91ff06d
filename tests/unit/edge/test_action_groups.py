"""Groups of actions at the edge, against a real gRPC server: they form by themselves, and each action is on its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
import pytest_asyncio
from topten.quiz.v1 import quiz_pb2
from topten.quiz.v1 import quiz_service_pb2 as messages
from topten.quiz.v1.quiz_service_pb2_grpc import (
    QuizServiceServicer,
    QuizServiceStub,
    add_QuizServiceServicer_to_server,
)

from edge import action_groups
from edge.action_groups import MAX_CALLS, ActionGroups
from edge.action_kinds import QuizAnswers
from services.runtime.errors import Reason, ServiceError, to_rpc_status
from services.runtime.grpc.call_context import begin_call
from services.runtime.grpc.client import open_channel
from tests.deadline import deadline
from tests.unit.partly import partly

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

Groups = ActionGroups[messages.SubmitActionRequest, messages.SubmitActionResponse]
OWN_TOKEN = "the edge's own"
REFUSAL = ServiceError(
    Reason.INVALID_ARGUMENT, "no", retry_after=timedelta(seconds=3), violations=[("quiz_id", "is odd")], limit=7
)


@partly
class Quiz(QuizServiceServicer):
    """Refuses what is for the quiz `refused`, and answers groups once `open` is set or fails them all with `failure`.

    Remembers calls: `alone` has the token and the request ID of each action that had a call of its own.
    """

    def __init__(self, failure: grpc.StatusCode | None = None) -> None:
        self.alone: list[tuple[str, str]] = []
        self.groups: list[messages.SubmitActionGroupRequest] = []
        self.open = asyncio.Event()
        self.open.set()
        self._failure = failure

    async def SubmitAction(self, request: messages.SubmitActionRequest, context: Any) -> messages.SubmitActionResponse:
        sent = dict(context.invocation_metadata())
        self.alone.append((sent["authorization"].removeprefix("Bearer "), sent["x-request-id"]))
        return messages.SubmitActionResponse(action_id=request.action_id)

    async def SubmitActionGroup(
        self, request: messages.SubmitActionGroupRequest, context: Any
    ) -> messages.SubmitActionGroupResponse:
        assert dict(context.invocation_metadata())["authorization"] == f"Bearer {OWN_TOKEN}"
        self.groups.append(request)
        if self._failure is not None:
            await context.abort(self._failure, "failed")
        await self.open.wait()
        return messages.SubmitActionGroupResponse(
            results=[
                messages.RelayedResult(error=to_rpc_status(REFUSAL).SerializeToString())
                if each.action.quiz_id == "refused"
                else messages.RelayedResult(response=messages.SubmitActionResponse(action_id=each.action.action_id))
                for each in request.actions
            ]
        )


def quiz_service(failure: grpc.StatusCode | None = None) -> Quiz:
    return Quiz(failure)  # type: ignore[abstract]  # `partly` adds the methods that are missing


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Any]:
    """A function that serves a quiz service and returns the groups of an edge in front of it."""
    opened: list[Any] = []

    async def start(quiz: Quiz, own_token: Callable[[], Any] | None = None) -> Groups:
        server = grpc.aio.server()
        add_QuizServiceServicer_to_server(quiz, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = open_channel(f"127.0.0.1:{port}")
        stub = cast("QuizServiceAsyncStub", QuizServiceStub(await channel.__aenter__()))
        opened.append((server, channel))

        async def own() -> str:
            return OWN_TOKEN

        return ActionGroups(QuizAnswers(stub), own_token or own)

    yield start
    for server, channel in opened:
        await channel.__aexit__(None, None, None)
        await server.stop(None)


async def submit(groups: Groups, name: str, *, timeout: float = 30.0, **request: Any) -> str:
    """Submit the action `name` as a request with that ID and token; return the response's action ID."""
    begin_call(f"request-{name}", timeout=timeout)
    response = await groups.submit(messages.SubmitActionRequest(action_id=name, **request), f"token-{name}")
    return response.action_id


def start(groups: Groups, *names: str, **options: Any) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(submit(groups, name, **options)) for name in names]


def sizes(quiz: Quiz) -> list[int]:
    return [len(group.actions) for group in quiz.groups]


async def occupy(groups: Groups, quiz: Quiz) -> list[asyncio.Task[str]]:
    """Hold as many calls as may be under way."""
    quiz.open.clear()
    held = []
    for call in range(MAX_CALLS):
        held += start(groups, f"{call}a", f"{call}b")
        async with deadline("a group is under way"):
            while len(quiz.groups) <= call:
                await asyncio.sleep(0.001)
    return held


async def test_an_action_alone_goes_at_once_by_a_call_of_its_own(serve: Any) -> None:
    quiz = quiz_service()
    groups = await serve(quiz)
    assert [await submit(groups, name) for name in "ab"] == ["a", "b"]
    assert (quiz.alone, quiz.groups) == ([("token-a", "request-a"), ("token-b", "request-b")], [])


async def test_actions_of_one_turn_and_those_that_come_during_calls_are_one_call(serve: Any) -> None:
    quiz = quiz_service()
    groups = await serve(quiz)
    held = await occupy(groups, quiz)
    later = start(groups, *"cde")
    await asyncio.sleep(0)
    later += start(groups, *"fg")
    await asyncio.sleep(0)
    quiz.open.set()
    first = [f"{call}{action}" for call in range(MAX_CALLS) for action in "ab"]
    assert await asyncio.gather(*held, *later) == [*first, *"cdefg"]
    assert sizes(quiz) == [2] * MAX_CALLS + [5]


async def test_each_action_keeps_its_token_request_id_and_time(serve: Any) -> None:
    quiz = quiz_service()
    groups = await serve(quiz)
    await asyncio.gather(*start(groups, "a", timeout=3.0), *start(groups, "b", timeout=30.0))
    (group,) = quiz.groups
    assert [(each.access_token, each.request_id) for each in group.actions] == [
        ("token-a", "request-a"),
        ("token-b", "request-b"),
    ]
    short, long = (each.time_left.ToTimedelta().total_seconds() for each in group.actions)
    assert 0 < short <= 3 < long <= 5


async def test_a_refusal_is_that_of_one_action(serve: Any) -> None:
    quiz = quiz_service()
    groups = await serve(quiz)
    tasks = [*start(groups, "a"), *start(groups, "b", quiz_id="refused"), *start(groups, "c")]
    first, refused, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, last, sizes(quiz)) == ("a", "c", [3])
    assert isinstance(refused, ServiceError)
    assert (refused.reason, refused.message, refused.retry_after, refused.violations, refused.metadata) == (
        REFUSAL.reason,
        REFUSAL.message,
        REFUSAL.retry_after,
        REFUSAL.violations,
        REFUSAL.metadata,
    )


async def test_a_deadline_and_a_cancellation_are_those_of_one_action(serve: Any) -> None:
    quiz = quiz_service()
    quiz.open.clear()
    groups = await serve(quiz)
    (kept,), (gone,), (hurried,) = start(groups, "a"), start(groups, "b"), start(groups, "c", timeout=0.05)
    async with deadline("the group is under way"):
        while not quiz.groups:
            await asyncio.sleep(0.001)
    gone.cancel()
    with pytest.raises(ServiceError) as caught:
        await hurried
    assert caught.value.reason is Reason.UNAVAILABLE
    quiz.open.set()
    assert (await kept, sizes(quiz)) == ("a", [3])


async def test_a_failed_call_fails_for_all_and_is_not_repeated(serve: Any) -> None:
    quiz = quiz_service(grpc.StatusCode.INTERNAL)
    outcomes = await asyncio.gather(*start(await serve(quiz), *"abc"), return_exceptions=True)
    assert [each.reason for each in outcomes if isinstance(each, ServiceError)] == [Reason.INTERNAL] * 3
    assert (sizes(quiz), quiz.alone) == ([3], [])


@pytest.mark.parametrize("failure", sorted(action_groups._NOT_ACCEPTED, key=str))
async def test_a_quiz_that_does_not_accept_groups_gets_the_actions_one_by_one(
    serve: Any, failure: grpc.StatusCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiz = quiz_service(failure)
    groups = await serve(quiz)
    for _ in range(3):
        assert await asyncio.gather(*start(groups, *"abc")) == ["a", "b", "c"]
    assert Counter(quiz.alone) == {(f"token-{name}", f"request-{name}"): 3 for name in "abc"}
    assert sizes(quiz) == [3], "tried again before the pause is over"
    monkeypatch.setattr(action_groups, "PAUSE_SECONDS", 0.0)
    groups = await serve(quiz)
    for tries in (2, 3):
        await asyncio.gather(*start(groups, *"abc"))
        assert len(quiz.groups) == tries


async def test_without_a_token_of_the_edge_actions_go_one_by_one(serve: Any) -> None:
    async def none() -> str:
        raise ServiceError(Reason.UNAVAILABLE, "identity is away")

    quiz = quiz_service()
    groups = await serve(quiz, none)
    assert await asyncio.gather(*start(groups, *"ab")) == ["a", "b"]
    assert (len(quiz.alone), quiz.groups) == (2, [])


async def test_a_full_group_of_the_largest_actions_fits_into_a_message(serve: Any) -> None:
    quiz = quiz_service()
    groups = await serve(quiz)
    answers = [quiz_pb2.Answer(question_id="q" * 60, selected_option="o" * 60) for _ in range(100)]
    names = [f"{number:03}" for number in range(action_groups.MAX_SIZE)]
    assert await asyncio.gather(*start(groups, *names, answers=answers)) == names
    assert sizes(quiz) == [action_groups.MAX_SIZE]
    answers *= 2
    assert await asyncio.gather(*start(groups, *"ab", answers=answers)) == ["a", "b"]
    assert len(quiz.alone) == 2
