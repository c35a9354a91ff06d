"""Calls of several players that arrive in one: each verified, decided and answered for itself.

Must never let a refusal, a deadline or a trace of one call affect another.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import protovalidate
import structlog
from topten.action.v1 import action_service_pb2
from topten.quiz.v1 import quiz_service_pb2
from topten.room.v1 import room_service_pb2

from services.runtime.auth.claims import Claims
from services.runtime.auth.verification import TokenVerifier
from services.runtime.errors import FAULTS, Reason, ServiceError
from services.runtime.grpc.call_context import request_id_of
from services.runtime.grpc.chain import refusal_of
from services.runtime.telemetry import tracing

# The messages of a relayed call differ in its request alone.
M = TypeVar(
    "M",
    quiz_service_pb2.RelayedAction,
    action_service_pb2.RelayedAction,
    room_service_pb2.RelayedJoin,
    room_service_pb2.RelayedRoomAnswer,
)
A = TypeVar("A")
T = TypeVar("T")
R = TypeVar("R")
Settle: TypeAlias = Callable[[Sequence[A]], Awaitable[Sequence[T | Exception]]]
"""Carries out what was read of each call, and returns the outcome of each, in order."""


class RelayedKind(NamedTuple, Generic[M, A, T, R]):
    """How relayed calls of one kind are read, and what is returned for them.

    `method` is that of the single call, for which the player needs one of the roles in `access`. `read` checks the bounds of
    a request and returns its content, with the time at which it is abandoned; it raises ServiceError.
    """

    method: str
    access: frozenset[str]
    read: Callable[[M, Claims, protovalidate.Validator, float], A]
    recorded: Callable[[T], R]
    refused: Callable[[ServiceError], R]


class Relay:
    """Carries out relayed calls."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier
        self._validator = protovalidate.Validator()

    async def submit(self, relayed: Sequence[M], kind: RelayedKind[M, A, T, R], settle: Settle[A, T]) -> list[R]:
        """Return the result of each call, in order. Raises nothing: an error is a result."""
        results: dict[int, R] = {}
        outcomes: dict[int, T | Exception] = {}
        admitted: dict[int, A] = {}
        causes: list[str] = []
        span = kind.method.lstrip("/")
        attributes = {"rpc.system.name": "grpc", "rpc.method": span}

        def report(index: int) -> None:
            results[index] = _result(relayed[index].request_id, outcomes[index], kind)

        # Left in reverse order: each call's result is reported within its own span.
        with ExitStack() as spans:
            for index, each in enumerate(relayed):
                spans.enter_context(tracing.request(span, each.traceparent, attributes))
                spans.callback(report, index)
                try:
                    admitted[index] = await self._admitted(each, kind)
                except Exception as error:  # noqa: BLE001  # the outcome of this call
                    outcomes[index] = error
                else:
                    causes.append(tracing.cause())
            with tracing.joined(
                "actions", "internal", list(filter(None, causes)), {"topten.batch.size": len(admitted)}
            ):
                settled = await settle(list(admitted.values()))
            outcomes |= zip(admitted, settled, strict=True)
        return [results[index] for index in range(len(relayed))]

    async def _admitted(self, relayed: M, kind: RelayedKind[M, A, T, R]) -> A:
        """Return the request of a relayed call, after the checks that a single call makes. Raises ServiceError."""
        claims = await self._verifier.verify(relayed.access_token)
        if not claims.may(kind.access):
            raise ServiceError(Reason.PERMISSION_DENIED, "You are not allowed to do this.")
        abandoned_at = float("inf")
        if relayed.HasField("time_left"):
            abandoned_at = time.monotonic() + relayed.time_left.seconds + relayed.time_left.nanos / 1e9
        return kind.read(relayed, claims, self._validator, abandoned_at)


def _result(request_id: str, outcome: T | Exception, kind: RelayedKind[M, A, T, R]) -> R:
    """Return the result of a call; an error is written to its span and the log."""
    if not isinstance(outcome, Exception):
        return kind.recorded(outcome)
    request_id = request_id_of(request_id)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        refusal = refusal_of(outcome, kind.method, request_id)
    tracing.annotate({"rpc.response.status_code": refusal.code.name}, failed=refusal.code in FAULTS)
    return kind.refused(refusal)
