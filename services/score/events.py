"""The two events on the wire: what comes from `quiz.events`, what goes out on `score.events`.

Owns decoding and its refusals. Must never pass on an address or a user agent but to the audit log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.message import DecodeError
from topten.quiz.v1 import quiz_events_pb2
from topten.score.v1 import score_events_pb2

from services.score.answers import NeverError
from services.score.ledger import QUIZ_COMPLETED, Event, boards_at, periods_of
from services.score.standings import Standing

SCORE_UPDATED = "SCORE_UPDATED"
MAX_ID = 128
_MAX_CLIENT = 256


class Counted(NamedTuple):
    """An event that is in the ledger, with the total after it and the player's standings as the boards have them."""

    event_id: str
    user_id: str
    revision: int
    total: int
    at: int
    country: str
    standings: Iterable[Standing]


def decode(data: bytes, *, sequence: int, partition: int, salt: bytes) -> Event:
    """The event in `data`. A country that can't be one is dropped, since the points are not its fault.

    Raises NeverError for what no later version of this message can have meant: bytes that don't parse, another type, a
    missing id, an attempt below 1, a quiz id or a time that no board can have.
    """
    try:
        message = quiz_events_pb2.QuizCompletedEvent.FromString(data)
    except DecodeError:
        raise NeverError("the bytes are no QuizCompletedEvent") from None
    if message.event_type != QUIZ_COMPLETED:
        raise NeverError(f"no event of ours: type {message.event_type[:40]!r}")
    payload = message.payload
    for name, value in (("event id", message.event_id), ("user id", payload.user_id), ("quiz id", payload.quiz_id)):
        if not 1 <= len(value) <= MAX_ID:
            raise NeverError(f"the {name} is missing or too long")
    if payload.attempt < 1:
        raise NeverError("the attempt is missing")
    at = payload.timestamp.seconds * 1000 + payload.timestamp.nanos // 1_000_000
    country = payload.country
    try:
        periods_of(at)
        try:
            boards_at(at, country, payload.quiz_id)
        except ValueError:
            country = ""
            boards_at(at, country, payload.quiz_id)
    except ValueError:
        raise NeverError("the quiz id or the time is out of bounds") from None
    ip, user_agent = payload.client.ip[:64], payload.client.user_agent[:_MAX_CLIENT]
    return Event(
        event_id=message.event_id,
        user_id=payload.user_id,
        quiz_id=payload.quiz_id,
        delta=payload.score_delta,
        at=at,
        action_id=payload.action_id[:MAX_ID],
        attempt=payload.attempt,
        quiz_total=payload.quiz_total,
        country=country,
        client=_digest(ip, user_agent, salt),
        sequence=sequence,
        partition=partition,
        ip=ip,
        user_agent=user_agent,
    )


def event_id_of(data: bytes) -> str:
    """The id of whatever event this is; empty if it can't be told."""
    try:
        return quiz_events_pb2.QuizCompletedEvent.FromString(data).event_id[:MAX_ID]
    except DecodeError:
        return ""


def updated(event: Counted) -> score_events_pb2.ScoreUpdatedEvent:
    """The fact that `event` is counted and the boards show it."""
    message = score_events_pb2.ScoreUpdatedEvent(event_id=event.event_id, event_type=SCORE_UPDATED)
    payload = message.payload
    payload.user_id = event.user_id
    payload.new_total_score = event.total
    payload.timestamp.seconds, milliseconds = divmod(event.at, 1000)
    payload.timestamp.nanos = milliseconds * 1_000_000
    payload.revision = event.revision
    payload.country = event.country
    for found in event.standings:
        payload.standings.add(board=found.board.text, points=found.points, value=found.value, lowered=found.lowered)
    return message


def batch(events: Iterable[Counted]) -> bytes:
    """One message of `score.events`: the facts in the order in which they were counted."""
    return score_events_pb2.ScoreUpdatedBatch(events=map(updated, events)).SerializeToString(deterministic=True)


def _digest(ip: str, user_agent: str, salt: bytes) -> bytes:
    """Who knows address and agent can check them against the row for ever; who knows the row learns neither."""
    if not ip and not user_agent:
        return b""
    return hashlib.blake2b(f"{ip}\n{user_agent}".encode(), key=salt, digest_size=16).digest()
