"""The whole system with mutual TLS between its processes."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.system.client import GraphqlClient
from tests.certificates import Authority
from tests.deadline import deadline_seconds
from tests.players import endpoints, register, shows, stream, until
from tests.replicas import second_instance
from tests.servers import running_stack


@pytest.mark.slow
async def test_a_system_with_mutual_tls_works_and_refuses_strangers(tmp_path: Path) -> None:
    """Slow: it starts its own system, whose processes take two seconds each to stop gRPC with TLS."""
    authority = Authority("ours")
    ours = authority.issue(tmp_path / "ours")
    settings = {"CERT_FILE": ours.cert_file, "KEY_FILE": ours.key_file, "CA_FILE": ours.ca_file}
    with running_stack({f"TOPTEN_TLS_{name}": value for name, value in settings.items()}) as system:
        async with GraphqlClient(endpoints(system).graphql) as client:
            player = await register(client)
            async with stream(system.http, player.access_token) as events:
                await player.submit("arithmetic-sprint", [("q5", "true")])
                await until(events, shows(player.username, 1))
        for address in system.endpoints["grpc"].values():
            async with grpc.aio.insecure_channel(address) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await health_pb2_grpc.HealthStub(channel).Check(
                        health_pb2.HealthCheckRequest(), timeout=deadline_seconds()
                    )
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        # Certificates change while all run: a new edge connects with the new one to servers that reloaded theirs.
        Authority("another").issue(tmp_path / "ours")
        with second_instance(system, "edge") as edge:
            async with GraphqlClient(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}/graphql") as client:
                assert (await register(client)).user_id
