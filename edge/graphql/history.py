"""A player's history: the ledger's rows as a Relay connection."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry
from topten.score.v1 import score_pb2

from edge.graphql.paging import PageInfo
from edge.times import time_of


@strawberry.type(description="One row of the ledger: something that changed a player's score.")
class ScoreChange:
    event_id: strawberry.ID
    user_id: strawberry.ID
    revision: int = strawberry.field(description="The row's place in the player's chain, from 1.")
    kind: str = strawberry.field(
        description="`QUIZ_COMPLETED`, `ACTION_VOIDED`, `SCORE_ADJUSTED`, `PLAYER_BLOCKED`, `PLAYER_UNBLOCKED`, "
        "`COUNTRY_CHANGED` or `PLAYER_ERASED`."
    )
    old_score: int
    new_score: int
    delta: int
    quiz_id: strawberry.ID | None
    action_id: strawberry.ID | None
    timestamp: datetime = strawberry.field(description="The server's time of the action.")
    recorded_at: datetime = strawberry.field(description="When the ledger recorded it.")
    ip: str | None = strawberry.field(description="Where the action came from; for moderators, for a limited time.")
    user_agent: str | None = strawberry.field(description="The client that was used; as `ip`.")
    actor: strawberry.ID | None = strawberry.field(description="Who did it if not the player; for moderators.")
    reason: str | None = strawberry.field(description="Why, where it was not the player's own doing.")

    @classmethod
    def from_proto(cls, change: score_pb2.ScoreChange) -> Self:
        return cls(
            event_id=strawberry.ID(change.event_id),
            user_id=strawberry.ID(change.user_id),
            revision=change.revision,
            kind=change.kind,
            old_score=change.old_score,
            new_score=change.new_score,
            delta=change.delta,
            quiz_id=strawberry.ID(change.quiz_id) if change.quiz_id else None,
            action_id=strawberry.ID(change.action_id) if change.action_id else None,
            timestamp=time_of(change.timestamp),
            recorded_at=time_of(change.recorded_at),
            ip=change.ip or None,
            user_agent=change.user_agent or None,
            actor=strawberry.ID(change.actor) if change.actor else None,
            reason=change.reason or None,
        )


@strawberry.type(description="One row of a page.")
class ScoreChangeEdge:
    cursor: str = strawberry.field(description="Pass it as `after` for what follows.")
    node: ScoreChange


@strawberry.type(description="A page of a player's history, the newest row first.")
class ScoreHistory:
    edges: list[ScoreChangeEdge]
    page_info: PageInfo
