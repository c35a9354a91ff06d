"""Verification and rebuild of what is derived from the ledger, both done by the score service."""

from __future__ import annotations

from collections.abc import Callable

from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as messages

from services.cli.audit.attempts import audit_attempts
from services.cli.audit.events import EventAudit, ShowProgress, audit_events
from services.cli.audit.rooms import RoomsAudit, audit_rooms
from services.cli.audit.waiting import cause_of_waiting
from services.cli.system.client import Endpoints
from services.cli.system.operator_client import score_service
from services.runtime.grpc.client import open_stream


async def verify(
    endpoints: Endpoints,
    show_progress: ShowProgress,
    on_finding: Callable[[str], None],
    on_seal: Callable[[str], None],
    *,
    patience: float,
    uncounted_after: float,
    repair: bool,
) -> tuple[messages.VerifySummary, EventAudit, RoomsAudit]:
    """Compare totals, chains, boards and events with the ledger, and rooms; a line for each difference and each seal.

    Overdue attempts are a finding about events: their submissions should be among them.
    """
    summary = messages.VerifySummary()
    request = messages.VerifyScoresRequest(repair=repair)
    async with (
        score_service(endpoints) as (stub, token),
        open_stream(stub.VerifyScores, request, token=token) as steps,
    ):
        async for step in steps:
            if step.HasField("progress"):
                show_progress(step.progress)
            elif step.HasField("seal"):
                on_seal(_seal_line(step.seal))
            elif step.HasField("finding"):
                on_finding(f"{step.finding.kind} {step.finding.subject}: {step.finding.detail}")
            else:
                summary = step.summary
    events = await audit_events(
        endpoints, show_progress, patience=patience, uncounted_after=uncounted_after, repair=repair
    )
    if events.waiting:
        cause = await cause_of_waiting(endpoints)
        events.findings.append(
            f"{len(events.waiting)} accepted events wait uncounted for more than {uncounted_after:g} s: {cause.text}. "
            f"See {cause.runbook}"
        )
    events.findings += await audit_attempts(endpoints, uncounted_after)
    for line in events.findings:
        on_finding(line)
    return summary, events, await audit_rooms(endpoints, show_progress, on_finding)


async def rebuild(endpoints: Endpoints, show_progress: ShowProgress) -> messages.RebuildSummary:
    """Rebuild every board from the ledger."""
    summary = messages.RebuildSummary()
    async with (
        score_service(endpoints) as (stub, token),
        open_stream(stub.RebuildBoards, messages.RebuildBoardsRequest(), token=token) as steps,
    ):
        async for step in steps:
            if step.HasField("progress"):
                show_progress(step.progress)
            else:
                summary = step.summary
    return summary


def _seal_line(seal: score_pb2.Seal) -> str:
    first, last = seal.first_revision, seal.last_revision
    revisions = f"revision {first}" if first == last else f"revisions {first} to {last}"
    at = seal.sealed_at.ToDatetime().isoformat(timespec="seconds")
    return f"seal {seal.user_id}: {revisions} of {seal.delta:+} points missing, sealed by {seal.actor} at {at}Z"
