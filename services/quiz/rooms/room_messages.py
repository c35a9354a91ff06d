"""The messages about rooms that hosts and players send and read, besides live frames. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topten.room.v1 import room_pb2, room_service_pb2

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.questions.answers import answer_message
from services.quiz.rooms.documents import SeatAnswer
from services.quiz.rooms.personal_data import SeatRecord
from services.quiz.rooms.play.frames import EXTRA_TIMES, distribution, entry_of
from services.quiz.rooms.results.board import Line, RoomBoard
from services.quiz.rooms.results.counting import COUNTED
from services.quiz.rooms.results.results import QuestionResult
from services.quiz.rooms.room import DEFAULT_PLAYERS, Nicknames, Options, Phase, Room
from services.quiz.rooms.seats.challenge import Challenge

if TYPE_CHECKING:
    from services.quiz.rooms.room_store import RoomRecord


def challenge_message(challenge: Challenge) -> room_pb2.JoinChallenge:
    """Return a challenge as a device reads it."""
    message = room_pb2.JoinChallenge(
        algorithm=challenge.algorithm,
        challenge=challenge.challenge,
        max_number=challenge.max_number,
        salt=challenge.salt,
        signature=challenge.signature,
    )
    message.expires_at.FromDatetime(challenge.expires_at)
    return message


def options_of(options: room_pb2.RoomOptions) -> Options:
    """Return the options of a request, with the defaults of what it leaves out."""
    rule = room_pb2.NicknameRule.Name(options.nicknames).removeprefix("NICKNAME_RULE_")
    return Options(
        seconds=options.seconds_per_question,
        locks_when_all_answered=options.lock_when_all_answered,
        speed_points=options.speed_points,
        frozen_questions=options.frozen_questions,
        max_players=options.max_players or DEFAULT_PLAYERS,
        nicknames=Nicknames.__members__.get(rule, Nicknames.CHOSEN),
        counts_on_boards=options.counts_on_boards,
        proof_of_work=options.proof_of_work,
    )


def question_message(result: QuestionResult) -> room_pb2.QuestionResult:
    """Return the result of a question."""
    return room_pb2.QuestionResult(
        question_id=result.question_id,
        answered=result.answered,
        right=result.right,
        distribution=distribution(result.choices, result.question),
        discrimination=result.discrimination,
        difficulty=result.difficulty,
        text=result.text,
    )


def board_message(board: RoomBoard) -> room_service_pb2.GetRoomBoardResponse:
    """Return the board of a room."""
    response = room_service_pb2.GetRoomBoardResponse(
        revision=board.room.revision,
        ended=board.room.phase is Phase.ENDED,
        total_size=board.total,
        entries=[_place(line) for line in board.window],
        places=[_place(line, asked) for asked, line in board.places],
    )
    response.changed_at.FromDatetime(board.room.changed_at)
    return response


def _place(line: Line, asked: str = "") -> room_pb2.RoomPlace:
    return room_pb2.RoomPlace(id=asked, position=line.position, entry=entry_of(line.place), gap_to_next=line.gap)


def attempt_message(seat_id: str, outcome: str) -> room_pb2.SeatAttempt:
    """Return the outcome of submitting the answers of a seat as an attempt."""
    counted = outcome == COUNTED
    return room_pb2.SeatAttempt(seat_id=seat_id, counted=counted, refusal="" if counted else outcome)


def extra_time_messages(room: Room) -> list[room_pb2.SeatExtraTime]:
    """Return the seats with extra time or full points."""
    return [
        room_pb2.SeatExtraTime(
            seat_id=seat_id,
            extra_time=EXTRA_TIMES[room.extra_time_of(seat_id)],
            full_points=seat_id in room.full_points,
        )
        for seat_id in room.accommodated
    ]


def seat_message(record: SeatRecord) -> room_pb2.SeatRecord:
    """Return what a player exports of a seat."""
    seat, room = record.seat, record.room
    message = room_pb2.SeatRecord(
        room_id=seat.room_id,
        quiz_id=room.quiz_id if room else "",
        seat_id=seat.seat_id,
        nickname=seat.nickname,
        answers=map(_answer, record.answers),
        country=seat.country,
        removed=seat.is_removed,
        extra_time=EXTRA_TIMES[room.extra_time_of(seat.seat_id) if room else ExtraTime.NONE],
        attempt=seat.attempt,
        full_points=room is not None and seat.seat_id in room.full_points,
    )
    message.joined_at.FromDatetime(seat.joined_at)
    return message


def room_record_message(record: RoomRecord, user_id: str) -> room_pb2.RoomRecord:
    """Return what an account exports of a room."""
    room = record.room
    message = room_pb2.RoomRecord(
        room_id=room.room_id,
        quiz_id=room.quiz_id,
        title=room.title,
        opened=user_id == room.hosts[0],
        hosts=user_id in room.hosts,
    )
    message.opened_at.FromDatetime(room.opened_at)
    if room.ended_at is not None:
        message.ended_at.FromDatetime(room.ended_at)
    for act in record.acts:
        message.acts.add(command=act.command.upper(), seat_id=act.about).at.FromDatetime(act.at)
    return message


def _answer(given: SeatAnswer) -> room_pb2.SeatAnswer:
    message = room_pb2.SeatAnswer(answer=answer_message(given.answer), points=given.points)
    message.received_at.FromDatetime(given.received_at)
    return message
