"""Joins and answers that an edge sends in groups: the requests that are read of them, and the results."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import protovalidate
from topten.quiz.v1 import quiz_pb2
from topten.room.v1 import room_service_pb2 as messages

from services.quiz.questions.answers import Answer, AnswerError, answer_message, answers_of
from services.quiz.relay import RelayedKind
from services.quiz.rooms.joining import JoinedPlayer
from services.quiz.rooms.play.frames import outcome_of
from services.quiz.rooms.play.playing import AnswerRequest, RecordedAnswer
from services.quiz.rooms.seats.seating import SeatRequest
from services.runtime.auth.claims import Claims
from services.runtime.errors import ServiceError, invalid, to_rpc_status
from services.runtime.grpc import requests
from services.runtime.grpc.methods import methods

_METHODS: Final = methods("topten.room.v1.RoomService")


def answer_in(message: quiz_pb2.Answer) -> Answer:
    """Return the answer of a request. Raises INVALID_ARGUMENT unless it has exactly one form."""
    try:
        return answers_of([message])[0]
    except AnswerError as error:
        field = f"answer.{error.form}" if error.form else "answer"
        raise invalid(field, str(error), f"answer: {error}.") from None


def recorded_answer(recorded: RecordedAnswer) -> messages.AnswerRoomQuestionResponse:
    """Return the response for a recorded answer."""
    answer, duplicate = recorded
    response = messages.AnswerRoomQuestionResponse(answer=answer_message(answer.answer), duplicate=duplicate)
    response.received_at.FromDatetime(answer.received_at)
    return response


def _join_of(
    relayed: messages.RelayedJoin, player: Claims, validator: protovalidate.Validator, abandoned_at: float
) -> SeatRequest:
    requests.check(relayed.join, validator)
    return SeatRequest(relayed.join.pin, player, relayed.join.nickname, abandoned_at, relayed.join.solution)


def _joined(joined: JoinedPlayer) -> messages.RelayedSeat:
    response = messages.JoinRoomResponse(outcome=outcome_of(joined.place), rejoined=joined.rejoined)
    return messages.RelayedSeat(response=response, frame=joined.frame)


def _join_refused(refusal: ServiceError) -> messages.RelayedSeat:
    return messages.RelayedSeat(error=to_rpc_status(refusal).SerializeToString())


def _answer_of(
    relayed: messages.RelayedRoomAnswer, player: Claims, validator: protovalidate.Validator, abandoned_at: float
) -> AnswerRequest:
    requests.check(relayed.answer, validator)
    held = timedelta(seconds=relayed.held.seconds, microseconds=relayed.held.nanos / 1000)
    return AnswerRequest(relayed.answer.pin, player, answer_in(relayed.answer.answer), held, abandoned_at)


def _answered(recorded: RecordedAnswer) -> messages.RelayedRoomAnswerResult:
    return messages.RelayedRoomAnswerResult(response=recorded_answer(recorded))


def _answer_refused(refusal: ServiceError) -> messages.RelayedRoomAnswerResult:
    return messages.RelayedRoomAnswerResult(error=to_rpc_status(refusal).SerializeToString())


_JOIN, _ANSWER = _METHODS["JoinRoom"], _METHODS["AnswerRoomQuestion"]
RELAYED_JOINS: Final = RelayedKind(_JOIN.path, _JOIN.access, _join_of, _joined, _join_refused)
RELAYED_ANSWERS: Final = RelayedKind(_ANSWER.path, _ANSWER.access, _answer_of, _answered, _answer_refused)
