"""Ten thousand clients that leave at any moment: nothing of them stays, and nobody is ever given another's answer."""

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

from services.local.client import GraphqlClient
from services.runtime.grpc_client import call_metadata, open_channel
from tests.observe.scrapes import Scrape, eventually
from tests.players import Player, endpoints, register
from tests.servers import HOST, RunningStack, running_stack

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

CLIENTS = 10_000
AT_ONCE = 40
# What a first wave leaves behind is what the pools keep open.
FIRST_WAVE = 2_000
WATCHED = ("edge", "identity", "quiz", "leaderboard")
PAGE = "{ leaderboard(first: 100) { totalCount edges { cursor node { username score rank user { country } } } } }"
WHO = "{ me { userId username score } }"


class Leaving:
    """Clients of one system, each of which leaves without a word; what one does is decided by chance."""

    def __init__(self, http: str, grpc_port: int, stub: LeaderboardServiceAsyncStub, players: Sequence[Player]) -> None:
        self._edge = urlsplit(http).port or 0
        self._grpc = grpc_port
        self._stub = stub
        self._players = players
        self._chance = random.Random(20)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def come_and_go(self, clients: int) -> None:
        """So many clients, a few at a time."""
        ways = (self._in_the_head, self._in_the_body, self._in_the_answer, self._in_the_stream, self._in_a_call)
        weights = (32, 32, 15, 11, 10)
        chosen = self._chance.choices(ways, weights, k=clients)
        await asyncio.gather(*(self._one(way) for way in chosen))

    async def _one(self, way: Callable[[], Awaitable[None]]) -> None:
        async with self._slots:
            await way()

    async def _in_the_head(self) -> None:
        request = self._request(WHO)
        await self._leave(self._edge, request[: self._chance.randrange(request.index(b"\r\n\r\n"))])

    async def _in_the_body(self) -> None:
        request = self._request(PAGE)
        await self._leave(self._edge, request[: self._chance.randrange(request.index(b"\r\n\r\n") + 4, len(request))])

    async def _in_the_answer(self) -> None:
        await self._leave(self._edge, self._request(PAGE), read=self._chance.choice((0, 0, 1, 200, 2_000)))

    async def _in_the_stream(self) -> None:
        token = self._chance.choice(self._players).access_token
        request = (
            f"GET /api/v1/leaderboard/stream HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        await self._leave(self._edge, request, read=self._chance.choice((0, 1, 300, 1_000)))

    async def _in_a_call(self) -> None:
        if self._chance.random() < 0.2:
            await self._leave(self._grpc, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[: self._chance.randrange(1, 24)])
            return
        metadata = grpc.aio.Metadata(*call_metadata(self._chance.choice(self._players).access_token))
        call = self._stub.GetLeaderboard(messages.GetLeaderboardRequest(), metadata=metadata, timeout=5)
        await asyncio.sleep(self._chance.choice((0, 0, 0.001, 0.003)))
        call.cancel()

    def _request(self, query: str) -> bytes:
        body = json.dumps({"query": query}).encode()
        token = self._chance.choice(self._players).access_token
        head = f"POST /graphql HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def _leave(self, port: int, sent: bytes, *, read: int = 0) -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(sent)
        if read:
            await reader.read(read)
        if self._chance.random() < 0.5:
            # No time to linger is a reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()


@pytest.fixture(scope="module")
def system() -> Iterator[RunningStack]:
    # What was asked is worked out though its client left, so more runs than clients are there; none is to be refused.
    with running_stack({"TOPTEN_EDGE_STREAM_MAX_PER_USER": "100", "TOPTEN_MAX_RUNNING": "1000"}) as stack:
        yield stack


def open_files(system: RunningStack, said: Scrape) -> dict[str, float]:
    """How many files each process has open, but for its connections to the stores: a pool keeps what was in use at once."""
    return {
        name: len(list(Path(f"/proc/{system.pid_of(name)}/fd").iterdir()))
        - said.total("topten_store_connections", job=name)
        for name in WATCHED
    }


async def quiet(system: RunningStack) -> dict[str, float]:
    """The files open when nothing is being worked on any more."""

    def is_quiet(found: Scrape) -> bool:
        running = found.total("topten_requests_running", at="graphql") + found.total(
            "topten_requests_running", at="grpc"
        )
        watched = found.total("topten_leaderboard_watched_boards")
        return running == 0 and found.total("topten_sse_connections") == 0 and watched == 0

    return open_files(system, await eventually(system, is_quiet))


async def ask_who_i_am(player: Player, ended: asyncio.Event) -> int:
    """Asks again and again; how often, each time with the player's own answer."""
    asked = 0
    while not ended.is_set():
        data = await player.client.execute(WHO, {}, player.access_token)
        assert data["me"] == {"userId": player.user_id, "username": player.username, "score": 0}
        asked += 1
    return asked


@pytest.mark.slow
async def test_ten_thousand_who_leave_at_any_moment_leave_nothing_behind(system: RunningStack) -> None:
    """20 to 35 s: so many connections take that long, and their number is the promise."""
    async with GraphqlClient(endpoints(system).graphql) as client:
        players = [await register(client) for _ in range(20)]
        address = system.endpoints["grpc"]["leaderboard"]
        async with open_channel(address) as channel:
            stub = cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel))
            leaving = Leaving(system.http, int(address.rpartition(":")[2]), stub, players)
            await leaving.come_and_go(FIRST_WAVE)
            before = await quiet(system)
            ended = asyncio.Event()
            staying = [asyncio.create_task(ask_who_i_am(player, ended)) for player in players[:4]]
            await leaving.come_and_go(CLIENTS - FIRST_WAVE)
            ended.set()
            assert all(asked > 10 for asked in await asyncio.gather(*staying))
        after = await quiet(system)
    for name in WATCHED:
        assert after[name] <= before[name] + 5, (before, after)
