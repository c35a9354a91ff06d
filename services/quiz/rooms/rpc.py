"""gRPC of rooms: request → service → response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import grpc
from topten.quiz.v1 import quiz_pb2
from topten.room.v1 import room_pb2, room_service_pb2_grpc
from topten.room.v1 import room_service_pb2 as messages

from services.quiz.extra_time import ExtraTime
from services.quiz.questions.answers import Answer, AnswerError, answer_message, answers_of
from services.quiz.rooms.counting import COUNTED
from services.quiz.rooms.documents import SeatAnswer
from services.quiz.rooms.frames import EXTRA_TIMES, distribution, entry_of, outcome_of
from services.quiz.rooms.moving import RoomMoving
from services.quiz.rooms.personal_data import RoomPersonalData, SeatRecord
from services.quiz.rooms.playing import RoomPlay
from services.quiz.rooms.result_files import Format
from services.quiz.rooms.results import QuestionResult, RoomResults
from services.quiz.rooms.room import DEFAULT_PLAYERS, Nicknames, Options, Room
from services.quiz.rooms.seating import RoomSeating
from services.quiz.rooms.service import RoomService
from services.quiz.rooms.transitions import Command
from services.quiz.rooms.watching import RoomWatching
from services.runtime.errors import invalid
from services.runtime.grpc.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


class RoomServicer(room_service_pb2_grpc.RoomServiceServicer):
    """The methods of `topten.room.v1.RoomService`, which documents them. Writes are shielded from cancellation."""

    def __init__(
        self,
        rooms: RoomService,
        seating: RoomSeating,
        moving: RoomMoving,
        play: RoomPlay,
        watching: RoomWatching,
        results: RoomResults,
        personal_data: RoomPersonalData,
    ) -> None:
        self._rooms = rooms
        self._seating = seating
        self._moving = moving
        self._results = results
        self._play = play
        self._watching = watching
        self._personal_data = personal_data

    async def OpenRoom(self, request: messages.OpenRoomRequest, context: Context) -> messages.OpenRoomResponse:
        """See room_service.proto."""
        opening = self._rooms.open(caller(), request.quiz_id, _options(request.options), request.options.co_hosts)
        return messages.OpenRoomResponse(frame=await self._watching.frame(await asyncio.shield(opening)))

    async def JoinRoom(self, request: messages.JoinRoomRequest, context: Context) -> messages.JoinRoomResponse:
        """See room_service.proto."""
        joining = self._seating.join(caller(), request.pin, request.nickname)
        snapshot, seat, rejoined = await asyncio.shield(joining)
        return messages.JoinRoomResponse(
            outcome=outcome_of(await self._play.place_of(snapshot.room, seat)),
            rejoined=rejoined,
            frame=await self._watching.frame(snapshot),
        )

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
        setting = self._rooms.set_extra_time(caller(), request.pin, request.seat_id, extra_time)
        return messages.SetExtraTimeResponse(extra_times=_extra_times(await asyncio.shield(setting)))

    async def AnswerRoomQuestion(
        self, request: messages.AnswerRoomQuestionRequest, context: Context
    ) -> messages.AnswerRoomQuestionResponse:
        """See room_service.proto."""
        answering = self._play.answer(caller(), request.pin, _answer_in(request.answer))
        given, duplicate = await asyncio.shield(answering)
        response = messages.AnswerRoomQuestionResponse(answer=answer_message(given.answer), duplicate=duplicate)
        response.received_at.FromDatetime(given.received_at)
        return response

    async def GetRoom(self, request: messages.GetRoomRequest, context: Context) -> messages.GetRoomResponse:
        """See room_service.proto."""
        return messages.GetRoomResponse(frame=await self._watching.current(request.pin))

    async def GetRoomOutcome(
        self, request: messages.GetRoomOutcomeRequest, context: Context
    ) -> messages.GetRoomOutcomeResponse:
        """See room_service.proto."""
        place = await self._play.own_place(caller(), request.pin)
        return messages.GetRoomOutcomeResponse(outcome=outcome_of(place))

    async def WatchRoom(
        self, request: messages.WatchRoomRequest, context: Context
    ) -> AsyncIterator[messages.WatchRoomResponse]:
        """See room_service.proto."""
        async with aclosing(self._watching.frames(request.pin)) as frames:
            async for frame in frames:
                yield messages.WatchRoomResponse(frame=frame)

    async def GetRoomResults(
        self, request: messages.GetRoomResultsRequest, context: Context
    ) -> messages.GetRoomResultsResponse:
        """See room_service.proto."""
        results, places, following = await self._results.page(
            caller(), request.room_id, request.page_size, request.page_token
        )
        return messages.GetRoomResultsResponse(
            questions=map(_question, results.questions),
            players=map(entry_of, places),
            total_size=len(results.places),
            next_page_token=following,
            extra_times=_extra_times(results.room),
            attempts=[
                _attempt(place.seat.seat_id, results.attempts[place.seat.seat_id])
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

    async def ExportSeats(self, request: messages.ExportSeatsRequest, context: Context) -> messages.ExportSeatsResponse:
        """See room_service.proto."""
        records, token = await self._personal_data.records(caller().user_id, request.page_token)
        return messages.ExportSeatsResponse(seats=map(_seat, records), next_page_token=token)


def _options(options: room_pb2.RoomOptions) -> Options:
    rule = room_pb2.NicknameRule.Name(options.nicknames).removeprefix("NICKNAME_RULE_")
    return Options(
        seconds=options.seconds_per_question,
        locks_when_all_answered=options.lock_when_all_answered,
        speed_points=options.speed_points,
        frozen_questions=options.frozen_questions,
        max_players=options.max_players or DEFAULT_PLAYERS,
        nicknames=Nicknames.__members__.get(rule, Nicknames.CHOSEN),
        counts_on_boards=options.counts_on_boards,
    )


def _question(result: QuestionResult) -> room_pb2.QuestionResult:
    return room_pb2.QuestionResult(
        question_id=result.question_id,
        answered=result.answered,
        right=result.right,
        distribution=distribution(result.choices, result.question),
        discrimination=result.discrimination,
        difficulty=result.difficulty,
    )


def _attempt(seat_id: str, outcome: str) -> room_pb2.SeatAttempt:
    counted = outcome == COUNTED
    return room_pb2.SeatAttempt(seat_id=seat_id, counted=counted, refusal="" if counted else outcome)


def _extra_times(room: Room) -> list[room_pb2.SeatExtraTime]:
    return [
        room_pb2.SeatExtraTime(seat_id=seat_id, extra_time=EXTRA_TIMES[each])
        for seat_id, each in room.extra_times.items()
    ]


def _seat(record: SeatRecord) -> room_pb2.SeatRecord:
    seat = record.seat
    message = room_pb2.SeatRecord(
        room_id=seat.room_id,
        quiz_id=record.quiz_id,
        seat_id=seat.seat_id,
        nickname=seat.nickname,
        answers=map(_answer, record.answers),
    )
    message.joined_at.FromDatetime(seat.joined_at)
    return message


def _answer(given: SeatAnswer) -> room_pb2.SeatAnswer:
    message = room_pb2.SeatAnswer(answer=answer_message(given.answer), points=given.points)
    message.received_at.FromDatetime(given.received_at)
    return message


def _answer_in(message: quiz_pb2.Answer) -> Answer:
    """Return the answer of a request. Raises INVALID_ARGUMENT unless it has exactly one form."""
    try:
        return answers_of([message])[0]
    except AnswerError as error:
        field = f"answer.{error.form}" if error.form else "answer"
        raise invalid(field, str(error), f"answer: {error}.") from None
