"""The event of a ledger row, as far as the row tells: for a record that was lost after its event was counted. Pure."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from topten.action.v1 import action_events_pb2
from topten.identity.v1 import identity_events_pb2
from topten.quiz.v1 import quiz_events_pb2

from services.runtime.int32 import int32
from services.score.ledger.events import Change, metadata_of
from services.score.ledger.rows import Row
from services.streams import ACTION_COMPLETED, ACTION_REJUDGED, ACTION_VOIDED, QUIZ_COMPLETED, SCORE_ADJUSTED

_NO_CHANGE = Change("", "")


def event_of_row(row: Row) -> bytes:
    """Return the event. Of an action it has the effect alone; the points, answers and questions are unknown."""
    at = Timestamp()
    at.FromMilliseconds(row.at)
    change = row.change or _NO_CHANGE
    if row.kind == QUIZ_COMPLETED:
        completed = quiz_events_pb2.QuizCompletedEvent(event_id=row.event_id, event_type=row.kind)
        payload = completed.payload
        payload.user_id, payload.quiz_id, payload.action_id = row.user_id, row.quiz_id, row.action_id
        payload.timestamp.CopyFrom(at)
        payload.country = row.country
        payload.tags.extend(row.tags)
        payload.score_delta, payload.exact_score_delta = int32(row.delta), row.delta
        payload.quiz_total, payload.exact_quiz_total = int32(row.quiz.points), row.quiz.points
        return completed.SerializeToString()
    if row.kind == ACTION_COMPLETED:
        return action_events_pb2.ActionCompletedEvent(
            event_id=row.event_id,
            event_type=row.kind,
            payload=action_events_pb2.ActionCompletedPayload(
                user_id=row.user_id,
                action_type_id=change.action_type_id,
                score_delta=int32(row.delta),
                timestamp=at,
                action_id=row.action_id,
                country=row.country,
                actor=change.actor,
                metadata=metadata_of(change.metadata),
                tags=row.tags,
                shows_metadata=change.shows_metadata,
            ),
        ).SerializeToString()
    if row.kind == ACTION_VOIDED:
        voided = quiz_events_pb2.ActionVoidedEvent(event_id=row.event_id, event_type=row.kind)
        void = voided.payload
        void.user_id, void.quiz_id, void.action_id = row.user_id, row.quiz_id, row.action_id
        void.action_type_id = change.action_type_id
        void.tags.extend(row.tags)
        void.timestamp.CopyFrom(at)
        void.voided_event_id, void.actor, void.reason = change.voids, change.actor, change.reason
        void.score_delta, void.exact_score_delta = int32(row.delta), row.delta
        return voided.SerializeToString()
    if row.kind == ACTION_REJUDGED:
        rejudged = quiz_events_pb2.ActionRejudgedEvent(event_id=row.event_id, event_type=row.kind)
        judgement = rejudged.payload
        judgement.user_id, judgement.quiz_id, judgement.action_id = row.user_id, row.quiz_id, row.action_id
        judgement.timestamp.CopyFrom(at)
        judgement.rejudged_event_id, judgement.actor, judgement.reason = change.voids, change.actor, change.reason
        judgement.tags.extend(row.tags)
        judgement.score_delta, judgement.exact_score_delta = int32(row.delta), row.delta
        return rejudged.SerializeToString()
    if row.kind == SCORE_ADJUSTED:
        return quiz_events_pb2.ScoreAdjustedEvent(
            event_id=row.event_id,
            event_type=row.kind,
            payload=quiz_events_pb2.ScoreAdjustedPayload(
                user_id=row.user_id,
                score_delta=row.delta,
                timestamp=at,
                action_id=row.action_id,
                actor=change.actor,
                reason=change.reason,
                country=row.country,
            ),
        ).SerializeToString()
    return identity_events_pb2.PlayerChangedEvent(
        event_id=row.event_id,
        event_type=row.kind,
        payload=identity_events_pb2.PlayerChangedPayload(
            user_id=row.user_id,
            timestamp=at,
            version=change.version,
            blocked=change.blocked,
            country=row.country,
            actor=change.actor,
            reason=change.reason,
        ),
    ).SerializeToString()
