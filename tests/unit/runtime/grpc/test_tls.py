"""Mutual TLS on gRPC: who is let in, and certificates that change under a running server and a running client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import grpc
import pytest
from topten.leaderboard.v1 import leaderboard_service_pb2 as pb
from topten.leaderboard.v1 import leaderboard_service_pb2_grpc as rpc

from services.runtime.auth.jwks import StaticKeys
from services.runtime.auth.verification import TokenVerifier
from services.runtime.config.settings import TlsConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call, open_channel
from services.runtime.grpc.server import GrpcServer
from services.runtime.grpc.tls import read_pems
from tests.certificates import Authority
from tests.deadline import deadline
from tests.servers import HOST, free_port
from tests.unit.runtime.grpc.grpc_boards import Boards
from tests.unit.runtime.issuer import Issuer


@pytest.fixture
def authority() -> Authority:
    return Authority("ours")


@asynccontextmanager
async def serving(issuer: Issuer, tls: TlsConfig, port: int = 0) -> AsyncIterator[str]:
    """A server with these certificates; its address."""
    server = GrpcServer(
        f"{HOST}:{port}",
        [partial(rpc.add_LeaderboardServiceServicer_to_server, Boards())],  # type: ignore[abstract]
        verifier=TokenVerifier(StaticKeys(issuer.key.public_key()), "topten", "topten"),
        tls=tls,
    )
    await server.start()
    try:
        yield f"{HOST}:{server.port}"
    finally:
        await server.stop()


async def answers(channel: grpc.aio.Channel, issuer: Issuer) -> str:
    """OK, or the reason for which a call fails."""
    stub = cast("rpc.LeaderboardServiceAsyncStub", rpc.LeaderboardServiceStub(channel))
    try:
        await call(stub.GetLeaderboard, pb.GetLeaderboardRequest(board="x"), token=issuer.token(), timeout=5)
    except ServiceError as error:
        assert error.reason is Reason.UNAVAILABLE
        return str(error.reason)
    return "OK"


async def test_mutual_tls_does_not_replace_the_access_token(
    issuer: Issuer, authority: Authority, tmp_path: Path
) -> None:
    async with serving(issuer, authority.issue(tmp_path / "server")) as address:
        async with open_channel(address, authority.issue(tmp_path / "client")) as channel:
            assert await answers(channel, issuer) == "OK"
            stub = cast("rpc.LeaderboardServiceAsyncStub", rpc.LeaderboardServiceStub(channel))
            with pytest.raises(ServiceError) as refused:
                await call(stub.GetLeaderboard, pb.GetLeaderboardRequest(board="x"))
            assert refused.value.reason is Reason.UNAUTHENTICATED


async def test_nobody_connects_without_a_certificate_of_the_authority(
    issuer: Issuer, authority: Authority, tmp_path: Path
) -> None:
    server, foreign = authority.issue(tmp_path / "server"), Authority("foreign").issue(tmp_path / "foreign")
    our_ca, foreign_pems = Path(server.ca_file).read_bytes(), read_pems(foreign)
    async with serving(issuer, server) as address:
        bare = grpc.ssl_channel_credentials(our_ca)
        forged = grpc.ssl_channel_credentials(our_ca, foreign_pems.key, foreign_pems.chain)
        for credentials in (bare, forged):
            async with grpc.aio.secure_channel(address, credentials) as channel:
                assert await answers(channel, issuer) == "UNAVAILABLE"
        async with open_channel(address) as plain:
            assert await answers(plain, issuer) == "UNAVAILABLE"
        async with open_channel(address, foreign) as not_believing:
            assert await answers(not_believing, issuer) == "UNAVAILABLE"


async def test_new_certificates_are_used_without_a_restart(
    issuer: Issuer, authority: Authority, tmp_path: Path
) -> None:
    server, client = authority.issue(tmp_path / "server"), authority.issue(tmp_path / "client")
    late = authority.issue(tmp_path / "late")
    async with serving(issuer, server) as address, open_channel(address, client) as channel:
        assert await answers(channel, issuer) == "OK"
        another = Authority("another")
        another.issue(tmp_path / "server")
        another.issue(tmp_path / "client")
        async with open_channel(address, late) as who_missed_it:
            assert await answers(who_missed_it, issuer) == "UNAVAILABLE"
        async with open_channel(address, client) as new:
            assert await answers(new, issuer) == "OK"
        assert await answers(channel, issuer) == "OK", "the connection that was there goes on"


async def test_a_client_reconnects_with_its_current_files(issuer: Issuer, authority: Authority, tmp_path: Path) -> None:
    server, client, port = authority.issue(tmp_path / "server"), authority.issue(tmp_path / "client"), free_port()
    async with open_channel(f"{HOST}:{port}", client) as channel:
        async with serving(issuer, server, port):
            assert await answers(channel, issuer) == "OK"
        another = Authority("another")
        another.issue(tmp_path / "server")
        another.issue(tmp_path / "client")
        async with serving(issuer, server, port), deadline("the client connects with its new files"):
            while await answers(channel, issuer) != "OK":
                pass


async def test_missing_files_leave_the_previous_certificates_in_use(
    issuer: Issuer, authority: Authority, tmp_path: Path
) -> None:
    server, client = authority.issue(tmp_path / "server"), authority.issue(tmp_path / "client")
    async with serving(issuer, server) as address:
        Path(server.key_file).unlink()
        async with open_channel(address, client) as channel:
            assert await answers(channel, issuer) == "OK"


async def test_unusable_certificates_fail_the_start(issuer: Issuer, authority: Authority, tmp_path: Path) -> None:
    config = authority.issue(tmp_path / "server")
    with pytest.raises(ValueError, match="set together"):
        async with serving(issuer, TlsConfig(cert_file=config.cert_file)):
            pass
    Path(config.ca_file).unlink()
    with pytest.raises(OSError, match=r"ca\.pem"):
        async with serving(issuer, config):
            pass
