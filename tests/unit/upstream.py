"""A gRPC service of the test that code under test calls: identity, for example."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc

from services.runtime.auth.service_token import ServiceToken
from services.runtime.grpc.client import open_channel
from tests.deadline import deadline
from tests.servers import HOST
from tests.unit.runtime.issuer import Issuer


@asynccontextmanager
async def upstream(register: Callable[[grpc.aio.Server], None]) -> AsyncIterator[tuple[grpc.aio.Channel, ServiceToken]]:
    """Serve what `register` adds to a server; yield a connected channel to it, and a valid token for its calls.

    Calls have deadlines of their own, which must not include the time for the token and the connection.
    """
    server = grpc.aio.server()
    register(server)
    address = f"{HOST}:{server.add_insecure_port(f'{HOST}:0')}"
    await server.start()
    try:
        async with (
            Issuer() as issuer,
            open_channel(address) as channel,
            ServiceToken(issuer.token_url, "leaderboard", "a secret of the test") as token,
        ):
            async with deadline("a token and a connection"):
                await token.get()
                await channel.channel_ready()
            yield channel, token
    finally:
        await server.stop(None)
