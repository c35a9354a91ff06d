"""The gRPC server of every service.

Owns the port, health, reflection, the limits of a connection, and the check that every method has a chain and declares
its access. Only health (`grpc.health.v1`) is served without a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, cast

import grpc
import protovalidate
import structlog
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from topten.status.v1.status_service_pb2_grpc import add_StatusServiceServicer_to_server

from services.runtime.admission import Admission
from services.runtime.auth.access import EVERYBODY
from services.runtime.auth.verification import TokenVerifier
from services.runtime.config.settings import TlsConfig
from services.runtime.grpc.call_context import caller
from services.runtime.grpc.chain import Chain, Gate, Handler
from services.runtime.grpc.client import MAX_MESSAGE_BYTES
from services.runtime.grpc.health import HealthServicer
from services.runtime.grpc.methods import methods
from services.runtime.grpc.requests import malformed
from services.runtime.grpc.status import StatusServicer
from services.runtime.grpc.tls import server_credentials

__all__ = ["MAX_MESSAGE_BYTES", "GrpcServer", "Registration", "caller"]

Registration = Callable[[Any], None]

# Our own clients ping every 15 s (grpc_client). More frequent pings than this end the connection.
MIN_PING_INTERVAL = timedelta(seconds=10)
# The time that cancelled handlers have for their `finally`.
CANCELLED_SECONDS = 1.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_log = structlog.get_logger("grpc")


class GrpcServer:
    """Serves `registrations` on `address` (port 0 takes a free one: see `port` after the start).

    A registration is `partial(add_XServicer_to_server, servicer)`. Who may call a method is declared in its contract.
    Raises ValueError if a method declares no access or has no handler, and protovalidate's CompilationError if the rules
    of a request do not compile. With `tls` on, nobody connects without a certificate.
    """

    def __init__(
        self,
        address: str,
        registrations: Sequence[Registration],
        *,
        verifier: TokenVerifier,
        tls: TlsConfig | None = None,
        reflection: bool = False,
        grace: timedelta = timedelta(seconds=8),
        max_connection_age: timedelta | None = None,
        max_unary: timedelta = timedelta(seconds=30),
        max_calls: int = 256,
    ) -> None:
        self.port = 0
        self._address = address
        self._tls = tls
        self._grace = grace.total_seconds()
        self._gate = Gate(
            verifier, protovalidate.Validator(), max_unary.total_seconds(), set(), Admission("grpc", limit=max_calls)
        )
        self._server = grpc.aio.server(options=_options(max_connection_age, self._grace))
        status = partial(add_StatusServiceServicer_to_server, StatusServicer())
        self._services = self._register([*registrations, status])
        self._health = HealthServicer(self._services)
        if reflection:
            self._register_reflection()
        self._register_health()

    async def start(self) -> None:
        """Listen. Health says NOT_SERVING until `announce`.

        Raises OSError for an unusable address or certificate, ValueError if only some certificate files are configured.
        """
        await self._set_health(NOT_SERVING)
        try:
            if self._tls is not None and self._tls.is_on:
                self.port = self._server.add_secure_port(self._address, server_credentials(self._tls))
            else:
                self.port = self._server.add_insecure_port(self._address)
        except RuntimeError:
            raise OSError(
                f"gRPC can't listen on {self._address}. It is in use, or not an address of this host."
            ) from None
        await self._server.start()
        _log.info("grpc listening", address=self._address, port=self.port)

    async def announce(self) -> None:
        """Set health to SERVING, for the empty name and for each service."""
        await self._set_health(SERVING)

    async def withdraw(self) -> None:
        """Set health to NOT_SERVING permanently."""
        await self._health.enter_graceful_shutdown()

    async def stop(self) -> None:
        """Refuse new calls, let running ones finish within the grace, then cancel them.

        When it returns, no handler is running, so that the stores can be closed.
        """
        try:
            await self._server.stop(self._grace)
        except asyncio.CancelledError:
            await self._server.stop(None)  # the process has less time left than this server's grace
            raise
        finally:
            if self._gate.running:
                await asyncio.wait(self._gate.running, timeout=CANCELLED_SECONDS)

    async def _set_health(self, status: Any) -> None:
        for service in ("", *self._services):
            await self._health.set(service, status)

    def _register(self, registrations: Iterable[Registration]) -> list[str]:
        services: list[str] = []
        for register in registrations:
            for service, handlers in _recorded(register).items():
                declared = methods(service)
                self._serve(service, handlers, {name: method.access for name, method in declared.items()})
                self._warm_up(service)
                services.append(service)
        return services

    def _register_reflection(self) -> None:
        names = [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME]
        servicer = reflection.aio.ReflectionServicer(names)
        recorded = _recorded(partial(reflection_pb2_grpc.add_ServerReflectionServicer_to_server, servicer))
        for service, handlers in recorded.items():
            self._serve(service, handlers, dict.fromkeys(handlers, EVERYBODY))

    def _register_health(self) -> None:
        """Serve health without a chain, and so without a token."""
        recorded = _recorded(partial(health_pb2_grpc.add_HealthServicer_to_server, self._health))
        for service, handlers in recorded.items():
            tolerant = {name: _parsing(handler) for name, handler in handlers.items()}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, tolerant),))

    def _serve(self, service: str, handlers: Mapping[str, Handler], access: Mapping[str, frozenset[str]]) -> None:
        chained = {
            name: Chain(f"/{service}/{name}", access[name], self._gate).wrap(handler)
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, chained),))

    def _warm_up(self, service: str) -> None:
        """Compile the rules of every request, so that a faulty rule fails the start and not a call."""
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            self._gate.validator.collect_violations(message_factory.GetMessageClass(method.input_type)())


def _parsing(handler: Handler) -> Handler:
    """Return a handler of one request that refuses bytes that do not parse, as a chain does."""
    behaviour: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary
    make = grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
    parse: Any = handler.request_deserializer

    async def handle(data: bytes, context: Any) -> Any:
        try:
            request = parse(data)
        except DecodeError:
            refusal = malformed()
            await context.abort(refusal.code, refusal.message)
        return await behaviour(request, context)

    return make(handle, None, handler.response_serializer)


class _Recorder:
    """Takes the place of a server in generated code and keeps the handlers that it registers."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Ignored: newer generated code registers each handler twice."""


class _Lookup(NamedTuple):
    """The call details with which a generic handler is asked for the handler of one method."""

    method: str
    invocation_metadata: tuple[()] = ()


def _recorded(register: Registration) -> dict[str, dict[str, Handler]]:
    """The handlers of a registration, by service and method."""
    recorder = _Recorder()
    register(recorder)
    services: dict[str, dict[str, Handler]] = {}
    for generic in recorder.handlers:
        service = cast("grpc.ServiceRpcHandler", generic).service_name()
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            path = f"/{service}/{method.name}"
            handler = generic.service(cast("grpc.HandlerCallDetails", _Lookup(path)))
            if handler is None:
                raise ValueError(f"{path} has no handler")
            services.setdefault(service, {})[method.name] = handler
    return services


def _options(max_connection_age: timedelta | None, grace_seconds: float) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        # With SO_REUSEPORT a second process could listen on the same port and take half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", 32 * 1024),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", int(MIN_PING_INTERVAL.total_seconds() * 1000)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", int(MIN_PING_INTERVAL.total_seconds() * 1000)),
        ("grpc.http2.max_ping_strikes", 3),
    ]
    if max_connection_age is not None:
        options += [
            ("grpc.max_connection_age_ms", int(max_connection_age.total_seconds() * 1000)),
            ("grpc.max_connection_age_grace_ms", int(grace_seconds * 1000)),
        ]
    return options
