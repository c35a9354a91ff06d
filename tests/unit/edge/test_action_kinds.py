"""Actions of types at the edge, against a real gRPC server: in groups like answers, each with its own result or reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from topten.action.v1 import action_service_pb2 as messages
from topten.action.v1.action_pb2 import ActionResult, PlayerAction
from topten.action.v1.action_service_pb2_grpc import (
    ActionServiceServicer,
    ActionServiceStub,
    add_ActionServiceServicer_to_server,
)
from topten.quiz.v1 import quiz_pb2
from topten.score.v1.confirmation_pb2 import COUNTED

from edge.action_groups import ActionGroups
from edge.action_kinds import PlayerActions
from edge.graphql.execution.errors import refusal
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import begin_call
from services.runtime.grpc.client import open_channel
from tests.unit.partly import partly

if TYPE_CHECKING:
    from topten.action.v1.action_service_pb2_grpc import ActionServiceAsyncStub

Groups = ActionGroups[messages.SubmitActionsRequest, ActionResult]
RESULTS = {
    "refused": ActionResult(
        status=ActionResult.REFUSED, reason="INVALID_ARGUMENT", message="quantity: must be odd.", field="quantity"
    ),
    "blocked": ActionResult(
        status=ActionResult.REFUSED,
        reason="PLAYER_BLOCKED",
        message="You are blocked.",
        metadata={"block_reason": "a program", "expires_at": "2026-12-24T00:00:00Z"},
        retry_after=Duration(seconds=7),
    ),
    "later": ActionResult(status=ActionResult.REFUSED, reason="A_REASON_OF_A_LATER_VERSION", message="no"),
}


@partly
class Actions(ActionServiceServicer):
    """Has the results above for the types of those names. `alone` has the token of each call of an action's own."""

    def __init__(self) -> None:
        self.alone: list[str] = []
        self.groups: list[messages.SubmitActionGroupRequest] = []

    async def SubmitActions(
        self, request: messages.SubmitActionsRequest, context: Any
    ) -> messages.SubmitActionsResponse:
        self.alone.append(dict(context.invocation_metadata())["authorization"].removeprefix("Bearer "))
        return messages.SubmitActionsResponse(results=map(result, request.actions))

    async def SubmitActionGroup(
        self, request: messages.SubmitActionGroupRequest, context: Any
    ) -> messages.SubmitActionGroupResponse:
        assert dict(context.invocation_metadata())["authorization"] == "Bearer the edge's own"
        self.groups.append(request)
        return messages.SubmitActionGroupResponse(results=[result(each.action) for each in request.actions])


def result(action: PlayerAction) -> ActionResult:
    accepted = ActionResult(status=ActionResult.ACCEPTED, points_awarded=action.quantity)
    return RESULTS.get(action.action_type_id, accepted)


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[Actions, Groups]]:
    """A service, and the groups of an edge in front of it."""
    actions = Actions()  # type: ignore[abstract]  # `partly` adds the methods that are missing
    server = grpc.aio.server()
    add_ActionServiceServicer_to_server(actions, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def own() -> str:
        return "the edge's own"

    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub = cast("ActionServiceAsyncStub", ActionServiceStub(channel))
        yield actions, ActionGroups(PlayerActions(stub), own)
    await server.stop(None)


async def submit(groups: Groups, name: str, action_type_id: str = "walk", **fields: Any) -> int:
    """Submit an action in the name of the player `name`, and return its points."""
    begin_call(f"request-{name}", timeout=30.0)
    action = PlayerAction(action_type_id=action_type_id, quantity=len(name))
    client = quiz_pb2.Client(ip=f"address of {name}")
    request = messages.SubmitActionsRequest(actions=[action], client=client, **fields)
    return (await groups.submit(request, f"token-{name}")).points_awarded


async def test_actions_that_arrive_together_are_one_call_and_keep_what_is_theirs(
    served: tuple[Actions, Groups],
) -> None:
    actions, groups = served
    waiting = submit(groups, "dddd", wait=COUNTED)
    assert [*await asyncio.gather(submit(groups, "a"), submit(groups, "bb"), waiting)] == [1, 2, 4]
    assert await submit(groups, "ccc") == 3
    (group,) = actions.groups
    shown = [(each.access_token, each.request_id, each.client.ip, each.action.quantity) for each in group.actions]
    assert shown == [("token-a", "request-a", "address of a", 1), ("token-bb", "request-bb", "address of bb", 2)]
    assert all(0 < each.time_left.ToTimedelta().total_seconds() <= 5 for each in group.actions)
    assert actions.alone == ["token-dddd", "token-ccc"]


@pytest.mark.parametrize("is_alone", [True, False])
async def test_a_refusal_is_that_of_one_action(served: tuple[Actions, Groups], is_alone: bool) -> None:
    actions, groups = served
    tasks = [submit(groups, name, name) for name in ("refused", "blocked", "later")]
    outcomes: list[int | BaseException] = []
    if is_alone:
        for task in tasks:
            outcomes += await asyncio.gather(task, return_exceptions=True)
    else:
        outcomes += await asyncio.gather(*tasks, submit(groups, "a"), return_exceptions=True)
        assert outcomes.pop() == 1
    assert (len(actions.alone), len(actions.groups)) == ((3, 0) if is_alone else (0, 1))
    refused, blocked, later = outcomes
    assert isinstance(refused, ServiceError)
    assert refused.reason is Reason.INVALID_ARGUMENT
    assert tuple(refused.violations) == (("quantity", "must be odd."),)
    assert isinstance(blocked, ServiceError)
    extensions = refusal(blocked)["extensions"]
    assert (extensions["blockReason"], extensions["blockedUntil"]) == ("a program", "2026-12-24T00:00:00Z")
    assert extensions["retryAfter"] == 7
    assert isinstance(later, ServiceError)
    assert (later.reason, later.message) == (Reason.INTERNAL, "no")
