"""The end of a period, which no test can wait for: the hub over real connections, by a clock that the test moves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from edge.config import EdgeConfig
from edge.stream.hub import Hub
from edge.stream.latency import ScreenClock
from edge.stream.sessions import Sessions
from edge.stream.subscriber import Subscriber
from edge.upstreams import open_upstreams
from services.runtime.claims import Claims
from services.runtime.service_token import ServiceToken
from services.runtime.settings import TlsConfig, UpstreamConfig
from tests.unit.edge.announcer import announcing, frame
from tests.unit.runtime.issuer import Issuer

BOARD = "weekly:2026-47"
ENDS_AT = datetime(2026, 11, 23, tzinfo=UTC)


@asynccontextmanager
async def connection(*, expires_at: float) -> AsyncIterator[tuple[Subscriber, asyncio.StreamReader]]:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)
    _, sending = await asyncio.open_connection(sock=ours)
    try:
        claims = Claims("ada", "Ada", frozenset({"player"}), "", "", "t-1", "access", expires_at)
        subscriber = Subscriber(sending.transport, claims, chunked=False, retry=timedelta(seconds=2))
        sending.transport.set_protocol(subscriber)
        yield subscriber, reader
    finally:
        sending.transport.abort()
        writer.transport.abort()


async def test_the_end_of_a_period_is_told_to_its_readers_and_final() -> None:
    now = ENDS_AT - timedelta(minutes=1)
    async with Issuer() as issuer, announcing() as announcer, ServiceToken(issuer.token_url, "edge", "s") as token:
        async with open_upstreams(UpstreamConfig(leaderboard=announcer.address), TlsConfig(), token) as upstreams:
            hub = Hub(upstreams, EdgeConfig(), Sessions(upstreams), ScreenClock(), now=lambda: now)
            await hub.start()
            announcer.announce(frame(5, board=BOARD))
            async with connection(expires_at=now.timestamp() + 3600) as (subscriber, reader), asyncio.timeout(10):
                with hub.reading(BOARD) as feed:
                    await feed.settle(timedelta(seconds=5))
                    left = asyncio.Event()
                    hub.join(feed, subscriber, None, left.set)
                    assert b"id: 1-5\n" in await reader.readuntil(b"\n\n")

                    now = ENDS_AT
                    announcer.announce(frame(6, board=BOARD))
                    announcer.end(BOARD)
                    await left.wait()

                    assert b"id: 1-6\n" in await reader.readuntil(b"\n\n")
                    assert await reader.readuntil(b"\n\n") == b'event: end\ndata: {"board":"weekly:2026-47"}\n\n'
                    assert feed.closed
                    with hub.reading(BOARD) as again:
                        assert again.closed
                assert announcer.opened[BOARD] == 1
            await hub.stop()
