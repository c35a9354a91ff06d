"""Ask the quiz service for attempts that nobody handed in although their time is up, and for those it cannot judge."""

from __future__ import annotations

from topten.attempt.v1 import attempt_service_pb2 as messages

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import attempt_service
from services.diagnosis.checks import ATTEMPTS_OVERDUE, ATTEMPTS_UNJUDGEABLE
from services.runtime.grpc.client import call


async def audit_attempts(endpoints: Endpoints, overdue_after: float) -> list[str]:
    """Return a line for attempts if one has been overdue for more than these seconds, and one for those that cannot be judged.

    Raises ServiceError.
    """
    async with attempt_service(endpoints) as (stub, token):
        audited = await call(stub.AuditAttempts, messages.AuditAttemptsRequest(), token=token)
    findings = []
    if audited.oldest_seconds > overdue_after:
        text = f"attempts not handed in although their time is up: {audited.overdue}, the oldest for"
        findings.append(f"{text} {audited.oldest_seconds:.0f} s. See {ATTEMPTS_OVERDUE}")
    if audited.unjudgeable:
        text = f"open attempts that show a version of their quiz that is not kept: {audited.unjudgeable}"
        findings.append(f"{text}. See {ATTEMPTS_UNJUDGEABLE}")
    return findings
