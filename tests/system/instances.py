"""Leaderboard processes from a client's view, on a Redis and an identity service of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import aiohttp
from redis.asyncio import Redis
from topten.leaderboard.v1 import leaderboard_service_pb2 as pb
from topten.leaderboard.v1.leaderboard_pb2 import Frame
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub

from services.leaderboard.reading.frames import position
from services.runtime.grpc.client import call, open_channel, open_stream
from tests.deadline import deadline
from tests.servers import RunningServer
from tests.system.boards.seeded import BoardSeeder
from tests.system.processes import Identity, Service, running_service

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

TICK = timedelta(milliseconds=50)
SETTINGS = {
    "TOPTEN_LEADERBOARD_TICK": "50ms",
    "TOPTEN_LEADERBOARD_REREAD": "1s",
    "TOPTEN_LEADERBOARD_READ_TIMEOUT": "500ms",
    "TOPTEN_LEADERBOARD_NAMES_TTL": "1s",
}


class Screen:
    """One stream of frames; `frames` has all that were read."""

    def __init__(self, messages: AsyncIterator[pb.WatchLeaderboardResponse]) -> None:
        self.frames: list[Frame] = []
        self._messages = messages

    async def until(self, holds: Callable[[Frame], bool]) -> Frame:
        """Return the first frame, the latest one included, for which `holds` is true."""
        if self.frames and holds(self.frames[-1]):
            return self.frames[-1]
        async with deadline("a frame that the test waits for"):
            async for message in self._messages:
                self.frames.append(message.frame)
                if holds(message.frame):
                    return message.frame
        raise AssertionError(f"the stream ended; the last frame was {self.frames[-1:]}")

    def never_goes_back(self) -> bool:
        positions = [(frame.board, *position(frame)) for frame in self.frames]
        return positions == sorted(positions)


class Instance:
    """One leaderboard process from a client's view."""

    def __init__(self, service: Service, stub: LeaderboardServiceAsyncStub, token: str) -> None:
        self.service = service
        self._stub = stub
        self._token = token

    async def get(self, board: str = "", limit: int = 0, token: str | None = None) -> pb.GetLeaderboardResponse:
        request = pb.GetLeaderboardRequest(board=board, limit=limit)
        return await call(self._stub.GetLeaderboard, request, token=token or self._token)

    async def ranks(self, board: str, user_ids: list[str]) -> pb.GetRanksResponse:
        return await call(self._stub.GetRanks, pb.GetRanksRequest(board=board, user_ids=user_ids), token=self._token)

    async def around(self, board: str, user_id: str) -> pb.GetAroundResponse:
        return await call(self._stub.GetAround, pb.GetAroundRequest(board=board, user_id=user_id), token=self._token)

    async def read(self, *reads: pb.BoardRead) -> list[pb.BoardReadResult]:
        """Read boards by one call."""
        request = pb.ReadBoardsRequest(reads=reads)
        return list((await call(self._stub.ReadBoards, request, token=self._token)).results)

    @asynccontextmanager
    async def watch(self, board: str = "", timeout: float | None = None) -> AsyncIterator[Screen]:
        request = pb.WatchLeaderboardRequest(board=board)
        async with open_stream(self._stub.WatchLeaderboard, request, token=self._token, timeout=timeout) as messages:
            yield Screen(messages)

    async def metric(self, name: str) -> float:
        async with aiohttp.ClientSession() as session, session.get(f"{self.service.ops}/metrics") as response:
            lines = (await response.text()).splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[-1])


class LeaderboardSystem:
    """A Redis and an identity service, and the leaderboard processes that use them."""

    def __init__(self, server: RunningServer, redis: Redis, mongo_url: str, identity: Identity, token: str) -> None:
        self.server = server
        self._mongo_url = mongo_url
        self.redis = redis
        self.identity = identity
        self.seeder = BoardSeeder(redis)
        self._token = token

    @asynccontextmanager
    async def instance(self, **settings: str) -> AsyncIterator[Instance]:
        environ = {
            "TOPTEN_REDIS_URL": self.server.url,
            "TOPTEN_MONGO_URL": self._mongo_url,
            **self.identity.environ,
            **SETTINGS,
            **settings,
        }
        async with (
            running_service("leaderboard", environ) as service,
            open_channel(service.grpc) as channel,
        ):
            yield Instance(service, cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel)), self._token)
