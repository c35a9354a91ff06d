"""A server of gRPC from its start to its stop: health, grace, reflection, old connections, what it refuses to begin with."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any, cast

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from topten.leaderboard.v1 import leaderboard_service_pb2_grpc as rpc

from services.runtime.auth.jwks import StaticKeys
from services.runtime.auth.verification import TokenVerifier
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call_metadata
from services.runtime.grpc.health import MAX_WATCHES
from services.runtime.grpc.server import GrpcServer
from tests.deadline import deadline_seconds
from tests.unit.runtime.grpc.grpc_boards import SERVICE, Client, serving
from tests.unit.runtime.issuer import Issuer


async def test_health_needs_no_token_and_follows_the_process(issuer: Issuer) -> None:
    async with serving(issuer) as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        for service in ("", SERVICE):
            request = health_pb2.HealthCheckRequest(service=service)
            assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        await client.server.withdraw()
        for service in ("", SERVICE):
            request = health_pb2.HealthCheckRequest(service=service)
            assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_running_calls_are_cancelled_at_the_end_of_the_grace(issuer: Issuer) -> None:
    async with serving(issuer, grace=timedelta(seconds=0.2)) as client:
        running = asyncio.create_task(client.get("hangs", timeout=60))
        await client.servicer.entered.wait()
        await client.server.stop()
        assert client.servicer.cancelled.is_set()
        with pytest.raises(ServiceError) as caught:
            await running
        assert caught.value.reason is Reason.UNAVAILABLE


async def test_an_interrupted_stop_cancels_running_calls(issuer: Issuer) -> None:
    async with serving(issuer, grace=timedelta(seconds=3600)) as client:
        running = asyncio.create_task(client.get("hangs", timeout=60))
        await client.servicer.entered.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.server.stop(), 0.2)
        with pytest.raises(ServiceError):
            await running
        assert client.servicer.cancelled.is_set()


async def test_reflection_is_optional_and_needs_a_token(issuer: Issuer) -> None:
    async def names(client: Client, token: str) -> set[str]:
        stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        metadata = grpc.aio.Metadata(*call_metadata(token))
        replies = stub.ServerReflectionInfo(iter([request]), metadata=metadata)
        return {service.name async for reply in replies for service in reply.list_services_response.service}

    async with serving(issuer, reflection=True) as client:
        assert SERVICE in await names(client, client.token)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await names(client, "junk")
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    async with serving(issuer) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await names(client, client.token)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_old_connection_is_replaced_without_a_call_failing(issuer: Issuer) -> None:
    """Callers look up a name only when they connect: this is how a new instance behind it gets its share."""
    # Longer than a busy machine takes to connect: a connection that is old before it carries a call fails that call.
    async with serving(issuer, upstream="leaderboard", max_connection_age=timedelta(seconds=1)) as client:
        while len(client.servicer.peers) < 3:
            await client.get("caller", timeout=deadline_seconds())


async def test_a_taken_port_fails_the_start(issuer: Issuer) -> None:
    async with serving(issuer) as client:
        second = GrpcServer(
            f"127.0.0.1:{client.server.port}",
            [],
            verifier=TokenVerifier(StaticKeys(), "topten", "topten"),
        )
        with pytest.raises(OSError, match="can't listen"):
            await second.start()


async def test_a_method_without_declared_access_fails_the_start() -> None:
    contract = descriptor_pb2.FileDescriptorProto(
        name="undeclared.proto", package="undeclared", dependency=["google/protobuf/empty.proto"]
    )
    method = contract.service.add(name="Undeclared").method.add(name="Get")
    method.input_type = method.output_type = empty_pb2.Empty.DESCRIPTOR.full_name
    descriptor_pool.Default().Add(contract)

    async def get(request: empty_pb2.Empty, context: Any) -> empty_pb2.Empty:
        return request

    def register(server: Any) -> None:
        handlers: dict[str, Any] = {"Get": grpc.unary_unary_rpc_method_handler(get)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("undeclared.Undeclared", handlers),))

    with pytest.raises(ValueError, match=r"/undeclared\.Undeclared/Get does not declare both access"):
        GrpcServer("127.0.0.1:0", [register], verifier=TokenVerifier(StaticKeys(), "topten", "topten"))


async def test_a_method_that_is_not_implemented_fails_the_start() -> None:
    half = cast("Any", rpc.LeaderboardServiceServicer)()
    with pytest.raises(TypeError, match="GetLeaderboard is not implemented"):
        GrpcServer(
            "127.0.0.1:0",
            [partial(rpc.add_LeaderboardServiceServicer_to_server, half)],
            verifier=TokenVerifier(StaticKeys(), "topten", "topten"),
        )


async def test_streams_of_health_take_nothing_for_invented_names_and_are_limited(issuer: Issuer) -> None:
    async with serving(issuer) as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        for number in range(MAX_WATCHES + 1):
            invented = health.Watch(health_pb2.HealthCheckRequest(service=f"invented-{number}"))
            assert [each.status async for each in invented] == [health_pb2.HealthCheckResponse.SERVICE_UNKNOWN]
        streams = []
        for number in range(MAX_WATCHES):
            stream = health.Watch(health_pb2.HealthCheckRequest(service=("", SERVICE)[number % 2]))
            assert (await stream.read()).status == health_pb2.HealthCheckResponse.SERVING
            streams.append(stream)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Watch(health_pb2.HealthCheckRequest()).read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for stream in streams:
            stream.cancel()


async def test_calls_beyond_the_admission_limit_are_refused_and_not_retried(issuer: Issuer) -> None:
    async with serving(issuer, upstream="leaderboard", max_calls=1) as opened:
        hanging = asyncio.create_task(opened.get("hangs"))
        await opened.servicer.entered.wait()
        attempts = opened.servicer.attempts
        refusal = await opened.error("all")
        assert refusal.reason is Reason.UNAVAILABLE
        assert refusal.retry_after == timedelta(seconds=1)
        assert opened.servicer.attempts == attempts
        health = health_pb2_grpc.HealthStub(opened.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        hanging.cancel()
        await opened.servicer.cancelled.wait()
