"""A change to a player's record by somebody else: an action voided or judged again, a score adjusted. Pure.

An amendment is numbered in the same sequence as the attempts it is about, so the unique index that keeps two attempts from
sharing a number also keeps an amendment from overlooking an attempt. It has one event, as a submission has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from topten.quiz.v1 import quiz_events_pb2

from services.quiz.quizzes.scoring import Tally
from services.quiz.quizzes.terms import subject_of
from services.quiz.submissions.event_points import set_points
from services.streams import ACTION_REJUDGED, ACTION_VOIDED


@dataclass(frozen=True, slots=True)
class Amendment:
    """A recorded amendment. `action_id` is that of the voided action or of the adjustment, or `<version>:<action id>` of the
    action judged again; `counts_at` sets the period.

    `voids` (the event of the voided action, or of the one judged again) is empty for an adjustment, `country` for the others.
    A void names the quiz of the action, or else its type. `points` are those of the action by `quiz_version` of the quiz.
    `tags` are those of the action.
    """

    kind: str
    event_id: str
    user_id: str
    action_id: str
    quiz_id: str
    tally: Tally
    delta: int
    voids: str
    actor: str
    reason: str
    counts_at: datetime
    received_at: datetime
    country: str = ""
    action_type_id: str = ""
    points: int | None = None
    quiz_version: int = 0
    tags: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """What the amendment is about, by which the player's records are numbered."""
        return subject_of(self.quiz_id, self.action_type_id)

    @property
    def key(self) -> str:
        """The stored action id, unique among the player's records: no action of a player has this form."""
        return key_of(self.kind, self.action_id)

    def event(self) -> bytes:
        """Return the amendment's event."""
        at = Timestamp()
        at.FromDatetime(self.counts_at)
        if self.kind == ACTION_REJUDGED:
            return self._rejudged(at).SerializeToString()
        if self.kind == ACTION_VOIDED:
            return self._voided(at).SerializeToString()
        return self._adjusted(at).SerializeToString()

    def _rejudged(self, at: Timestamp) -> quiz_events_pb2.ActionRejudgedEvent:
        payload = quiz_events_pb2.ActionRejudgedPayload(
            user_id=self.user_id,
            quiz_id=self.quiz_id,
            timestamp=at,
            action_id=self.action_id,
            attempt=self.tally.sequence,
            rejudged_event_id=self.voids,
            actor=self.actor,
            reason=self.reason,
            points_awarded=self.points,
            quiz_version=self.quiz_version,
            tags=self.tags,
        )
        set_points(payload, self.delta, self.tally.counted)
        return quiz_events_pb2.ActionRejudgedEvent(event_id=self.event_id, event_type=self.kind, payload=payload)

    def _voided(self, at: Timestamp) -> quiz_events_pb2.ActionVoidedEvent:
        payload = quiz_events_pb2.ActionVoidedPayload(
            user_id=self.user_id,
            quiz_id=self.quiz_id,
            timestamp=at,
            action_id=self.action_id,
            attempt=self.tally.sequence,
            voided_event_id=self.voids,
            actor=self.actor,
            reason=self.reason,
            action_type_id=self.action_type_id,
            tags=self.tags,
        )
        set_points(payload, self.delta, self.tally.counted if self.quiz_id else 0)
        return quiz_events_pb2.ActionVoidedEvent(event_id=self.event_id, event_type=self.kind, payload=payload)

    def _adjusted(self, at: Timestamp) -> quiz_events_pb2.ScoreAdjustedEvent:
        payload = quiz_events_pb2.ScoreAdjustedPayload(
            user_id=self.user_id,
            score_delta=self.delta,
            timestamp=at,
            action_id=self.action_id,
            actor=self.actor,
            reason=self.reason,
            country=self.country,
        )
        return quiz_events_pb2.ScoreAdjustedEvent(event_id=self.event_id, event_type=self.kind, payload=payload)


def key_of(kind: str, action_id: str) -> str:
    """Return the key of an amendment of this kind with this action id."""
    return f"{kind}:{action_id}"
