"""A gRPC server that serves as every process of the project does.

Owns the port, health, reflection, limits of a connection, and the check that every method has a chain and a stated
access. Nothing is served without a token but health (`grpc.health.v1`).
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
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from services.runtime.access import EVERYBODY, is_known
from services.runtime.admission import Admission
from services.runtime.auth import TokenVerifier
from services.runtime.call_context import caller
from services.runtime.grpc_client import MAX_MESSAGE_BYTES
from services.runtime.rpc_chain import Chain, Gate
from services.runtime.settings import TlsConfig
from services.runtime.tls import server_credentials

__all__ = ["MAX_MESSAGE_BYTES", "GrpcServer", "Registration", "caller"]

Registration = Callable[[Any], None]

# The project's clients ping every 15 s (grpc_client); who does so more often than this is sent away.
MIN_PING_INTERVAL = timedelta(seconds=10)
# A handler that was cancelled has this long for its `finally`.
CANCELLED_SECONDS = 1.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_log = structlog.get_logger("grpc")


class GrpcServer:
    """Serves `registrations` on `address` (port 0 takes a free one: see `port` after the start).

    A registration is `partial(add_XServicer_to_server, servicer)`. `access` names for every method the roles and scopes of
    which a caller must have one (see `access.py`); a method that is not listed, a listed one that does not exist, and a
    role or scope that nobody can have raise ValueError here. With `tls` on, nobody connects without a certificate.
    So does a request whose rules don't compile (protovalidate's CompilationError).
    """

    def __init__(
        self,
        address: str,
        registrations: Sequence[Registration],
        *,
        verifier: TokenVerifier,
        access: Mapping[str, frozenset[str]],
        tls: TlsConfig | None = None,
        reflection: bool = False,
        grace: timedelta = timedelta(seconds=8),
        max_connection_age: timedelta | None = None,
        max_unary: timedelta = timedelta(seconds=30),
        max_calls: int = 256,
    ) -> None:
        self.port = 0
        self._address = address
        self._access = access
        self._tls = tls
        self._grace = grace.total_seconds()
        self._gate = Gate(
            verifier, protovalidate.Validator(), max_unary.total_seconds(), set(), Admission("grpc", most=max_calls)
        )
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=_options(max_connection_age, self._grace))
        self._services = self._register(registrations)
        if reflection:
            self._register_reflection()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self) -> None:
        """Listens; health says NOT_SERVING until `announce`.

        Raises OSError if the address or a certificate can't be had, ValueError for certificates that are not all named.
        """
        await self._set_health(NOT_SERVING)
        try:
            if self._tls is not None and self._tls.is_on:
                self.port = self._server.add_secure_port(self._address, server_credentials(self._tls))
            else:
                self.port = self._server.add_insecure_port(self._address)
        except RuntimeError:
            raise OSError(f"gRPC can't listen on {self._address}: taken, or no address of this machine") from None
        await self._server.start()
        _log.info("listening", address=self._address, port=self.port)

    async def announce(self) -> None:
        """Health says SERVING, under the empty name and under each service's."""
        await self._set_health(SERVING)

    async def withdraw(self) -> None:
        """Health says NOT_SERVING from now on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self) -> None:
        """Refuses new calls and lets running ones end within the grace; what runs after it is cancelled.

        When it returns no handler runs any more, so that the stores may be closed.
        """
        try:
            await self._server.stop(self._grace)
        except asyncio.CancelledError:
            await self._server.stop(None)  # the process has less time than this server was given
            raise
        finally:
            if self._gate.running:
                await asyncio.wait(self._gate.running, timeout=CANCELLED_SECONDS)

    async def _set_health(self, status: Any) -> None:
        for service in ("", *self._services):
            await self._health.set(service, status)

    def _register(self, registrations: Iterable[Registration]) -> list[str]:
        unmet = set(self._access)
        services: list[str] = []
        for register in registrations:
            for service, methods in _recorded(register).items():
                unstated = [method.path for method in methods if method.path not in self._access]
                if unstated:
                    raise ValueError(f"no access is stated for {', '.join(unstated)}")
                self._serve(service, {method: self._access[method.path] for method in methods})
                self._warm_up(service)
                unmet -= {method.path for method in methods}
                services.append(service)
        if unknown := {name for names in self._access.values() for name in names if not is_known(name)}:
            raise ValueError(f"access names what nobody can have: {', '.join(sorted(unknown))}")
        if unmet:
            raise ValueError(f"access is stated for methods that don't exist: {', '.join(sorted(unmet))}")
        return services

    def _register_reflection(self) -> None:
        names = [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME]
        servicer = reflection.aio.ReflectionServicer(names)
        recorded = _recorded(partial(reflection_pb2_grpc.add_ServerReflectionServicer_to_server, servicer))
        for service, methods in recorded.items():
            self._serve(service, dict.fromkeys(methods, EVERYBODY))

    def _serve(self, service: str, methods: Mapping[_Method, frozenset[str]]) -> None:
        handlers = {
            method.name: Chain(method.path, access, self._gate).wrap(method.handler)
            for method, access in methods.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    def _warm_up(self, service: str) -> None:
        """Compiles the rules of every request now, so that a faulty one fails the start and not a call."""
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            self._gate.validator.collect_violations(message_factory.GetMessageClass(method.input_type)())


class _Method(NamedTuple):
    name: str
    path: str
    handler: grpc.RpcMethodHandler[Any, Any]


class _Recorder:
    """Stands where generated code expects a server, and keeps what it registers."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Newer generated code registers each method a second time; the first is enough."""


class _Lookup(NamedTuple):
    """Asks a generic handler for its handler of one method."""

    method: str
    invocation_metadata: tuple[()] = ()


def _recorded(register: Registration) -> dict[str, list[_Method]]:
    recorder = _Recorder()
    register(recorder)
    services: dict[str, list[_Method]] = {}
    for generic in recorder.handlers:
        service = cast("grpc.ServiceRpcHandler", generic).service_name()
        methods = services.setdefault(service, [])
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            path = f"/{service}/{method.name}"
            handler = generic.service(cast("grpc.HandlerCallDetails", _Lookup(path)))
            if handler is None:
                raise ValueError(f"{path} has no handler")
            methods.append(_Method(method.name, path, handler))
    return services


def _options(max_connection_age: timedelta | None, grace_seconds: float) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        # Without this a second process could listen on the same port and take half of the calls.
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
