"""Sends actions that different players submit at the same time to quiz in one call, joins and answers of rooms too.

A group is what arrives in one turn of the event loop, or while calls are under way; a single action is sent at once, by a call
of its own. Each action keeps its player's token, deadline, trace and request id, and has its own response or error. Must
never delay an action to fill a group, unless the group before had many.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, cast

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from prometheus_client import Histogram
from topten.action.v1.action_service_pb2 import SubmitActionsRequest
from topten.quiz.v1.quiz_service_pb2 import SubmitActionRequest
from topten.room.v1.room_service_pb2 import AnswerRoomQuestionRequest, JoinRoomRequest

from services.runtime.batcher import Batcher
from services.runtime.errors import ServiceError
from services.runtime.grpc.call_context import request_id, time_left
from services.runtime.grpc.client import DEFAULT_TIMEOUT_SECONDS, late
from services.runtime.telemetry import tracing

MAX_SIZE: Final = 200
# A full group stays below the 4 MiB of a message; a larger action has a call of its own.
MAX_ACTION_BYTES: Final = 16 * 1024
# Calls that follow one another are larger, and cheaper for each action; a slow one must not hold up the other actions. After
# one with many, the next waits a little for the players who have just had their response.
MAX_CALLS: Final = 2
PATIENCE_SECONDS: Final = 0.25
MANY: Final = 16
LINGER: Final = 3.0  # times as long as the call took: the players' own programs take longer than quiz
# How long groups are not tried after one could not be sent.
PAUSE_SECONDS: Final = 5.0
# The quiz process has an earlier version, or the edge's own token is invalid or lacks the scope `action:relay`.
_NOT_ACCEPTED: Final = frozenset(
    {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}
)
_sizes = Histogram(
    "topten_action_group_size",
    "Actions that one call to quiz submitted",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, MAX_SIZE),
)
_log = structlog.get_logger("action_groups")
# The request of a call that submits one action.
S = TypeVar("S", bound=SubmitActionRequest | SubmitActionsRequest | JoinRoomRequest | AnswerRoomQuestionRequest)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Relay(NamedTuple, Generic[S]):
    """A submission with the metadata that a call of its own would have."""

    request: S
    token: str
    traceparent: str
    request_id: str
    time_left: Duration
    held: Duration
    """How long this process has had it."""


class Kind(Protocol[S, R_co]):
    """How actions of one kind are submitted. `submit_one` and `submit_group` raise ServiceError."""

    def waits(self, request: S) -> bool:
        """Return whether a call that submits an action takes long, so that it would hold up others of a group."""

    async def submit_one(self, request: S, token: str) -> R_co:
        """Submit an action by a call of its own, in the name of the player of `token`."""

    async def submit_group(self, group: Sequence[Relay[S]], token: str, timeout: float) -> Sequence[R_co | Exception]:
        """Submit actions by one call, with the edge's own token and within `timeout` seconds; return their outcomes."""


class _NotSentError(Exception):
    """A group was not submitted, because of `cause`."""

    def __init__(self, cause: ServiceError) -> None:
        super().__init__(cause)
        self.cause = cause


class _Waiting(NamedTuple, Generic[S]):
    """An action and what its request says; `since` and `deadline` are times of `time.monotonic`."""

    request: S
    token: str
    traceparent: str
    request_id: str
    since: float
    deadline: float
    context: Context

    def relay(self, now: float) -> Relay[S]:
        left, held = _duration(self.deadline - now), _duration(now - self.since)
        return Relay(self.request, self.token, self.traceparent, self.request_id, left, held)


class ActionGroups(Generic[S, R]):
    """Submits actions of a kind; `own_token` returns the token of this process. Use from one event loop."""

    def __init__(self, kind: Kind[S, R], own_token: Callable[[], Awaitable[str]]) -> None:
        self._kind = kind
        self._own_token = own_token
        self._one_by_one_until = float("-inf")
        self._batcher: Batcher[_Waiting[S], R] = Batcher(
            "submit actions",
            self._submit,
            max_size=MAX_SIZE,
            max_concurrent=MAX_CALLS,
            patience=PATIENCE_SECONDS,
            many=MANY,
            linger=LINGER,
        )

    async def submit(self, request: S, token: str) -> R:
        """Submit an action in the name of the player of `token`. Raises ServiceError, as a call of its own would."""
        if self._kind.waits(request) or request.ByteSize() + len(token) > MAX_ACTION_BYTES:
            return await self._kind.submit_one(request, token)
        left = time_left()
        seconds = DEFAULT_TIMEOUT_SECONDS if left is None else min(left, DEFAULT_TIMEOUT_SECONDS)
        now = time.monotonic()
        waiting = _Waiting(request, token, tracing.header(), request_id(), now, now + seconds, copy_context())
        try:
            return await self._batcher(waiting, timeout=seconds)
        except TimeoutError:
            raise late() from None

    async def _submit(self, group: Sequence[_Waiting[S]]) -> Sequence[R | Exception]:
        if len(group) > 1 and time.monotonic() >= self._one_by_one_until:
            try:
                return await self._submit_group(group)
            except _NotSentError as error:
                self._one_by_one_until = time.monotonic() + PAUSE_SECONDS
                _log.warning("actions are submitted one by one", reason=error.cause.reason, detail=error.cause.message)
        return await self._submit_each(group)

    async def _submit_group(self, group: Sequence[_Waiting[S]]) -> Sequence[R | Exception]:
        """Submit a group by one call. Raises _NotSentError if quiz has certainly not read it."""
        try:
            token = await self._own_token()
        except ServiceError as error:
            raise _NotSentError(error) from error
        now = time.monotonic()
        timeout = max(each.deadline for each in group) - now
        try:
            outcomes = await self._kind.submit_group([each.relay(now) for each in group], token, timeout)
        except ServiceError as error:
            if isinstance(error.__cause__, grpc.aio.AioRpcError) and error.__cause__.code() in _NOT_ACCEPTED:
                raise _NotSentError(error) from error
            raise
        _sizes.observe(len(group))
        return outcomes

    async def _submit_each(self, group: Sequence[_Waiting[S]]) -> Sequence[R | Exception]:
        """Submit each by a call of its own, in the context of its request."""
        loop = asyncio.get_running_loop()
        tasks = []
        for each in group:
            _sizes.observe(1)
            tasks.append(loop.create_task(self._kind.submit_one(each.request, each.token), context=each.context))
        return cast("Sequence[R | Exception]", await asyncio.gather(*tasks, return_exceptions=True))


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(max(0.0, seconds) * 1e9))
    return duration
