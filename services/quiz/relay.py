"""Actions of several players that arrive in one call: each verified, decided and answered for itself.

Must never let a refusal, a deadline or a trace of one action affect another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Generic, NamedTuple, TypeVar

import protovalidate
import structlog
from topten.action.v1 import action_service_pb2
from topten.quiz.v1 import quiz_service_pb2

from services.quiz.action import Action, Outcome
from services.quiz.submission import Submission
from services.quiz.submission_service import SubmissionService
from services.runtime.auth.access import PLAYER
from services.runtime.auth.claims import Claims
from services.runtime.auth.verification import TokenVerifier
from services.runtime.errors import FAULTS, Reason, ServiceError
from services.runtime.grpc.call_context import request_id_of
from services.runtime.grpc.chain import refusal_of
from services.runtime.telemetry import tracing

# The messages of a relayed action differ in the action alone.
M = TypeVar("M", quiz_service_pb2.RelayedAction, action_service_pb2.RelayedAction)
R = TypeVar("R")


class RelayedKind(NamedTuple, Generic[M, R]):
    """How relayed actions of one kind are read, and what is returned for them.

    `method` is that of a call of its own. `read` checks the bounds of an action and returns it, with the time at which it is
    abandoned; it raises ServiceError.
    """

    method: str
    read: Callable[[M, Claims, protovalidate.Validator, float], Action]
    recorded: Callable[[Submission, bool], R]
    refused: Callable[[ServiceError], R]


class ActionRelay:
    """Submits relayed actions."""

    def __init__(self, submissions: SubmissionService, verifier: TokenVerifier) -> None:
        self._submissions = submissions
        self._verifier = verifier
        self._validator = protovalidate.Validator()

    async def submit(self, relayed: Sequence[M], kind: RelayedKind[M, R]) -> list[R]:
        """Return the result of each action, in order. Raises nothing: an error is a result."""
        results: dict[int, R] = {}
        outcomes: dict[int, Outcome] = {}
        admitted: dict[int, Action] = {}
        span = kind.method.lstrip("/")
        attributes = {"rpc.system.name": "grpc", "rpc.method": span}

        def report(index: int) -> None:
            results[index] = _result(relayed[index], outcomes[index], kind)

        # Left in reverse order: each action's result is reported within its own span.
        with ExitStack() as spans:
            for index, each in enumerate(relayed):
                spans.enter_context(tracing.request(span, each.traceparent, attributes))
                spans.callback(report, index)
                try:
                    admitted[index] = await self._admitted(each, kind)
                except Exception as error:  # noqa: BLE001  # the outcome of this action
                    outcomes[index] = error
            causes = [action.trace for action in admitted.values() if action.trace]
            with tracing.joined("actions", "internal", causes, {"topten.batch.size": len(admitted)}):
                settled = await self._submissions.submit_actions(list(admitted.values()))
            outcomes |= zip(admitted, settled, strict=True)
        return [results[index] for index in range(len(relayed))]

    async def _admitted(self, relayed: M, kind: RelayedKind[M, R]) -> Action:
        """Return an action after the checks that its own call would make. Raises ServiceError."""
        claims = await self._verifier.verify(relayed.access_token)
        if not claims.may(PLAYER):
            raise ServiceError(Reason.PERMISSION_DENIED, "You are not allowed to do this.")
        abandoned_at = float("inf")
        if relayed.HasField("time_left"):
            abandoned_at = time.monotonic() + relayed.time_left.seconds + relayed.time_left.nanos / 1e9
        return kind.read(relayed, claims, self._validator, abandoned_at)


def _result(relayed: M, outcome: Outcome, kind: RelayedKind[M, R]) -> R:
    """Return the result of an action; an error is written to its span and the log."""
    if not isinstance(outcome, Exception):
        return kind.recorded(*outcome)
    request_id = request_id_of(relayed.request_id)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        refusal = refusal_of(outcome, kind.method, request_id)
    tracing.annotate({"rpc.response.status_code": refusal.code.name}, failed=refusal.code in FAULTS)
    return kind.refused(refusal)
