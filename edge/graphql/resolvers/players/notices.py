"""Notices to the caller of changes that others made to their score."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Self

import strawberry
from topten.quiz.v1.quiz_service_pb2 import GetQuizRequest
from topten.score.v1 import score_pb2
from topten.score.v1.score_service_pb2 import ListNoticesRequest, MarkNoticesSeenRequest

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.times import time_of
from services.runtime.errors import Reason, ServiceError

TYPICAL_NOTICES: Final = 2


@strawberry.type(description="A change of the caller's score that is not their own doing.")
class Notice:
    revision: int = strawberry.field(description="Its position in the caller's history.")
    kind: str = strawberry.field(
        description="`ACTION_REJUDGED`, `ACTION_VOIDED` or `SCORE_ADJUSTED`. Others may follow."
    )
    quiz_id: strawberry.ID | None
    action_type_id: strawberry.ID | None = strawberry.field(
        description="The type of a voided action that was not at a quiz."
    )
    points_before: int = strawberry.field(
        description="The caller's points at the quiz; without a quiz, their all-time score."
    )
    points_after: int
    reason: str | None
    recorded_at: datetime = strawberry.field(description="When the ledger recorded it.")

    @field(cost=30, description="The title of the quiz; null without one, and if it no longer exists.")
    async def quiz_title(self, info: Info) -> str | None:
        if self.quiz_id is None:
            return None
        context = info.context
        try:
            # In the player's name it would count as a delivery of the questions, from which their time is measured.
            response = await context.call_as_edge(context.upstreams.quiz.GetQuiz, GetQuizRequest(quiz_id=self.quiz_id))
        except ServiceError as error:
            if error.reason is Reason.QUIZ_NOT_FOUND:
                return None
            raise
        return response.quiz.title

    @classmethod
    def from_proto(cls, notice: score_pb2.Notice) -> Self:
        return cls(
            revision=notice.revision,
            kind=notice.kind,
            quiz_id=strawberry.ID(notice.quiz_id) if notice.quiz_id else None,
            action_type_id=strawberry.ID(notice.action_type_id) if notice.action_type_id else None,
            points_before=notice.points_before,
            points_after=notice.points_after,
            reason=notice.reason or None,
            recorded_at=time_of(notice.recorded_at),
        )


@strawberry.type(description="The notices that the caller has not seen.")
class Notices:
    notices: list[Notice] = field(
        size=TYPICAL_NOTICES, description="Newest first, at most 20. Older ones are in `scoreHistory` alone."
    )
    through: int = strawberry.field(description="For `markNoticesSeen`, once these are seen.")


@strawberry.type
class NoticeQuery:
    @field(
        access=rpc("score.ListNotices"),
        cost=30,
        description="The changes of the caller's score that others made and that the caller has not seen, on any device: "
        "actions judged again or voided, and adjustments. Changes of one kind, quiz and reason that follow one another are "
        "one notice.",
    )
    async def notices(self, info: Info) -> Notices | None:
        context = info.context
        response = await context.call(context.upstreams.score.ListNotices, ListNoticesRequest())
        return Notices(notices=[Notice.from_proto(each) for each in response.notices], through=response.through)


@strawberry.type
class NoticeMutation:
    @field(
        access=rpc("score.MarkNoticesSeen"),
        cost=200,
        rate="write",
        description="Records that the caller has seen notices, on every device, and returns up to which revision. It never "
        "goes back.",
    )
    async def mark_notices_seen(
        self,
        info: Info,
        through: Annotated[int, strawberry.argument(description="`through` of `notices`.")],
    ) -> int | None:
        context = info.context
        request = MarkNoticesSeenRequest(through=through)
        return (await context.call(context.upstreams.score.MarkNoticesSeen, request)).through
