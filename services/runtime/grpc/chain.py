"""The chain between the wire and a handler, wrapped around each method once, when the server is built.

Order: request id, metrics, log → errors → deadline and admission → token → access → parsing and bounds of the request →
handler. Owns what a failed call may reveal. Must never swallow a cancellation: a handler whose client has gone must end.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, NamedTuple, TypeAlias

import grpc
import protovalidate
import structlog
from google.protobuf.message import Message

from services.runtime.admission import Admission, OverloadError
from services.runtime.auth.verification import TokenVerifier, bearer_token
from services.runtime.errors import FAULTS, STATUS_KEY, Reason, ServiceError, late, to_rpc_status
from services.runtime.grpc import requests
from services.runtime.grpc.call_context import REQUEST_ID_KEY, begin_call, set_caller
from services.runtime.grpc.metrics import MethodMetrics
from services.runtime.process.activity import BACKGROUND_KEY, PROCESS
from services.runtime.telemetry import tracing

# Generic only in the published types, hence the quotes.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# Taken from a call's deadline, at most a tenth of it, so that the client receives the refusal before it gives up.
RESPONSE_SECONDS = 0.25
# Tells a gRPC client not to retry by itself (gRFC A6).
PUSHBACK_KEY = "grpc-retry-pushback-ms"
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
    """What the chains of one server share.

    `max_unary_seconds` limits unary calls without a deadline, `admission` how many run at once, and `running` holds the
    tasks of all calls in progress.
    """

    verifier: TokenVerifier
    validator: protovalidate.Validator
    max_unary_seconds: float
    running: set[asyncio.Task[Any]]
    admission: Admission


class Chain:
    """The chain of one method. A caller needs one of the roles and scopes in `access`."""

    def __init__(self, method: str, access: frozenset[str], gate: Gate) -> None:
        self._method = method
        self._access = access
        self._gate = gate
        self._parse: Callable[[bytes], Any] = bytes

    def wrap(self, handler: Handler) -> Handler:
        """The handler behind the chain. Raises TypeError if it is not async, or streams only its request."""
        self._parse = handler.request_deserializer or self._parse
        # Requests arrive as bytes: what gRPC fails to parse by itself ends with UNKNOWN and a traceback, before any check.
        codec = (None, handler.response_serializer)
        if handler.response_streaming:
            if handler.request_streaming:
                stream = self._observed(self._streaming(handler.stream_stream), "bidi_stream")
                return grpc.stream_stream_rpc_method_handler(stream, *codec)
            stream = self._observed(self._streaming(handler.unary_stream), "server_stream")
            return grpc.unary_stream_rpc_method_handler(stream, *codec)
        if handler.request_streaming:
            raise TypeError(f"{self._method} streams its request but not its response, which is not supported")
        unary = self._observed(self._unary(handler.unary_unary), "unary", self._gate.max_unary_seconds)
        return grpc.unary_unary_rpc_method_handler(self._traced(unary), *codec)

    def _unary(self, behaviour: Any) -> Any:
        self._require_async(inspect.iscoroutinefunction(behaviour))

        async def serve(request: Any, context: Context, call: _Call) -> Any:
            if call.seconds is not None and call.seconds <= 0:
                raise late()
            with self._gate.admission.admitted():
                try:
                    async with asyncio.timeout(call.seconds) as timer:
                        return await behaviour(await self._admit(request, call.metadata), context)
                except TimeoutError:
                    if timer.expired():
                        raise late() from None
                    raise

        return serve

    def _streaming(self, behaviour: Any) -> Any:
        generator = inspect.isasyncgenfunction(behaviour)
        self._require_async(generator or inspect.iscoroutinefunction(behaviour))

        async def serve(request: Any, context: Context, call: _Call) -> None:
            admitted = await self._admit(request, call.metadata)
            if not generator:
                await behaviour(admitted, context)
                return
            # Closed as soon as the client leaves, not when the garbage collector runs.
            async with aclosing(behaviour(admitted, context)) as responses:
                async for response in responses:
                    await _write(context, response)

        return serve

    def _require_async(self, is_async: bool) -> None:  # its only argument
        if not is_async:
            raise TypeError(f"{self._method} is not implemented as an async method")

    def _observed(self, serve: Any, kind: str, limit: float | None = None) -> Any:
        """A handler that opens the context of a call, counts it, and turns errors into statuses."""
        metrics = MethodMetrics(kind, self._method)

        async def handle(request: Any, context: Context) -> Any:
            started = time.monotonic()
            code = grpc.StatusCode.UNKNOWN
            metrics.begin()
            task = asyncio.current_task()
            assert task is not None
            self._gate.running.add(task)
            call = _open(context, limit)
            try:
                response = await serve(request, context, call)
                code = grpc.StatusCode.OK
            except BaseException as error:  # noqa: BLE001  # raised again by _refuse
                code = _code_of(error, context)
                await self._refuse(error, call.request_id, context)
            else:
                return response
            finally:
                self._gate.running.discard(task)
                metrics.end(code, time.monotonic() - started)

        return handle

    def _traced(self, handle: Any) -> Any:
        """The handler within a span, if this process traces. Streams have no span: they last for hours."""
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

    async def _admit(self, request: Any, metadata: dict[str, str]) -> Any:
        """Check the token and access, then parse and check the request; a streamed one message by message."""
        claims = await self._gate.verifier.verify(bearer_token(metadata.get("authorization")))
        set_caller(claims)
        if BACKGROUND_KEY not in metadata:
            PROCESS.note()
        if not claims.may(self._access):
            raise ServiceError(Reason.PERMISSION_DENIED, "You are not allowed to do this.")
        return self._read(request) if isinstance(request, bytes) else self._read_all(request)

    async def _read_all(self, stream: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for data in stream:
            yield self._read(data)

    def _read(self, data: bytes) -> Message:
        return requests.read(self._parse, data, self._gate.validator)

    async def _refuse(self, error: BaseException, request_id: str, context: Context) -> None:
        """End the call with the status of `error`. Never returns."""
        if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
            raise error
        refusal = refusal_of(error, self._method, request_id)
        status = to_rpc_status(refusal)
        trailers = ((REQUEST_ID_KEY, request_id), (STATUS_KEY, status.SerializeToString()))
        # A client that is given a time to retry must not retry earlier.
        no_retry = ((PUSHBACK_KEY, "-1"),) if refusal.retry_after is not None else ()
        await context.abort(refusal.code, status.message, trailers + no_retry)


def refusal_of(error: Exception, method: str, request_id: str) -> ServiceError:
    """Log why a call failed and return what its caller may know."""
    if isinstance(error, ServiceError):
        _log.log(
            logging.DEBUG if isinstance(error, OverloadError) else _LEVELS.get(error.reason, logging.INFO),
            "call refused",
            method=method,
            reason=error.reason,
            detail=error.message,
            exc_info=error.__cause__,
        )
        return error
    _log.error("call failed", method=method, exc_info=error)
    return ServiceError(
        Reason.INTERNAL, "Internal error. Quote this request ID when you report it.", request_id=request_id
    )


class _Call(NamedTuple):
    """An incoming call. `seconds` limits its response time; None sets no limit."""

    request_id: str
    seconds: float | None
    metadata: dict[str, str]


def _open(context: Context, limit: float | None) -> _Call:
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    remaining = context.time_remaining()
    seconds = limit if remaining is None else remaining - min(remaining / 10, RESPONSE_SECONDS)
    request_id = begin_call(metadata.get(REQUEST_ID_KEY), timeout=seconds)
    context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
    return _Call(request_id, seconds, metadata)


async def _write(context: Context, response: Any) -> None:
    """Send a message of a stream. A client that has gone ends the call, as a cancellation would; it is no fault of ours."""
    try:
        await context.write(response)
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None


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
