"""What stands between the wire and a handler: one chain, wrapped around each method once, when the server is built.

Order: request id, metrics and log → errors → token → access → bounds of the request → handler. Owns what a failed call
may show. Must never swallow a cancellation: a handler that a client has left must end.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

import grpc
import protovalidate
import structlog
from google.protobuf.message import Message

from services.runtime import tracing
from services.runtime.admission import Admission, OverloadError
from services.runtime.auth import TokenVerifier, bearer_token
from services.runtime.call_context import REQUEST_ID_KEY, begin_call, set_caller
from services.runtime.errors import FAULTS, STATUS_KEY, Reason, ServiceError, to_rpc_status
from services.runtime.rpc_metrics import MethodMetrics

# Generic in the published types alone, hence the quotes.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# Of the time that a caller gives, what is kept for telling him that it was not enough.
ANSWER_SECONDS = 0.25
# Tells a gRPC client not to try again by itself (gRFC A6).
PUSHBACK_KEY = "grpc-retry-pushback-ms"
RETRY_AFTER = timedelta(seconds=1)
MAX_VIOLATIONS = 20
_LEVELS = {
    Reason.INTERNAL: logging.ERROR,
    Reason.UNAVAILABLE: logging.WARNING,
    # Failed attempts.
    Reason.UNAUTHENTICATED: logging.WARNING,
    Reason.CREDENTIALS_INVALID: logging.WARNING,
    Reason.PERMISSION_DENIED: logging.WARNING,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_log = structlog.get_logger("grpc")


class Gate(NamedTuple):
    """What a server asks of every call: whose tokens it believes, its rules, a limit where there is no deadline.

    `running` holds the tasks of the calls that are being handled; `admission` bounds the unary ones.
    """

    verifier: TokenVerifier
    validator: protovalidate.Validator
    max_unary_seconds: float
    running: set[asyncio.Task[Any]]
    admission: Admission


class Chain:
    """The chain of one method; `access` are the roles and scopes of which a caller must have one."""

    def __init__(self, method: str, access: frozenset[str], gate: Gate) -> None:
        self._method = method
        self._access = access
        self._gate = gate

    def wrap(self, handler: Handler) -> Handler:
        """The handler behind the chain. Raises TypeError if it is not written with async or streams its request alone."""
        codec = (handler.request_deserializer, handler.response_serializer)
        if handler.response_streaming:
            kind = "bidi_stream" if handler.request_streaming else "server_stream"
            metrics = MethodMetrics(kind, self._method)
            if handler.request_streaming:
                return grpc.stream_stream_rpc_method_handler(self._streaming(handler.stream_stream, metrics), *codec)
            return grpc.unary_stream_rpc_method_handler(self._streaming(handler.unary_stream, metrics), *codec)
        if handler.request_streaming:
            raise TypeError(f"{self._method} streams its request and not its answer, which is not served here")
        return grpc.unary_unary_rpc_method_handler(
            self._traced(self._unary(handler.unary_unary, MethodMetrics("unary", self._method))), *codec
        )

    def _unary(self, behaviour: Any, metrics: MethodMetrics) -> Any:
        if not inspect.iscoroutinefunction(behaviour):
            raise TypeError(f"{self._method} is not implemented as an async method")
        limit = self._gate.max_unary_seconds

        async def handle(request: Any, context: Context) -> Any:
            begun = time.monotonic()
            code = grpc.StatusCode.UNKNOWN
            metrics.begin()
            task = self._enter()
            call = _open(context, limit)
            timer: asyncio.Timeout | None = None
            try:
                if call.seconds is not None and call.seconds <= 0:
                    raise _late()  # what is late before it begins is not begun
                with self._gate.admission.admitted():
                    async with asyncio.timeout(call.seconds) as timer:
                        answer = await behaviour(await self._admit(request, call.metadata), context)
                code = grpc.StatusCode.OK
            except BaseException as error:  # noqa: BLE001  # raised again by _refuse
                late = isinstance(error, TimeoutError) and timer is not None and timer.expired()
                shown = _late() if late else error
                code = _code_of(shown, context)
                await self._refuse(shown, call.request_id, context)
            else:
                return answer
            finally:
                self._gate.running.discard(task)
                metrics.end(code, time.monotonic() - begun)

        return handle

    def _traced(self, handle: Any) -> Any:
        """Within a span, if this process traces. Streams have none: they last for hours."""
        if not tracing.is_on():
            return handle
        attributes = {"rpc.system.name": "grpc", "rpc.method": self._method.lstrip("/")}

        async def traced(request: Any, context: Context) -> Any:
            metadata = dict(context.invocation_metadata() or ())
            with tracing.request(self._method.lstrip("/"), str(metadata.get(tracing.TRACEPARENT, "")), attributes):
                try:
                    return await handle(request, context)
                except grpc.aio.AbortError as error:
                    code = _code_of(error, context)
                    tracing.annotate({"rpc.response.status_code": code.name}, failed=code in FAULTS)
                    raise

        return traced

    def _streaming(self, behaviour: Any, metrics: MethodMetrics) -> Any:
        generator = inspect.isasyncgenfunction(behaviour)
        if not generator and not inspect.iscoroutinefunction(behaviour):
            raise TypeError(f"{self._method} is not implemented as an async method")

        async def handle(request: Any, context: Context) -> None:
            begun = time.monotonic()
            code = grpc.StatusCode.UNKNOWN
            metrics.begin()
            task = self._enter()
            call = _open(context, None)
            try:
                admitted = await self._admit(request, call.metadata)
                if generator:
                    # Closed here and now when the client leaves, not whenever the garbage collector comes by.
                    async with aclosing(behaviour(admitted, context)) as answers:
                        async for answer in answers:
                            await context.write(answer)
                else:
                    await behaviour(admitted, context)
                code = grpc.StatusCode.OK
            except BaseException as error:  # noqa: BLE001  # raised again by _refuse
                code = _code_of(error, context)
                await self._refuse(error, call.request_id, context)
            finally:
                self._gate.running.discard(task)
                metrics.end(code, time.monotonic() - begun)

        return handle

    def _enter(self) -> asyncio.Task[Any]:
        task = asyncio.current_task()
        assert task is not None
        self._gate.running.add(task)
        return task

    async def _admit(self, request: Any, metadata: dict[str, str]) -> Any:
        """The request, checked; of a streamed one each message is checked when it is read. Raises ServiceError."""
        claims = await self._gate.verifier.verify(bearer_token(metadata.get("authorization")))
        set_caller(claims)
        if not claims.may(self._access):
            raise ServiceError(Reason.PERMISSION_DENIED, "the caller may not do this")
        if isinstance(request, Message):
            self._check(request)
            return request
        return self._checked(request)

    async def _checked(self, requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
        async for request in requests:
            self._check(request)
            yield request

    def _check(self, request: Message) -> None:
        violations = self._gate.validator.collect_violations(request)
        if violations:
            found = [(_path(violation), violation.proto.message) for violation in violations[:MAX_VIOLATIONS]]
            named = "; ".join(f"{field}: {text}" if field else text for field, text in found[:3])
            raise ServiceError(Reason.INVALID_ARGUMENT, named, violations=found)

    async def _refuse(self, error: BaseException, request_id: str, context: Context) -> None:
        """Ends the call with the status of `error`; never returns."""
        if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, ServiceError):
            refusal = error
            _log.log(
                logging.DEBUG if isinstance(error, OverloadError) else _LEVELS.get(error.reason, logging.INFO),
                "refused",
                method=self._method,
                reason=error.reason,
                detail=error.message,
                exc_info=error.__cause__,
            )
        else:
            _log.error("failed", method=self._method, exc_info=error)
            refusal = ServiceError(Reason.INTERNAL, "a fault of the server's own", request_id=request_id)
        status = to_rpc_status(refusal)
        trailers = ((REQUEST_ID_KEY, request_id), (STATUS_KEY, status.SerializeToString()))
        # Who is told when to come back must not come back before.
        no_retry = ((PUSHBACK_KEY, "-1"),) if refusal.retry_after is not None else ()
        await context.abort(refusal.code, status.message, trailers + no_retry)


class _Call(NamedTuple):
    """A call as it came in; `seconds` is how long its answer may take, None for ever."""

    request_id: str
    seconds: float | None
    metadata: dict[str, str]


def _open(context: Context, limit: float | None) -> _Call:
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    remaining = context.time_remaining()
    seconds = limit if remaining is None else remaining - min(remaining / 10, ANSWER_SECONDS)
    request_id = begin_call(metadata.get(REQUEST_ID_KEY), timeout=seconds)
    context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
    return _Call(request_id, seconds, metadata)


def _late() -> ServiceError:
    return ServiceError(Reason.UNAVAILABLE, "the call took too long", retry_after=RETRY_AFTER)


def _code_of(error: BaseException, context: Context) -> grpc.StatusCode:
    if isinstance(error, ServiceError):
        return error.code
    if isinstance(error, asyncio.CancelledError):
        remaining = context.time_remaining()
        late = remaining is not None and remaining <= 0
        return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
    if isinstance(error, grpc.aio.AbortError):
        number: Any = context.code()
        return number if isinstance(number, grpc.StatusCode) else _CODES.get(number, grpc.StatusCode.UNKNOWN)
    return grpc.StatusCode.INTERNAL


def _path(violation: Any) -> str:
    """The field a violation is about, as BadRequest writes it: `answers[3].question_id`."""
    path = ""
    for element in violation.proto.field.elements:
        path += f".{element.field_name}" if path else element.field_name
        subscript = getattr(element, "subscript", None)
        if subscript is not None:
            value = getattr(subscript, "value", subscript)
            path += f"[{value}]"
    return path
