"""Calls to other services: a channel, one function for unary calls, one for streams.

Owns deadlines (every unary call has one), retries (only of methods that the contract declares idempotent, only on
UNAVAILABLE, with a budget), the circuit breaker of each upstream, and the cancelling of abandoned streams. Must never
let an `AioRpcError` out: callers see ServiceError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar, cast

import grpc
import orjson

from services.runtime.config.settings import TlsConfig
from services.runtime.errors import FAULTS, STATUS_KEY, Reason, ServiceError, from_rpc_error
from services.runtime.grpc.breaker import Breaker
from services.runtime.grpc.call_context import REQUEST_ID_KEY, request_id, time_left
from services.runtime.grpc.methods import methods
from services.runtime.grpc.tls import ReloadingChannel
from services.runtime.process.activity import IN_BACKGROUND
from services.runtime.telemetry import tracing

DEFAULT_TIMEOUT_SECONDS = 5.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# A call with a shorter timeout that is late tells nothing about the upstream.
MIN_COUNTED_SECONDS = 0.5
Request = TypeVar("Request")
Response = TypeVar("Response")


@asynccontextmanager
async def open_channel(
    address: str, tls: TlsConfig | None = None, *, upstream: str = ""
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `host:port`, or to `dns:///name:port` for every address of a name. It connects with the first call.

    With `tls` on, both ends present certificates, and the server's must match the address. Raises OSError and ValueError
    for unusable certificates.

    Calls go to the addresses in turn. `upstream` is the noun of the service's package, as `quiz` in `topten.quiz.v1`:
    its idempotent unary methods are attempted up to four times on UNAVAILABLE, within the call's deadline, unless the
    server forbids it, and its unary calls pass a circuit breaker (`topten_breaker_state`). Without it there are no
    retries and no breaker. Readers of streams reopen them themselves.
    """
    options = _options(upstream)
    channel: Any  # the stand-ins have only what stubs need
    if tls is not None and tls.is_on:
        channel = ReloadingChannel(address, tls, options)
    else:
        channel = grpc.aio.insecure_channel(address, options=options)
    try:
        yield cast("grpc.aio.Channel", _GuardedChannel(channel, upstream)) if upstream else channel
    finally:
        await channel.close()


def call_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata of a call: bearer token, and traceparent and request id of the current call."""
    metadata: list[tuple[str, str]] = []
    if token:
        metadata.append(("authorization", f"Bearer {token}"))
    if traceparent := tracing.header():
        metadata.append((tracing.TRACEPARENT, traceparent))
    if call_id := request_id():
        metadata.append((REQUEST_ID_KEY, call_id))
    return tuple(metadata)


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    *,
    token: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,  # sent to the server as the call's deadline
) -> Response:
    """Call a unary method, an attribute of a stub, and return its response.

    `timeout` is in seconds; the deadline of the current call applies as well. Raises ServiceError: UNAVAILABLE, at once,
    if that deadline has passed or the circuit breaker is open.
    """
    remaining = time_left()
    if remaining is not None:
        if remaining <= 0:
            raise late()
        timeout = min(timeout, remaining)
    breaker: Breaker | None = getattr(method, "breaker", None)
    passing = breaker.passing() if breaker is not None and timeout >= MIN_COUNTED_SECONDS else nullcontext()
    with _calling(request):
        try:
            with passing:
                return await method(request, timeout=timeout, metadata=grpc.aio.Metadata(*call_metadata(token)))
        except grpc.aio.AioRpcError as error:
            tracing.annotate({"rpc.response.status_code": error.code().name}, failed=error.code() in FAULTS)
            raise _named(from_rpc_error(error), request) from error


def late() -> ServiceError:
    """The error of a call whose deadline has passed."""
    return ServiceError(Reason.UNAVAILABLE, "The call did not finish within its deadline.")


def _named(error: ServiceError, request: Any) -> ServiceError:
    """The error with the name of its call, which follows from the type of the request: `topten.<noun>.v1.<Method>Request`."""
    parts = request.DESCRIPTOR.full_name.removesuffix("Request").split(".")
    error.call = f"{parts[1]}.{parts[-1]}"
    return error


def _calling(request: Any) -> AbstractContextManager[None]:
    """The span of a call. Its method follows from the type of the request: `<Method>Request`."""
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
    in_background: bool = False,
) -> AsyncIterator[AsyncIterator[Response]]:
    """The responses of a streaming method, an attribute of a stub, for `async for`.

    Leaving the block cancels the call: gRPC does not cancel abandoned calls by itself. A call `in_background` is no work
    for the server (see `activity`). Raises ServiceError, also from the iteration.
    """
    metadata = call_metadata(token) + (IN_BACKGROUND if in_background else ())
    stream = method(request, timeout=timeout, metadata=grpc.aio.Metadata(*metadata))
    try:
        yield _translated(stream, request)
    finally:
        stream.cancel()


class _GuardedChannel:
    """A channel whose unary methods carry the upstream's breaker to `call`.

    Not a gRPC interceptor, since that costs every call a task of its own: 8 to 14 % of the CPU of a bare call.
    """

    def __init__(self, channel: grpc.aio.Channel, upstream: str) -> None:
        self._channel = channel
        self._breaker = Breaker(upstream, is_failure=_is_unreachable)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        method: Any = partial(self._channel.unary_unary(*arguments, **options))
        method.breaker = self._breaker
        return method


def _is_unreachable(error: Exception) -> bool:
    """Whether the upstream did not respond. Its own refusals, even UNAVAILABLE, prove that it is alive."""
    return (
        isinstance(error, grpc.aio.AioRpcError)
        and error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        and all(key != STATUS_KEY for key, _ in error.trailing_metadata() or ())
    )


async def _translated(stream: Any, request: Any) -> AsyncIterator[Any]:
    try:
        async for message in stream:
            yield message
    except grpc.aio.AioRpcError as error:
        raise _named(from_rpc_error(error), request) from error


def _options(upstream: str) -> list[tuple[str, Any]]:
    service = f"topten.{upstream}.v1.{upstream.capitalize()}Service"
    declared = methods(service) if upstream else {}
    names = [
        {"service": service, "method": name}
        for name, method in declared.items()
        if method.is_idempotent and method.is_unary
    ]
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
        # The retry budget (gRFC A6): 50 retries, then one for every ten successful calls, so that retries do not keep an
        # overloaded upstream down.
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
        # Reconnects to a restarted server within a second, not after two minutes of backoff.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # A name is resolved again when a server leaves: gRPC's default of once in 30 s would keep its replacement unknown.
        ("grpc.dns_min_time_between_resolutions_ms", 200),
        # A proxy of the environment is for external addresses.
        ("grpc.enable_http_proxy", 0),
    ]
