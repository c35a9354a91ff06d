"""The kinds of actions that are sent in groups: answers to a quiz, and actions of types that admins define.

Those of rooms are in `room_kinds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from google.rpc.status_pb2 import Status
from topten.action.v1 import action_service_pb2
from topten.action.v1.action_pb2 import ActionResult
from topten.action.v1.action_service_pb2 import SubmitActionsRequest
from topten.quiz.v1 import quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2 import SubmitActionRequest, SubmitActionResponse
from topten.score.v1.confirmation_pb2 import COUNTED

from edge.action_groups import Relay
from services.runtime.errors import Reason, ServiceError, from_rpc_status
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.action.v1.action_service_pb2_grpc import ActionServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub


class QuizAnswers:
    """Answers to a quiz, by SubmitAction and SubmitActionGroup of QuizService."""

    def __init__(self, quiz: QuizServiceAsyncStub) -> None:
        self._quiz = quiz

    def waits(self, request: SubmitActionRequest) -> bool:
        """See Kind."""
        return request.wait == COUNTED

    async def submit_one(self, request: SubmitActionRequest, token: str) -> SubmitActionResponse:
        """See Kind."""
        return await call(self._quiz.SubmitAction, request, token=token)

    async def submit_group(
        self, group: Sequence[Relay[SubmitActionRequest]], token: str, timeout: float
    ) -> Sequence[SubmitActionResponse | Exception]:
        """See Kind."""
        actions = [
            quiz_service_pb2.RelayedAction(
                access_token=each.token,
                action=each.request,
                traceparent=each.traceparent,
                request_id=each.request_id,
                time_left=each.time_left,
            )
            for each in group
        ]
        request = quiz_service_pb2.SubmitActionGroupRequest(actions=actions)
        response = await call(self._quiz.SubmitActionGroup, request, token=token, timeout=timeout)
        return [
            result.response if result.HasField("response") else from_rpc_status(Status.FromString(result.error))
            for result in response.results
        ]


class PlayerActions:
    """Actions of a type, one in each request, by SubmitActions and SubmitActionGroup of ActionService."""

    def __init__(self, action: ActionServiceAsyncStub) -> None:
        self._action = action

    def waits(self, request: SubmitActionsRequest) -> bool:
        """See Kind."""
        return request.wait == COUNTED

    async def submit_one(self, request: SubmitActionsRequest, token: str) -> ActionResult:
        """See Kind. A refused action raises its reason."""
        (result,) = (await call(self._action.SubmitActions, request, token=token)).results
        outcome = _outcome(result)
        if isinstance(outcome, ServiceError):
            raise outcome
        return outcome

    async def submit_group(
        self, group: Sequence[Relay[SubmitActionsRequest]], token: str, timeout: float
    ) -> Sequence[ActionResult | Exception]:
        """See Kind."""
        actions = [
            action_service_pb2.RelayedAction(
                access_token=each.token,
                action=each.request.actions[0],
                client=each.request.client,
                traceparent=each.traceparent,
                request_id=each.request_id,
                time_left=each.time_left,
            )
            for each in group
        ]
        request = action_service_pb2.SubmitActionGroupRequest(actions=actions)
        response = await call(self._action.SubmitActionGroup, request, token=token, timeout=timeout)
        return [_outcome(result) for result in response.results]


def _outcome(result: ActionResult) -> ActionResult | ServiceError:
    if result.status != ActionResult.REFUSED:
        return result
    # A quiz process of a later version may have reasons that this version does not know.
    reason = result.reason if result.reason in Reason.__members__ else Reason.INTERNAL
    fault = result.message.removeprefix(f"{result.field}: ")
    refusal = ServiceError(
        reason,
        result.message,
        retry_after=result.retry_after.ToTimedelta() if result.HasField("retry_after") else None,
        violations=[(result.field, fault)] if result.field else [],
    )
    refusal.metadata = dict(result.metadata)
    return refusal
