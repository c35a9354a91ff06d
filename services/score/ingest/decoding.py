"""Decodes the messages of `quiz.events`.

Owns validation. Must never pass an address or a user agent to anything but the audit collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from topten.action.v1 import action_events_pb2
from topten.identity.v1 import identity_events_pb2
from topten.identity.v1.identity_events_pb2 import PlayerChangedPayload
from topten.quiz.v1 import quiz_events_pb2
from topten.quiz.v1.quiz_events_pb2 import (
    ActionRejudgedPayload,
    ActionVoidedPayload,
    EventHeader,
    QuizCompletedPayload,
    ScoreAdjustedPayload,
)

from services.boards.definition import is_tag
from services.score.errors import UnprocessableError
from services.score.ledger.event_boards import boards_at, periods_of
from services.score.ledger.events import Change, Event
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.streams import (
    ACTION_COMPLETED,
    ACTION_REJUDGED,
    ACTION_VOIDED,
    COUNTRY_CHANGED,
    PLAYER_BLOCKED,
    PLAYER_ERASED,
    PLAYER_UNBLOCKED,
    PROFILE_CHANGED,
    QUIZ_COMPLETED,
    SCORE_ADJUSTED,
)

MAX_ID = 128
MAX_METADATA = 1024
MAX_TAGS = 10
_MAX_CLIENT = 256
_MAX_REASON = 500


def decode(data: bytes, *, sequence: int, partition: int, digests: PersonalDataDigests) -> Event:
    """Return the event in `data`. Invalid countries and tags and too long metadata are dropped: no reason to lose points.

    Raises UnprocessableError for a message that no later version can understand either: bytes that do not parse, an unknown
    type, a missing id, an attempt below 1, neither a quiz nor an action type, a quiz id or a time that no board can have.
    """
    try:
        kind = EventHeader.FromString(data).event_type
        decoder = _DECODERS.get(kind)
        if decoder is None:
            raise UnprocessableError(f"unknown event type {kind[:40]!r}")
        event = decoder(data, digests, sequence, partition)
    except DecodeError:
        raise UnprocessableError("the message cannot be parsed") from None
    for name, value in (("event id", event.event_id), ("user id", event.user_id)):
        if not 1 <= len(value) <= MAX_ID:
            raise UnprocessableError(f"the {name} is missing or longer than {MAX_ID} characters")
    if kind in _ACTION_EVENTS and not (_is_about_one(event) and event.attempt >= 1):
        raise UnprocessableError("the quiz id, the action type or the attempt is missing or out of range")
    try:
        periods_of(event.at)
        try:
            boards_at(event.at, event.country, event.quiz_id)
        except ValueError:
            event = event._replace(country="")
            boards_at(event.at, "", event.quiz_id)
    except ValueError:
        raise UnprocessableError("the quiz id or the time is out of range") from None
    return event


def _completed(data: bytes, digests: PersonalDataDigests, sequence: int, partition: int) -> Event:
    message = quiz_events_pb2.QuizCompletedEvent.FromString(data)
    payload = message.payload
    ip, user_agent = payload.client.ip[:64], payload.client.user_agent[:_MAX_CLIENT]
    return Event(
        event_id=message.event_id,
        user_id=payload.user_id,
        quiz_id=payload.quiz_id,
        delta=_delta(payload),
        at=_milliseconds(payload.timestamp),
        action_id=payload.action_id[:MAX_ID],
        attempt=payload.attempt,
        quiz_total=_quiz_total(payload),
        country=payload.country,
        client=digests.client(payload.user_id, ip, user_agent),
        sequence=sequence,
        partition=partition,
        ip=ip,
        user_agent=user_agent,
        questions=payload.total_questions,
        elapsed=payload.elapsed_ms if payload.HasField("elapsed_ms") else -1,
        tags=_tags(payload.tags),
    )


def _action_completed(data: bytes, digests: PersonalDataDigests, sequence: int, partition: int) -> Event:
    message = action_events_pb2.ActionCompletedEvent.FromString(data)
    payload = message.payload
    ip, user_agent = payload.client.ip[:64], payload.client.user_agent[:_MAX_CLIENT]
    actor, metadata = payload.actor[:MAX_ID], _metadata(payload.metadata)
    return Event(
        event_id=message.event_id,
        user_id=payload.user_id,
        quiz_id="",
        delta=payload.score_delta,
        at=_milliseconds(payload.timestamp),
        action_id=payload.action_id[:MAX_ID],
        attempt=payload.attempt,
        quiz_total=0,
        country=payload.country,
        client=digests.client(payload.user_id, ip, user_agent),
        sequence=sequence,
        partition=partition,
        ip=ip,
        user_agent=user_agent,
        kind=ACTION_COMPLETED,
        change=Change(
            actor,
            "",
            digest=digests.change(payload.user_id, actor, "", metadata),
            action_type_id=payload.action_type_id,
            metadata=metadata,
            shows_metadata=payload.shows_metadata and bool(metadata),
        ),
        tags=_tags(payload.tags),
    )


def _voided(data: bytes, digests: PersonalDataDigests, sequence: int, partition: int) -> Event:
    message = quiz_events_pb2.ActionVoidedEvent.FromString(data)
    payload = message.payload
    return _event(message, digests, sequence, partition)._replace(
        kind=ACTION_VOIDED,
        quiz_id=payload.quiz_id,
        delta=_delta(payload),
        action_id=payload.action_id[:MAX_ID],
        attempt=payload.attempt,
        quiz_total=_quiz_total(payload),
        change=_change(payload, digests)._replace(
            voids=payload.voided_event_id[:MAX_ID], action_type_id=payload.action_type_id
        ),
        tags=_tags(payload.tags),
    )


def _rejudged(data: bytes, digests: PersonalDataDigests, sequence: int, partition: int) -> Event:
    message = quiz_events_pb2.ActionRejudgedEvent.FromString(data)
    payload = message.payload
    return _event(message, digests, sequence, partition)._replace(
        kind=ACTION_REJUDGED,
        quiz_id=payload.quiz_id,
        delta=_delta(payload),
        action_id=payload.action_id[:MAX_ID],
        attempt=payload.attempt,
        quiz_total=_quiz_total(payload),
        change=_change(payload, digests)._replace(voids=payload.rejudged_event_id[:MAX_ID]),
        tags=_tags(payload.tags),
    )


def _adjusted(data: bytes, digests: PersonalDataDigests, sequence: int, partition: int) -> Event:
    message = quiz_events_pb2.ScoreAdjustedEvent.FromString(data)
    payload = message.payload
    return _event(message, digests, sequence, partition)._replace(
        kind=SCORE_ADJUSTED,
        delta=payload.score_delta,
        action_id=payload.action_id[:MAX_ID],
        country=payload.country,
    )


def _player_changed(data: bytes, digests: PersonalDataDigests, sequence: int, partition: int) -> Event:
    message = identity_events_pb2.PlayerChangedEvent.FromString(data)
    payload = message.payload
    if payload.version < 1:
        raise UnprocessableError("the version of the account is missing")
    return _event(message, digests, sequence, partition)._replace(
        kind=message.event_type,
        country=payload.country,
        change=_change(payload, digests)._replace(version=payload.version, blocked=payload.blocked),
    )


def _event(
    message: quiz_events_pb2.ActionVoidedEvent
    | quiz_events_pb2.ActionRejudgedEvent
    | quiz_events_pb2.ScoreAdjustedEvent
    | identity_events_pb2.PlayerChangedEvent,
    digests: PersonalDataDigests,
    sequence: int,
    partition: int,
) -> Event:
    """Return an event with the fields that events of moderators and accounts have in common."""
    payload = message.payload
    at = _milliseconds(payload.timestamp)
    return Event(
        message.event_id, payload.user_id, "", 0, at, "", 0, 0,
        sequence=sequence, partition=partition, change=_change(payload, digests),
    )  # fmt: skip


def _is_about_one(event: Event) -> bool:
    """Return whether an event names a quiz or, instead, an action type."""
    ids = [name for name in (event.quiz_id, event.change.action_type_id if event.change else "") if name]
    return len(ids) == 1 and len(ids[0]) <= MAX_ID


def _metadata(given: Mapping[str, str]) -> str:
    """Return metadata as the ledger has it; empty if it is longer than the contract allows."""
    text = orjson.dumps(dict(given), option=orjson.OPT_SORT_KEYS) if given else b""
    return text.decode() if len(text) <= MAX_METADATA else ""


def _tags(given: Sequence[str]) -> tuple[str, ...]:
    """Return the tags that a source of a board can name, up to ten, in order."""
    return tuple(sorted({tag for tag in given if is_tag(tag)})[:MAX_TAGS]) if given else ()


def _delta(payload: QuizCompletedPayload | ActionVoidedPayload | ActionRejudgedPayload) -> int:
    return payload.exact_score_delta if payload.HasField("exact_score_delta") else payload.score_delta


def _quiz_total(payload: QuizCompletedPayload | ActionVoidedPayload | ActionRejudgedPayload) -> int:
    return payload.exact_quiz_total if payload.HasField("exact_quiz_total") else payload.quiz_total


def _change(
    payload: ActionVoidedPayload | ActionRejudgedPayload | ScoreAdjustedPayload | PlayerChangedPayload,
    digests: PersonalDataDigests,
) -> Change:
    actor, reason = payload.actor[:MAX_ID], payload.reason[:_MAX_REASON]
    return Change(actor, reason, digest=digests.change(payload.user_id, actor, reason))


_DECODERS: Mapping[str, Callable[[bytes, PersonalDataDigests, int, int], Event]] = {
    QUIZ_COMPLETED: _completed,
    ACTION_COMPLETED: _action_completed,
    ACTION_VOIDED: _voided,
    ACTION_REJUDGED: _rejudged,
    SCORE_ADJUSTED: _adjusted,
    PLAYER_BLOCKED: _player_changed,
    PLAYER_UNBLOCKED: _player_changed,
    COUNTRY_CHANGED: _player_changed,
    PROFILE_CHANGED: _player_changed,
    PLAYER_ERASED: _player_changed,
}
_ACTION_EVENTS = frozenset({QUIZ_COMPLETED, ACTION_COMPLETED, ACTION_VOIDED, ACTION_REJUDGED})


def _milliseconds(timestamp: Timestamp) -> int:
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000


def event_id_of(data: bytes) -> str:
    """Return the id of any event; empty if the message cannot be parsed."""
    try:
        return EventHeader.FromString(data).event_id[:MAX_ID]
    except DecodeError:
        return ""
