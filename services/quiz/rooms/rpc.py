"""gRPC of rooms: request → service → response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import grpc
from topten.room.v1 import room_pb2, room_service_pb2_grpc
from topten.room.v1 import room_service_pb2 as messages

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.relay import Relay
from services.quiz.rooms.joining import JoinedPlayer, RoomJoining
from services.quiz.rooms.personal_data import RoomPersonalData
from services.quiz.rooms.play.frames import entry_of, outcome_of
from services.quiz.rooms.play.playing import RoomPlay
from services.quiz.rooms.play.watching import RoomWatching
from services.quiz.rooms.relayed import RELAYED_ANSWERS, RELAYED_JOINS, answer_in, recorded_answer
from services.quiz.rooms.results.audit import RoomAudit
from services.quiz.rooms.results.board import RoomBoards
from services.quiz.rooms.results.result_files import Format
from services.quiz.rooms.results.results import RoomResults
from services.quiz.rooms.room_messages import (
    attempt_message,
    board_message,
    challenge_message,
    extra_time_messages,
    options_of,
    question_message,
    room_record_message,
    seat_message,
)
from services.quiz.rooms.seats.challenges import RoomChallenges
from services.quiz.rooms.seats.moving import RoomMoving
from services.quiz.rooms.seats.seating import SeatRequest
from services.quiz.rooms.service import RoomService
from services.quiz.rooms.transitions import Command
from services.runtime.auth.access import STAFF
from services.runtime.grpc.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


class RoomServicer(room_service_pb2_grpc.RoomServiceServicer):
    """The methods of `topten.room.v1.RoomService`, which documents them. Writes are shielded from cancellation."""

    def __init__(
        self,
        rooms: RoomService,
        challenges: RoomChallenges,
        joining: RoomJoining,
        moving: RoomMoving,
        play: RoomPlay,
        watching: RoomWatching,
        results: RoomResults,
        boards: RoomBoards,
        audit: RoomAudit,
        personal_data: RoomPersonalData,
        relay: Relay,
    ) -> None:
        self._rooms = rooms
        self._challenges = challenges
        self._joining = joining
        self._moving = moving
        self._results = results
        self._boards = boards
        self._audit = audit
        self._play = play
        self._watching = watching
        self._personal_data = personal_data
        self._relay = relay

    async def OpenRoom(self, request: messages.OpenRoomRequest, context: Context) -> messages.OpenRoomResponse:
        """See room_service.proto."""
        opening = self._rooms.open(caller(), request.quiz_id, options_of(request.options), request.options.co_hosts)
        return messages.OpenRoomResponse(frame=await self._watching.frame(await asyncio.shield(opening)))

    async def GetJoinChallenge(
        self, request: messages.GetJoinChallengeRequest, context: Context
    ) -> messages.GetJoinChallengeResponse:
        """See room_service.proto."""
        challenge = await self._challenges.issue(request.pin)
        return messages.GetJoinChallengeResponse(challenge=None if challenge is None else challenge_message(challenge))

    async def JoinRoom(self, request: messages.JoinRoomRequest, context: Context) -> messages.JoinRoomResponse:
        """See room_service.proto."""
        wanted = SeatRequest(request.pin, caller(), request.nickname, solution=request.solution)
        joins = await asyncio.shield(self._joining.join([wanted]))
        (joined,) = joins.outcomes
        if isinstance(joined, Exception):
            raise joined
        return messages.JoinRoomResponse(
            outcome=outcome_of(joined.place), rejoined=joined.rejoined, frame=joins.frames[joined.frame]
        )

    async def JoinRoomGroup(
        self, request: messages.JoinRoomGroupRequest, context: Context
    ) -> messages.JoinRoomGroupResponse:
        """See room_service.proto."""
        frames: list[room_pb2.RoomFrame] = []

        async def join(requests: Sequence[SeatRequest]) -> Sequence[JoinedPlayer | Exception]:
            joins = await self._joining.join(requests)
            frames.extend(joins.frames)
            return joins.outcomes

        results = await asyncio.shield(self._relay.submit(request.joins, RELAYED_JOINS, join))
        return messages.JoinRoomGroupResponse(results=results, frames=frames)

    async def CreateSeatCode(
        self, request: messages.CreateSeatCodeRequest, context: Context
    ) -> messages.CreateSeatCodeResponse:
        """See room_service.proto."""
        code, expires_at = await asyncio.shield(self._moving.create_code(caller(), request.pin))
        response = messages.CreateSeatCodeResponse(code=code)
        response.expires_at.FromDatetime(expires_at)
        return response

    async def MoveSeat(self, request: messages.MoveSeatRequest, context: Context) -> messages.MoveSeatResponse:
        """See room_service.proto."""
        snapshot, seat = await asyncio.shield(self._moving.move(caller(), request.pin, request.code))
        return messages.MoveSeatResponse(
            outcome=outcome_of(await self._play.place_of(snapshot.room, seat)),
            frame=await self._watching.frame(snapshot),
        )

    async def AddRoomHost(self, request: messages.AddRoomHostRequest, context: Context) -> messages.AddRoomHostResponse:
        """See room_service.proto."""
        adding = self._rooms.add_host(caller(), request.pin, request.user_id)
        return messages.AddRoomHostResponse(frame=await self._watching.frame(await asyncio.shield(adding)))

    async def RemoveRoomHost(
        self, request: messages.RemoveRoomHostRequest, context: Context
    ) -> messages.RemoveRoomHostResponse:
        """See room_service.proto."""
        removing = self._rooms.remove_host(caller(), request.pin, request.user_id)
        return messages.RemoveRoomHostResponse(frame=await self._watching.frame(await asyncio.shield(removing)))

    async def ListRoomHosts(
        self, request: messages.ListRoomHostsRequest, context: Context
    ) -> messages.ListRoomHostsResponse:
        """See room_service.proto."""
        return messages.ListRoomHostsResponse(user_ids=await self._rooms.hosts(caller(), request.pin))

    async def AdvanceRoom(self, request: messages.AdvanceRoomRequest, context: Context) -> messages.AdvanceRoomResponse:
        """See room_service.proto."""
        advancing = self._rooms.advance(
            caller(),
            request.pin,
            Command[room_pb2.RoomCommand.Name(request.command).removeprefix("ROOM_COMMAND_")],
            request.expected_revision,
            request.command_id,
            timedelta(seconds=request.seconds),
        )
        snapshot, applied = await asyncio.shield(advancing)
        return messages.AdvanceRoomResponse(applied=applied, frame=await self._watching.frame(snapshot))

    async def LockRoom(self, request: messages.LockRoomRequest, context: Context) -> messages.LockRoomResponse:
        """See room_service.proto."""
        locking = self._rooms.lock(caller(), request.pin, locked=request.locked)
        return messages.LockRoomResponse(frame=await self._watching.frame(await asyncio.shield(locking)))

    async def KickFromRoom(
        self, request: messages.KickFromRoomRequest, context: Context
    ) -> messages.KickFromRoomResponse:
        """See room_service.proto."""
        kicking = self._rooms.kick(caller(), request.pin, request.seat_id)
        return messages.KickFromRoomResponse(frame=await self._watching.frame(await asyncio.shield(kicking)))

    async def SetExtraTime(
        self, request: messages.SetExtraTimeRequest, context: Context
    ) -> messages.SetExtraTimeResponse:
        """See room_service.proto."""
        extra_time = ExtraTime[room_pb2.ExtraTime.Name(request.extra_time).removeprefix("EXTRA_TIME_")]
        setting = self._rooms.set_extra_time(
            caller(), request.pin, request.seat_id, extra_time, full_points=request.full_points
        )
        return messages.SetExtraTimeResponse(extra_times=extra_time_messages(await asyncio.shield(setting)))

    async def AnswerRoomQuestion(
        self, request: messages.AnswerRoomQuestionRequest, context: Context
    ) -> messages.AnswerRoomQuestionResponse:
        """See room_service.proto."""
        answering = self._play.answer(caller(), request.pin, answer_in(request.answer))
        return recorded_answer(await asyncio.shield(answering))

    async def AnswerRoomQuestionGroup(
        self, request: messages.AnswerRoomQuestionGroupRequest, context: Context
    ) -> messages.AnswerRoomQuestionGroupResponse:
        """See room_service.proto."""
        answering = self._relay.submit(request.answers, RELAYED_ANSWERS, self._play.answer_all)
        return messages.AnswerRoomQuestionGroupResponse(results=await asyncio.shield(answering))

    async def GetRoom(self, request: messages.GetRoomRequest, context: Context) -> messages.GetRoomResponse:
        """See room_service.proto."""
        viewer = caller()
        viewer_id = "" if viewer.may(STAFF) else viewer.user_id
        return messages.GetRoomResponse(frame=await self._watching.current(request.pin, viewer_id))

    async def GetRoomOutcome(
        self, request: messages.GetRoomOutcomeRequest, context: Context
    ) -> messages.GetRoomOutcomeResponse:
        """See room_service.proto."""
        place = await self._play.own_place(caller(), request.pin)
        return messages.GetRoomOutcomeResponse(outcome=outcome_of(place))

    async def ListRoomOutcomes(
        self, request: messages.ListRoomOutcomesRequest, context: Context
    ) -> messages.ListRoomOutcomesResponse:
        """See room_service.proto."""
        room, places = await self._play.places(request.pin, request.user_ids)
        outcomes = [
            messages.PlayerOutcome(user_id=user_id, outcome=outcome_of(place)) for user_id, place in places.items()
        ]
        return messages.ListRoomOutcomesResponse(revision=room.revision, outcomes=outcomes)

    async def GetRoomBoard(
        self, request: messages.GetRoomBoardRequest, context: Context
    ) -> messages.GetRoomBoardResponse:
        """See room_service.proto."""
        board = await self._boards.read(
            caller(),
            request.room_id,
            skip=request.skip,
            limit=request.limit,
            ids=request.ids,
            viewer_id=request.viewer_id,
        )
        return board_message(board)

    async def WatchRoom(
        self, request: messages.WatchRoomRequest, context: Context
    ) -> AsyncIterator[messages.WatchRoomResponse]:
        """See room_service.proto."""
        room_id = request.room_id or await self._watching.room_id(request.pin)
        async with aclosing(self._watching.frames(room_id)) as frames:
            async for frame, removed in frames:
                yield messages.WatchRoomResponse(frame=frame, removed_user_ids=removed)

    async def GetRoomResults(
        self, request: messages.GetRoomResultsRequest, context: Context
    ) -> messages.GetRoomResultsResponse:
        """See room_service.proto."""
        results, places, following = await self._results.page(
            caller(), request.room_id, request.page_size, request.page_token
        )
        return messages.GetRoomResultsResponse(
            questions=map(question_message, results.questions),
            players=map(entry_of, places),
            total_size=len(results.places),
            next_page_token=following,
            extra_times=extra_time_messages(results.room),
            attempts=[
                attempt_message(place.seat.seat_id, results.attempts[place.seat.seat_id])
                for place in places
                if place.seat.seat_id in results.attempts
            ],
        )

    async def ExportRoomResults(
        self, request: messages.ExportRoomResultsRequest, context: Context
    ) -> messages.ExportRoomResultsResponse:
        """See room_service.proto."""
        name = room_pb2.RoomResultsFormat.Name(request.format).removeprefix("ROOM_RESULTS_FORMAT_")
        made = await self._results.file(caller(), request.room_id, Format[name])
        return messages.ExportRoomResultsResponse(file_name=made.name, media_type=made.media_type, content=made.content)

    async def AuditRooms(
        self, request: messages.AuditRoomsRequest, context: Context
    ) -> AsyncIterator[messages.AuditRoomsResponse]:
        """See room_service.proto."""
        async for audited in self._audit.run():
            findings = [room_pb2.RoomFinding(**finding._asdict()) for finding in audited.findings]
            yield messages.AuditRoomsResponse(rooms=audited.rooms, answers=audited.answers, findings=findings)

    async def ExportRooms(self, request: messages.ExportRoomsRequest, context: Context) -> messages.ExportRoomsResponse:
        """See room_service.proto."""
        user_id = caller().user_id
        rooms, token = await self._personal_data.rooms(user_id, request.page_token)
        return messages.ExportRoomsResponse(
            rooms=[room_record_message(each, user_id) for each in rooms], next_page_token=token
        )

    async def ExportSeats(self, request: messages.ExportSeatsRequest, context: Context) -> messages.ExportSeatsResponse:
        """See room_service.proto."""
        records, token = await self._personal_data.records(caller().user_id, request.page_token)
        return messages.ExportSeatsResponse(seats=map(seat_message, records), next_page_token=token)
