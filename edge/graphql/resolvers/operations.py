"""Operations: the status of the system, and events that could not be counted."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry
from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as score

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.paging import ENTRIES, After, PageInfo, UpTo100, page_info
from edge.system_status import Section, read_sections
from edge.times import time_of
from services.diagnosis.checks import RUNBOOKS, Check
from services.runtime.clock import utc_now


@strawberry.enum(description="What a check is about.")
class CheckKind(Enum):
    PROCESSES = "PROCESSES"
    STORES = "STORES"
    PIPELINE = "PIPELINE"
    PLAYERS = "PLAYERS"


@strawberry.type(description="A fact about the system.")
class SystemCheck:
    kind: CheckKind
    subject: str = strawberry.field(description="What it is about, for people: `outbox`, `redis utilization`.")
    text: str = strawberry.field(description="The fact, for people.")
    is_wrong: bool = strawberry.field(description="True if somebody has to do something.")
    runbook: str | None = strawberry.field(
        description="What to do: an address where the operator has set one, else the file and section of the documentation. "
        "Null unless something is wrong."
    )

    @classmethod
    def of(cls, section: Section, check: Check, runbooks: str) -> Self:
        """Make one of a section's checks, with a link to where operators read runbooks."""
        link = check.runbook.replace(RUNBOOKS, f"{runbooks}#") if runbooks else check.runbook
        return cls(
            kind=CheckKind(section.name),
            subject=check.subject,
            text=check.text,
            is_wrong=bool(check.runbook),
            runbook=link or None,
        )


@strawberry.type(description="The system as one edge and one replica of each service see it.")
class SystemStatus:
    checked_at: datetime
    checks: list[SystemCheck] = field(size=30)


@strawberry.enum(description="The state of a dead letter: not counted, or counted by a replay.")
class DeadLetterState(Enum):
    DEAD = score_pb2.DEAD_LETTER_STATE_DEAD
    REPLAYED = score_pb2.DEAD_LETTER_STATE_REPLAYED


@strawberry.type(description="An event that could not be counted and is kept.")
class DeadLetter:
    letter_id: strawberry.ID = strawberry.field(
        description="The event's ID, or its stream and sequence if it has none."
    )
    reason: str = strawberry.field(description="Why it could not be counted, for people.")
    subject: str = strawberry.field(description="The subject of the event.")
    timestamp: datetime = strawberry.field(description="When it was set aside.")
    state: DeadLetterState

    @classmethod
    def from_proto(cls, letter: score_pb2.DeadLetter) -> Self:
        return cls(
            letter_id=strawberry.ID(letter.letter_id),
            reason=letter.reason,
            subject=letter.subject,
            timestamp=time_of(letter.timestamp),
            state=DeadLetterState(letter.state),
        )


@strawberry.type(description="A dead letter of a page.")
class DeadLetterEdge:
    cursor: str = strawberry.field(description="Pass it as `after` to continue behind this dead letter.")
    node: DeadLetter


@strawberry.type(description="A page of dead letters, newest first.")
class DeadLetterConnection:
    edges: list[DeadLetterEdge] = field(size=1)  # as many as the page has
    page_info: PageInfo


@strawberry.type(description="What became of one replay.")
class ReplayOutcome:
    letter_id: strawberry.ID
    counted: bool = strawberry.field(description="True if the event is counted, by this replay or an earlier one.")
    reason: str | None = strawberry.field(description="Why it is still not counted; null if it is.")


@strawberry.type
class OperationsQuery:
    @field(
        access=rpc("status.GetStatus"),
        cost=200,
        description="Whether processes, stores and the way of events are well, by the checks of `topten doctor`. For admins.",
    )
    async def system_status(self, info: Info) -> SystemStatus | None:
        context = info.context
        sections = await read_sections(context.upstreams, context.caller.token(), context.system_rates)
        checks = [SystemCheck.of(section, check, context.runbooks) for section in sections for check in section.checks]
        return SystemStatus(checked_at=utc_now(), checks=checks)

    @field(
        access=rpc("score.ListDeadLetters"),
        cost=30,
        size=ENTRIES,
        description="Events that could not be counted, newest first. For moderators and admins.",
    )
    async def dead_letters(
        self,
        info: Info,
        first: UpTo100 = 20,
        after: After = None,
        state: Annotated[DeadLetterState | None, strawberry.argument(description="Only those in this state.")] = None,
    ) -> DeadLetterConnection | None:
        context = info.context
        request = score.ListDeadLettersRequest(
            page_size=first,
            page_token=after or "",
            state=score_pb2.DEAD_LETTER_STATE_UNSPECIFIED if state is None else state.value,
        )
        page = await context.call(context.upstreams.score.ListDeadLetters, request)
        return DeadLetterConnection(
            edges=[
                DeadLetterEdge(cursor=cursor, node=DeadLetter.from_proto(letter))
                for cursor, letter in zip(page.cursors, page.letters, strict=True)
            ],
            page_info=page_info(page.cursors, page.next_page_token, after),
        )


@strawberry.type
class OperationsMutation:
    @field(
        access=rpc("score.ReplayDeadLetters"),
        cost=200,
        rate="write",
        size=100,
        description="Counts the events of 1 to 100 distinct dead letters as if they had just arrived; each counts at most "
        "once. For admins.",
    )
    async def replay_dead_letters(self, info: Info, letter_ids: list[strawberry.ID]) -> list[ReplayOutcome] | None:
        context = info.context
        request = score.ReplayDeadLettersRequest(letter_ids=letter_ids)
        response = await context.call(context.upstreams.score.ReplayDeadLetters, request)
        return [
            ReplayOutcome(
                letter_id=strawberry.ID(outcome.letter_id), counted=outcome.counted, reason=outcome.reason or None
            )
            for outcome in response.outcomes
        ]
