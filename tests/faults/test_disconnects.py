"""Thousands of clients that disconnect at any moment: they leave nothing open, and no client gets another's response."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import grpc
import pytest
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub

from services.cli.system.client import GraphqlClient
from services.runtime.grpc.client import call_metadata, open_channel
from tests.observability.scrapes import Scrape, eventually
from tests.players import Player, endpoints, register
from tests.servers import HOST, RunningStack, running_stack

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

CLIENTS = 4_000
CONCURRENT = 40
# Connection pools keep open what the first wave made them open.
FIRST_WAVE = 2_000
PROCESSES = ("edge", "identity", "quiz", "leaderboard")
# Those who stay leave the processors to those who depart.
READ_PAUSE_SECONDS = 0.05
PAGE = "{ leaderboard(first: 100) { totalCount edges { cursor node { username score rank user { country } } } } }"
ME = "{ me { userId username score } }"


class DepartingClients:
    """Clients of one system that disconnect in the middle of something, chosen at random from a fixed seed."""

    def __init__(self, http: str, grpc_port: int, stub: LeaderboardServiceAsyncStub, players: Sequence[Player]) -> None:
        self._edge = urlsplit(http).port or 0
        self._grpc = grpc_port
        self._stub = stub
        self._players = players
        self._random = random.Random(20)
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def run(self, count: int) -> None:
        """Run this many clients, a few at a time."""
        departures = (
            self._in_request_head,
            self._in_request_body,
            self._in_response,
            self._in_stream,
            self._in_grpc_call,
        )
        weights = (32, 32, 15, 11, 10)
        chosen = self._random.choices(departures, weights, k=count)
        await asyncio.gather(*(self._run(departure) for departure in chosen))

    async def _run(self, departure: Callable[[], Awaitable[None]]) -> None:
        async with self._slots:
            await departure()

    async def _in_request_head(self) -> None:
        request = self._request(ME)
        await self._send_and_leave(self._edge, request[: self._random.randrange(request.index(b"\r\n\r\n"))])

    async def _in_request_body(self) -> None:
        request = self._request(PAGE)
        await self._send_and_leave(
            self._edge, request[: self._random.randrange(request.index(b"\r\n\r\n") + 4, len(request))]
        )

    async def _in_response(self) -> None:
        await self._send_and_leave(self._edge, self._request(PAGE), read=self._random.choice((0, 0, 1, 200, 2_000)))

    async def _in_stream(self) -> None:
        token = self._random.choice(self._players).access_token
        request = (
            f"GET /api/v1/leaderboard/stream HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        await self._send_and_leave(self._edge, request, read=self._random.choice((0, 1, 300, 1_000)))

    async def _in_grpc_call(self) -> None:
        if self._random.random() < 0.2:
            await self._send_and_leave(self._grpc, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[: self._random.randrange(1, 24)])
            return
        metadata = grpc.aio.Metadata(*call_metadata(self._random.choice(self._players).access_token))
        call = self._stub.GetLeaderboard(messages.GetLeaderboardRequest(), metadata=metadata, timeout=5)
        await asyncio.sleep(self._random.choice((0, 0, 0.001, 0.003)))
        call.cancel()

    def _request(self, query: str) -> bytes:
        body = json.dumps({"query": query}).encode()
        token = self._random.choice(self._players).access_token
        head = f"POST /graphql HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def _send_and_leave(self, port: int, sent: bytes, *, read: int = 0) -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(sent)
        if read:
            await reader.read(read)
        if self._random.random() < 0.5:
            # Zero seconds of lingering make it a reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()


@pytest.fixture(scope="module")
def system() -> Iterator[RunningStack]:
    # A request runs on after its client has left, so more run than there are clients; none may be refused.
    with running_stack({"TOPTEN_EDGE_STREAM_MAX_PER_USER": "100", "TOPTEN_MAX_RUNNING": "1000"}) as stack:
        yield stack


def open_files(system: RunningStack, scrape: Scrape) -> dict[str, float]:
    """Count the open files of each process, without the store connections that its pools keep."""
    return {
        name: len(list(Path(f"/proc/{system.pid_of(name)}/fd").iterdir()))
        - scrape.total("topten_store_connections", job=name)
        for name in PROCESSES
    }


async def idle_open_files(system: RunningStack) -> dict[str, float]:
    """Count the open files once no request runs and no stream is open."""

    def is_idle(scrape: Scrape) -> bool:
        running = scrape.total("topten_requests_running", at="graphql") + scrape.total(
            "topten_requests_running", at="grpc"
        )
        watched = scrape.total("topten_leaderboard_watched_boards")
        return running == 0 and scrape.total("topten_sse_connections") == 0 and watched == 0

    return open_files(system, await eventually(system, is_idle))


async def read_own_account(player: Player, ended: asyncio.Event) -> int:
    """Read the player's account until the event; return how often, each time with the player's own data."""
    count = 0
    while not ended.is_set():
        data = await player.client.execute(ME, {}, player.access_token)
        assert data["me"] == {"userId": player.user_id, "username": player.username, "score": 0}
        count += 1
        await asyncio.sleep(READ_PAUSE_SECONDS)
    return count


@pytest.mark.slow
async def test_thousands_of_departed_clients_leave_nothing_open(system: RunningStack) -> None:
    """Takes 10 to 20 s, because the number of connections is the guarantee."""
    async with GraphqlClient(endpoints(system).graphql) as client:
        players = [await register(client) for _ in range(20)]
        address = system.endpoints["grpc"]["leaderboard"]
        async with open_channel(address) as channel:
            stub = cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel))
            clients = DepartingClients(system.http, int(address.rpartition(":")[2]), stub, players)
            await clients.run(FIRST_WAVE)
            before = await idle_open_files(system)
            ended = asyncio.Event()
            staying = [asyncio.create_task(read_own_account(player, ended)) for player in players[:4]]
            await clients.run(CLIENTS - FIRST_WAVE)
            ended.set()
            assert all(count > 0 for count in await asyncio.gather(*staying))
        after = await idle_open_files(system)
    for name in PROCESSES:
        assert after[name] <= before[name] + 5, (before, after)
