"""Events on the wire: what comes from `quiz.events`, what goes out on `score.events`.

Owns decoding and its refusals. Must never pass on an address or a user agent but to the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_events_pb2
from topten.identity.v1.identity_events_pb2 import PlayerChangedPayload
from topten.quiz.v1 import quiz_events_pb2
from topten.quiz.v1.quiz_events_pb2 import ActionVoidedPayload, EventHeader, ScoreAdjustedPayload
from topten.score.v1 import score_events_pb2

from services.score.answers import NeverError
from services.score.ledger import (
    ACTION_VOIDED,
    COUNTRY_CHANGED,
    PLAYER_BLOCKED,
    PLAYER_ERASED,
    PLAYER_UNBLOCKED,
    QUIZ_COMPLETED,
    SCORE_ADJUSTED,
    Change,
    Event,
    boards_at,
    periods_of,
)
from services.score.seals import Seals
from services.score.standings import Standing

SCORE_UPDATED = "SCORE_UPDATED"
MAX_ID = 128
_MAX_CLIENT = 256
_MAX_REASON = 500


class Counted(NamedTuple):
    """An event that is in the ledger, with the total after it and the player's standings as the boards have them."""

    event: Event
    revision: int
    total: int
    country: str
    standings: Iterable[Standing]


def decode(data: bytes, *, sequence: int, partition: int, seals: Seals) -> Event:
    """The event in `data`. A country that can't be one is dropped, since the points are not its fault.

    Raises NeverError for what no later version of this message can have meant: bytes that don't parse, another type, a
    missing id, an attempt below 1, a quiz id or a time that no board can have.
    """
    try:
        kind = EventHeader.FromString(data).event_type
        read = _READERS.get(kind)
        if read is None:
            raise NeverError(f"no event of ours: type {kind[:40]!r}")
        event = read(data, seals, sequence, partition)
    except DecodeError:
        raise NeverError("the bytes are no event") from None
    for name, value in (("event id", event.event_id), ("user id", event.user_id)):
        if not 1 <= len(value) <= MAX_ID:
            raise NeverError(f"the {name} is missing or too long")
    if kind in _OF_A_QUIZ and not (1 <= len(event.quiz_id) <= MAX_ID and event.attempt >= 1):
        raise NeverError("the quiz id or the attempt is missing or out of bounds")
    try:
        periods_of(event.at)
        try:
            boards_at(event.at, event.country, event.quiz_id)
        except ValueError:
            event = event._replace(country="")
            boards_at(event.at, "", event.quiz_id)
    except ValueError:
        raise NeverError("the quiz id or the time is out of bounds") from None
    return event


def _completed(data: bytes, seals: Seals, sequence: int, partition: int) -> Event:
    message = quiz_events_pb2.QuizCompletedEvent.FromString(data)
    payload = message.payload
    ip, user_agent = payload.client.ip[:64], payload.client.user_agent[:_MAX_CLIENT]
    return Event(
        event_id=message.event_id,
        user_id=payload.user_id,
        quiz_id=payload.quiz_id,
        delta=payload.score_delta,
        at=_milliseconds(payload.timestamp),
        action_id=payload.action_id[:MAX_ID],
        attempt=payload.attempt,
        quiz_total=payload.quiz_total,
        country=payload.country,
        client=seals.client(payload.user_id, ip, user_agent),
        sequence=sequence,
        partition=partition,
        ip=ip,
        user_agent=user_agent,
        questions=payload.total_questions,
        elapsed=payload.elapsed_ms if payload.HasField("elapsed_ms") else -1,
    )


def _voided(data: bytes, seals: Seals, sequence: int, partition: int) -> Event:
    message = quiz_events_pb2.ActionVoidedEvent.FromString(data)
    payload = message.payload
    return Event(
        event_id=message.event_id,
        user_id=payload.user_id,
        quiz_id=payload.quiz_id,
        delta=payload.score_delta,
        at=_milliseconds(payload.timestamp),
        action_id=payload.action_id[:MAX_ID],
        attempt=payload.attempt,
        quiz_total=payload.quiz_total,
        sequence=sequence,
        partition=partition,
        kind=ACTION_VOIDED,
        change=_sealed(payload, seals)._replace(voids=payload.voided_event_id[:MAX_ID]),
    )


def _adjusted(data: bytes, seals: Seals, sequence: int, partition: int) -> Event:
    message = quiz_events_pb2.ScoreAdjustedEvent.FromString(data)
    payload = message.payload
    return Event(
        event_id=message.event_id,
        user_id=payload.user_id,
        quiz_id="",
        delta=payload.score_delta,
        at=_milliseconds(payload.timestamp),
        action_id=payload.action_id[:MAX_ID],
        attempt=0,
        quiz_total=0,
        country=payload.country,
        sequence=sequence,
        partition=partition,
        kind=SCORE_ADJUSTED,
        change=_sealed(payload, seals),
    )


def _player_changed(data: bytes, seals: Seals, sequence: int, partition: int) -> Event:
    message = identity_events_pb2.PlayerChangedEvent.FromString(data)
    payload = message.payload
    if payload.version < 1:
        raise NeverError("the version of the account is missing")
    return Event(
        event_id=message.event_id,
        user_id=payload.user_id,
        quiz_id="",
        delta=0,
        at=_milliseconds(payload.timestamp),
        action_id="",
        attempt=0,
        quiz_total=0,
        country=payload.country,
        sequence=sequence,
        partition=partition,
        kind=message.event_type,
        change=_sealed(payload, seals)._replace(version=payload.version, blocked=payload.blocked),
    )


def _sealed(
    payload: ActionVoidedPayload | ScoreAdjustedPayload | PlayerChangedPayload,
    seals: Seals,
) -> Change:
    actor, reason = payload.actor[:MAX_ID], payload.reason[:_MAX_REASON]
    return Change(actor, reason, seal=seals.words(payload.user_id, actor, reason))


_READERS: Mapping[str, Callable[[bytes, Seals, int, int], Event]] = {
    QUIZ_COMPLETED: _completed,
    ACTION_VOIDED: _voided,
    SCORE_ADJUSTED: _adjusted,
    PLAYER_BLOCKED: _player_changed,
    PLAYER_UNBLOCKED: _player_changed,
    COUNTRY_CHANGED: _player_changed,
    PLAYER_ERASED: _player_changed,
}
_OF_A_QUIZ = frozenset({QUIZ_COMPLETED, ACTION_VOIDED})


def _milliseconds(timestamp: Timestamp) -> int:
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000


def event_id_of(data: bytes) -> str:
    """The id of whatever event this is; empty if it can't be told."""
    try:
        return EventHeader.FromString(data).event_id[:MAX_ID]
    except DecodeError:
        return ""


def updated(counted: Counted) -> score_events_pb2.ScoreUpdatedEvent:
    """The fact that the event is counted and the boards show it."""
    event = counted.event
    message = score_events_pb2.ScoreUpdatedEvent(event_id=event.event_id, event_type=SCORE_UPDATED)
    payload = message.payload
    payload.user_id = event.user_id
    payload.new_total_score = counted.total
    payload.timestamp.seconds, milliseconds = divmod(event.at, 1000)
    payload.timestamp.nanos = milliseconds * 1_000_000
    payload.revision = counted.revision
    payload.country = counted.country
    payload.cause = event.kind
    for found in counted.standings:
        payload.standings.add(board=found.board.text, points=found.points, value=found.value, lowered=found.lowered)
    return message


def batch(events: Iterable[Counted], traceparents: Iterable[str] = ()) -> bytes:
    """One message of `score.events`: the facts in the order in which they were counted, and the traces they are part of."""
    message = score_events_pb2.ScoreUpdatedBatch(events=map(updated, events), traceparents=traceparents)
    return message.SerializeToString(deterministic=True)
