"""Joins and answers of rooms, which are sent in groups as actions are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from google.rpc.status_pb2 import Status
from topten.room.v1 import room_service_pb2 as messages
from topten.room.v1.room_pb2 import RoomFrame, RoomOutcome

from edge.action_groups import Relay
from services.runtime.errors import from_rpc_status
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.room.v1.room_service_pb2_grpc import RoomServiceAsyncStub


class JoinedSeat(NamedTuple):
    """A player's own place in a room, whether they had it before, and the state of the room, which others share."""

    outcome: RoomOutcome
    rejoined: bool
    frame: RoomFrame


class RoomJoins:
    """Requests for seats, by JoinRoom and JoinRoomGroup of RoomService."""

    def __init__(self, room: RoomServiceAsyncStub) -> None:
        self._room = room

    def waits(self, request: messages.JoinRoomRequest) -> bool:  # noqa: ARG002  # see Kind; none of them waits
        """See Kind."""
        return False

    async def submit_one(self, request: messages.JoinRoomRequest, token: str) -> JoinedSeat:
        """See Kind."""
        response = await call(self._room.JoinRoom, request, token=token)
        return JoinedSeat(response.outcome, response.rejoined, response.frame)

    async def submit_group(
        self, group: Sequence[Relay[messages.JoinRoomRequest]], token: str, timeout: float
    ) -> Sequence[JoinedSeat | Exception]:
        """See Kind."""
        joins = [
            messages.RelayedJoin(
                access_token=each.token,
                join=each.request,
                traceparent=each.traceparent,
                request_id=each.request_id,
                time_left=each.time_left,
            )
            for each in group
        ]
        request = messages.JoinRoomGroupRequest(joins=joins)
        response = await call(self._room.JoinRoomGroup, request, token=token, timeout=timeout)
        frames = list(response.frames)
        return [
            JoinedSeat(result.response.outcome, result.response.rejoined, frames[result.frame])
            if result.HasField("response")
            else from_rpc_status(Status.FromString(result.error))
            for result in response.results
        ]


class RoomAnswers:
    """Answers to questions of rooms, by AnswerRoomQuestion and AnswerRoomQuestionGroup of RoomService."""

    def __init__(self, room: RoomServiceAsyncStub) -> None:
        self._room = room

    def waits(self, request: messages.AnswerRoomQuestionRequest) -> bool:  # noqa: ARG002  # see Kind; none of them waits
        """See Kind."""
        return False

    async def submit_one(
        self, request: messages.AnswerRoomQuestionRequest, token: str
    ) -> messages.AnswerRoomQuestionResponse:
        """See Kind."""
        return await call(self._room.AnswerRoomQuestion, request, token=token)

    async def submit_group(
        self, group: Sequence[Relay[messages.AnswerRoomQuestionRequest]], token: str, timeout: float
    ) -> Sequence[messages.AnswerRoomQuestionResponse | Exception]:
        """See Kind. Answers count as received when this process received them."""
        answers = [
            messages.RelayedRoomAnswer(
                access_token=each.token,
                answer=each.request,
                traceparent=each.traceparent,
                request_id=each.request_id,
                time_left=each.time_left,
                held=each.held,
            )
            for each in group
        ]
        request = messages.AnswerRoomQuestionGroupRequest(answers=answers)
        response = await call(self._room.AnswerRoomQuestionGroup, request, token=token, timeout=timeout)
        return [
            result.response if result.HasField("response") else from_rpc_status(Status.FromString(result.error))
            for result in response.results
        ]
