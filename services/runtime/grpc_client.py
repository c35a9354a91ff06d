"""Calling another service: a channel, one way to make a call, one way to read a stream.

Owns deadlines (every unary call has one), retries (only of methods that are named as idempotent, only on UNAVAILABLE,
with a budget), the breaker of each upstream, and that an abandoned stream is cancelled. Must never let an `AioRpcError`
out: callers see ServiceError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeVar, cast

import grpc
import orjson

from services.runtime import tracing
from services.runtime.breaker import Breaker
from services.runtime.call_context import REQUEST_ID_KEY, request_id, time_left
from services.runtime.errors import FAULTS, STATUS_KEY, Reason, ServiceError, from_rpc_error
from services.runtime.settings import TlsConfig
from services.runtime.tls import ReloadingChannel

DEFAULT_TIMEOUT_SECONDS = 5.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# A call that was given less and is late says more of its caller than of the upstream.
LEAST_TELLING_SECONDS = 0.5
Request = TypeVar("Request")
Response = TypeVar("Response")


@asynccontextmanager
async def open_channel(
    address: str, tls: TlsConfig | None = None, *, upstream: str = "", idempotent: Iterable[str] = ()
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `host:port`, or `dns:///name:port` for every address behind a name; it connects when first used.

    With `tls` on, the other end must prove the address's name, and this one proves itself. Raises OSError and ValueError
    for certificates that can't be used.

    Calls go to the addresses in turn. `idempotent` names methods (`/package.Service/Method`) that are tried again on
    UNAVAILABLE, four times in all, within their deadline, unless the answer says that there is no use. `upstream` names
    the breaker that unary calls pass (`topten_breaker_state`); without a name there is none. Streams pass none: who
    reads one opens it again, with pauses of his own.
    """
    options = _options(idempotent)
    channel: Any  # a stand-in has what stubs need of one
    if tls is not None and tls.is_on:
        channel = ReloadingChannel(address, tls, options)
    else:
        channel = grpc.aio.insecure_channel(address, options=options)
    try:
        yield cast("grpc.aio.Channel", _GuardedChannel(channel, upstream)) if upstream else channel
    finally:
        await channel.close()


def call_metadata(token: str | None = None, call_id: str | None = None) -> tuple[tuple[str, str], ...]:
    """The metadata of an onward call: the bearer token, and the request id (by default of the call being handled)."""
    metadata: list[tuple[str, str]] = []
    if token:
        metadata.append(("authorization", f"Bearer {token}"))
    if traceparent := tracing.header():
        metadata.append((tracing.TRACEPARENT, traceparent))
    if call_id := call_id or request_id():
        metadata.append((REQUEST_ID_KEY, call_id))
    return tuple(metadata)


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    *,
    token: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,  # sent to the server as the call's deadline
) -> Response:
    """The answer of a unary method; `method` is an attribute of a stub.

    `timeout` is in seconds; the deadline of the call being handled holds as well. Raises ServiceError: UNAVAILABLE, at
    once, where that deadline has passed or the upstream is known not to answer.
    """
    left = time_left()
    if left is not None:
        if left <= 0:
            raise ServiceError(Reason.UNAVAILABLE, "the call took too long")
        timeout = min(timeout, left)
    breaker: Breaker | None = getattr(method, "breaker", None)
    passing = breaker.passing() if breaker is not None and timeout >= LEAST_TELLING_SECONDS else nullcontext()
    with _calling(request):
        try:
            with passing:
                return await method(request, timeout=timeout, metadata=grpc.aio.Metadata(*call_metadata(token)))
        except grpc.aio.AioRpcError as error:
            tracing.annotate({"rpc.response.status_code": error.code().name}, failed=error.code() in FAULTS)
            raise from_rpc_error(error) from error


def _calling(request: Any) -> AbstractContextManager[None]:
    """The span of a call; the method is the one whose request this is, by the names of our contracts."""
    if not tracing.is_on():
        return nullcontext()
    package, _, method = request.DESCRIPTOR.full_name.removesuffix("Request").rpartition(".")
    return tracing.step(method, "client", {"rpc.system.name": "grpc", "rpc.method": f"{package}/{method}"})


@asynccontextmanager
async def open_stream(
    method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
    request: Request,
    *,
    token: str | None = None,
    timeout: float | None = None,  # sent to the server as the call's deadline
) -> AsyncIterator[AsyncIterator[Response]]:
    """The answers of a streaming method, for `async for`; `method` is an attribute of a stub.

    The call is cancelled when the block is left, however that comes: gRPC collects no abandoned call by itself. Raises
    ServiceError, from the block and from its iteration.
    """
    stream = method(request, timeout=timeout, metadata=grpc.aio.Metadata(*call_metadata(token)))
    try:
        yield _translated(stream)
    finally:
        stream.cancel()


class _GuardedChannel:
    """A channel, the unary methods of whose stubs carry the upstream's breaker."""

    def __init__(self, channel: grpc.aio.Channel, upstream: str) -> None:
        self._channel = channel
        self._breaker = Breaker(upstream, is_failure=_is_away)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_unary(self, *arguments: Any, **options: Any) -> _GuardedMethod:
        return _GuardedMethod(self._channel.unary_unary(*arguments, **options), self._breaker)


class _GuardedMethod:
    """A unary method and the breaker that `call` takes it through."""

    def __init__(self, method: Any, breaker: Breaker) -> None:
        self._method = method
        self.breaker = breaker

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._method(*arguments, **options)


def _is_away(error: Exception) -> bool:
    """Whether nobody answered. A refusal in the upstream's own words, UNAVAILABLE too, shows that it is there."""
    return (
        isinstance(error, grpc.aio.AioRpcError)
        and error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        and all(key != STATUS_KEY for key, _ in error.trailing_metadata() or ())
    )


async def _translated(stream: Any) -> AsyncIterator[Any]:
    try:
        async for message in stream:
            yield message
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


def _options(idempotent: Iterable[str]) -> list[tuple[str, Any]]:
    names = [dict(zip(("service", "method"), path.strip("/").split("/", 1), strict=True)) for path in idempotent]
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if names:
        config["methodConfig"] = [
            {
                "name": names,
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
        # The budget: fifty retries, then one for every ten calls that succeed (gRFC A6), so that an upstream that is
        # down is not knocked over again.
        config["retryThrottling"] = {"maxTokens": 100, "tokenRatio": 0.1}
    return [
        ("grpc.service_config", orjson.dumps(config).decode()),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 15_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A server that comes back is found within a second, not after two minutes of backoff.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # A proxy of the environment is for the outside world, never for a neighbour.
        ("grpc.enable_http_proxy", 0),
    ]
