"""What a moderator does to a player's record: a voided action, an adjusted score. Pure.

An amendment is a link in the same chain as the attempts it is about, so that the index which keeps two attempts from
having one place keeps an amendment from overlooking an attempt. It leads to one event, as a submission does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from topten.quiz.v1 import quiz_events_pb2

from services.quiz.scoring import Tally

ACTION_VOIDED: Final = "ACTION_VOIDED"
SCORE_ADJUSTED: Final = "SCORE_ADJUSTED"


@dataclass(frozen=True, slots=True)
class Amendment:
    """A recorded amendment. `action_id` is the voided action's, or the adjustment's own; `counts_at` decides the period.

    `quiz_id` and `voids` (the event of the voided action) are empty for an adjustment, `country` for a void.
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

    @property
    def key(self) -> str:
        """What is unique among a player's actions: no action of his own has such an id."""
        return key_of(self.kind, self.action_id)

    def event(self) -> bytes:
        """The fact that the amendment states."""
        at = Timestamp()
        at.FromDatetime(self.counts_at)
        if self.kind == ACTION_VOIDED:
            return quiz_events_pb2.ActionVoidedEvent(
                event_id=self.event_id,
                event_type=self.kind,
                payload=quiz_events_pb2.ActionVoidedPayload(
                    user_id=self.user_id,
                    quiz_id=self.quiz_id,
                    score_delta=self.delta,
                    timestamp=at,
                    action_id=self.action_id,
                    attempt=self.tally.place,
                    quiz_total=self.tally.counted,
                    voided_event_id=self.voids,
                    actor=self.actor,
                    reason=self.reason,
                ),
            ).SerializeToString()
        return quiz_events_pb2.ScoreAdjustedEvent(
            event_id=self.event_id,
            event_type=self.kind,
            payload=quiz_events_pb2.ScoreAdjustedPayload(
                user_id=self.user_id,
                score_delta=self.delta,
                timestamp=at,
                action_id=self.action_id,
                actor=self.actor,
                reason=self.reason,
                country=self.country,
            ),
        ).SerializeToString()


def key_of(kind: str, action_id: str) -> str:
    """The key of an amendment of this kind to, or under, this action."""
    return f"{kind}:{action_id}"
