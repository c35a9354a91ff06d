"""Rooms, seats and answers as documents of MongoDB, and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from topten.quiz.v1 import quiz_pb2

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.questions.answers import Answer, answer_in, answer_list
from services.quiz.rooms.room import Nicknames, Options, Phase, Room
from services.quiz.rooms.seats.nickname import nickname_key

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seat:
    """A player's place in a room. `country` is that of their account; a guest's answers count on no other board.

    `attempt` is the outcome of submitting the answers as an attempt at the quiz: COUNTED, or the reason of the refusal. Empty
    before that, and for seats whose answers do not count on boards.
    """

    seat_id: str
    room_id: str
    user_id: str
    nickname: str
    country: str
    is_guest: bool
    joined_at: datetime
    is_removed: bool = False
    attempt: str = ""


@dataclass(frozen=True, slots=True)
class SeatAnswer:
    """A judged answer of a seat. `question` is an index; `options` are the selected ones, empty for other question kinds."""

    seat_id: str
    room_id: str
    question: int
    answer: Answer
    options: tuple[str, ...]
    received_at: datetime
    verdict: quiz_pb2.Verdict.ValueType
    points: int


def state_fields(room: Room) -> Document:
    """Return the fields that a transition may change, but extra times, full points and hosts, which it adds and removes."""
    return {
        "revision": room.revision,
        "changed_at": room.changed_at,
        "phase": room.phase,
        "question": room.question,
        "asked_at": room.asked_at,
        "deadline": room.deadline,
        "locked_at": room.locked_at,
        "closed_to_new_players": room.is_closed_to_new_players,
        "ended_at": room.ended_at,
    }


def room_fields(room: Room) -> Document:
    """Return the document of a room, without its quiz, its record and its time of deletion.

    A room has `challenge_key` if new seats take a proof of work. That is not among its options, of which instances of an
    earlier version know each.
    """
    options = asdict(room.options)
    del options["proof_of_work"]
    return {
        "_id": room.room_id,
        "pin": room.pin,
        "quiz_id": room.quiz_id,
        "quiz_version": room.quiz_version,
        "title": room.title,
        "question_ids": list(room.question_ids),
        "hosts": list(room.hosts),
        "options": options,
        "opened_at": room.opened_at,
        **({"challenge_key": room.challenge_key} if room.options.proof_of_work else {}),
        **state_fields(room),
        "extra_times": dict(room.extra_times),
        "full_points": dict(room.full_points),
    }


def room_of(document: Document) -> Room:
    """Return the room of a document."""
    options, challenge_key = document["options"], document.get("challenge_key", b"")
    return Room(
        room_id=document["_id"],
        pin=document["pin"],
        quiz_id=document["quiz_id"],
        quiz_version=document["quiz_version"],
        title=document["title"],
        question_ids=tuple(document["question_ids"]),
        hosts=tuple(document["hosts"]),
        options=Options(
            **options | {"nicknames": Nicknames(options["nicknames"]), "proof_of_work": bool(challenge_key)}
        ),
        opened_at=document["opened_at"],
        revision=document["revision"],
        changed_at=document["changed_at"],
        phase=Phase(document["phase"]),
        question=document["question"],
        asked_at=document["asked_at"],
        deadline=document["deadline"],
        locked_at=document["locked_at"],
        is_closed_to_new_players=document["closed_to_new_players"],
        # Rooms that an earlier version opened have neither.
        extra_times={seat: ExtraTime(each) for seat, each in document.get("extra_times", {}).items()},
        full_points=document.get("full_points", {}),
        ended_at=document["ended_at"],
        challenge_key=challenge_key,
    )


def seat_fields(seat: Seat) -> Document:
    """Return the document of a new seat, without its time of deletion. `nickname_key` is unique in a room."""
    return {
        "_id": seat.seat_id,
        "room_id": seat.room_id,
        "user_id": seat.user_id,
        "nickname": seat.nickname,
        "nickname_key": nickname_key(seat.nickname),
        "country": seat.country,
        "is_guest": seat.is_guest,
        "joined_at": seat.joined_at,
        "is_removed": seat.is_removed,
    }


def seat_of(document: Document) -> Seat:
    """Return the seat of a document."""
    return Seat(
        seat_id=document["_id"],
        room_id=document["room_id"],
        user_id=document["user_id"],
        nickname=document["nickname"],
        country=document["country"],
        is_guest=document["is_guest"],
        joined_at=document["joined_at"],
        is_removed=document["is_removed"],
        attempt=document.get("attempt", ""),
    )


def answer_fields(given: SeatAnswer) -> Document:
    """Return the document of an answer. Its `_id` is unique for a seat and a question."""
    return {
        "_id": answer_id(given.seat_id, given.question),
        "seat_id": given.seat_id,
        "room_id": given.room_id,
        "question": given.question,
        "answer": answer_list(given.answer),
        "options": list(given.options),
        "received_at": given.received_at,
        "verdict": given.verdict,
        "points": given.points,
    }


def answer_of(document: Document) -> SeatAnswer:
    """Return the answer of a document."""
    return SeatAnswer(
        seat_id=document["seat_id"],
        room_id=document["room_id"],
        question=document["question"],
        answer=answer_in(document["answer"]),
        options=tuple(document["options"]),
        received_at=document["received_at"],
        verdict=document["verdict"],
        points=document["points"],
    )


def answer_id(seat_id: str, question: int) -> str:
    """Return the id of a seat's answer to a question."""
    return f"{seat_id}/{question}"
