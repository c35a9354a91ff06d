"""A player's history: rows of the ledger as a Relay connection."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry
from topten.score.v1 import score_pb2

from edge.graphql.execution.context import Info
from edge.graphql.fields import field
from edge.graphql.resolvers.paging import PageInfo
from edge.graphql.resolvers.types import User, account
from edge.times import time_of


@strawberry.type(description="A row of the ledger: one change of a player's score.")
class ScoreChange:
    event_id: strawberry.ID
    user_id: strawberry.ID
    revision: int = strawberry.field(description="The position of the row in the player's chain, from 1.")
    kind: str = strawberry.field(
        description="`QUIZ_COMPLETED`, `ACTION_COMPLETED`, `ACTION_VOIDED`, `ACTION_REJUDGED`, `SCORE_ADJUSTED`, "
        "`PLAYER_BLOCKED`, `PLAYER_UNBLOCKED`, `COUNTRY_CHANGED`, `PROFILE_CHANGED` or `PLAYER_ERASED`; or `CHAIN_SEALED` or "
        "`CHAIN_CORRECTED`, by which a chain was repaired."
    )
    old_score: int
    new_score: int
    delta: int
    quiz_id: strawberry.ID | None
    action_type_id: strawberry.ID | None = strawberry.field(description="The type of an action that was not at a quiz.")
    action_id: strawberry.ID | None
    timestamp: datetime = strawberry.field(description="When the server accepted the action.")
    recorded_at: datetime = strawberry.field(description="When the ledger recorded it.")
    ip: str | None = strawberry.field(
        description="The address the action came from. For moderators, for a limited time."
    )
    user_agent: str | None = strawberry.field(
        description="The client that was used. For moderators, for a limited time."
    )
    actor: strawberry.ID | None = strawberry.field(
        description="The account that did it, if not the player. For moderators."
    )
    reason: str | None = strawberry.field(description="The reason, if it was not the player's own action.")

    @field(cost=10, description="The account of `actor`; null if it is a service, or no longer exists.")
    async def actor_user(self, info: Info) -> User | None:
        return await account(info, self.actor)

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
            action_type_id=strawberry.ID(change.action_type_id) if change.action_type_id else None,
            action_id=strawberry.ID(change.action_id) if change.action_id else None,
            timestamp=time_of(change.timestamp),
            recorded_at=time_of(change.recorded_at),
            ip=change.ip or None,
            user_agent=change.user_agent or None,
            actor=strawberry.ID(change.actor) if change.actor else None,
            reason=change.reason or None,
        )


@strawberry.type(description="A row of a page.")
class ScoreChangeEdge:
    cursor: str = strawberry.field(description="Pass it as `after` to continue behind this row.")
    node: ScoreChange


@strawberry.type(description="A page of a player's history, newest first.")
class ScoreHistory:
    edges: list[ScoreChangeEdge] = field(size=1)  # as many as the page has
    page_info: PageInfo
