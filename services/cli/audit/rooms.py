"""Compare the records of rooms with one another, by the quiz service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from topten.room.v1 import room_service_pb2 as messages
from topten.score.v1 import score_pb2

from services.cli.audit.events import ShowProgress
from services.cli.system.client import Endpoints
from services.cli.system.operator_client import room_service
from services.runtime.grpc.client import open_stream


@dataclass(slots=True)
class RoomsAudit:
    """How many rooms and answers were compared, and how many differences were found."""

    rooms: int = 0
    answers: int = 0
    findings: int = 0


async def audit_rooms(
    endpoints: Endpoints, show_progress: ShowProgress, on_finding: Callable[[str], None]
) -> RoomsAudit:
    """Compare all rooms; a line for each difference. Raises ServiceError if quiz is unavailable."""
    result = RoomsAudit()
    async with (
        room_service(endpoints) as (stub, token),
        open_stream(stub.AuditRooms, messages.AuditRoomsRequest(), token=token) as steps,
    ):
        async for step in steps:
            result.rooms, result.answers = step.rooms, step.answers
            result.findings += len(step.findings)
            for finding in step.findings:
                on_finding(f"room {finding.room_id}: the seat {finding.seat_id} {finding.detail}")
            show_progress(score_pb2.Progress(stage="comparing rooms", done=step.rooms))
    return result
