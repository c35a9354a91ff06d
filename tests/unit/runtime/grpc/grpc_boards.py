"""A service of boards that answers as it is asked to, with its server and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, cast

import grpc
import pytest
from topten.leaderboard.v1 import leaderboard_service_pb2 as pb
from topten.leaderboard.v1 import leaderboard_service_pb2_grpc as rpc

from services.runtime.auth.jwks import StaticKeys
from services.runtime.auth.verification import TokenVerifier
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import request_id, time_left
from services.runtime.grpc.client import call, open_channel, open_stream
from services.runtime.grpc.server import MAX_MESSAGE_BYTES, GrpcServer, caller
from tests.deadline import deadline_seconds
from tests.unit.partly import partly
from tests.unit.runtime.issuer import Issuer

SERVICE = "topten.leaderboard.v1.LeaderboardService"


@partly
class Boards(rpc.LeaderboardServiceServicer):
    """Answers by what the request says, and records what became of its handlers."""

    def __init__(self) -> None:
        self.attempts = 0
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.deadline: float | None = None
        self.onward: Any = None
        self.peers: set[str] = set()

    async def GetLeaderboard(self, request: pb.GetLeaderboardRequest, context: Any) -> pb.GetLeaderboardResponse:
        self.attempts += 1
        self.peers.add(context.peer())
        self.entered.set()
        answer = pb.GetLeaderboardResponse()
        match request.board:
            case "caller":
                answer.frame.board = f"{caller().user_id} {caller().username} {request_id()}"
            case "refused":
                raise ServiceError(
                    Reason.BOARD_NOT_FOUND, "no such board", retry_after=timedelta(seconds=3), board="refused"
                )
            case "fault":
                raise KeyError("password=hunter2 at 10.0.0.7")
            case "timeout":
                raise TimeoutError("inside 10.0.0.7")
            case "down":
                raise ServiceError(Reason.UNAVAILABLE, "a store does not answer") from OSError("10.0.0.7")
            case "flaky" if self.attempts < 3:
                raise ServiceError(Reason.UNAVAILABLE, "not now")
            case "aborts":
                await context.abort(grpc.StatusCode.ABORTED, "by hand")
            case "hangs":
                self.deadline = time_left()
                await self._hang()
            case "onward":
                answer.frame.board = (await self.onward()).frame.board
            case "large":
                answer.frame.board = "x" * (MAX_MESSAGE_BYTES + 1)
        return answer

    async def WatchLeaderboard(
        self, request: pb.WatchLeaderboardRequest, context: Any
    ) -> AsyncIterator[pb.WatchLeaderboardResponse]:
        for version in range(3):
            response = pb.WatchLeaderboardResponse()
            response.frame.version = version
            response.frame.board = caller().user_id
            yield response
        if request.board == "refused":
            raise ServiceError(Reason.BOARD_NOT_FOUND, "it is gone")
        if request.board == "fault":
            raise KeyError("hunter2")
        if request.board == "endless":
            await self._hang()

    async def GetRanks(self, request: pb.GetRanksRequest, context: Any) -> pb.GetRanksResponse:
        return pb.GetRanksResponse(not_found=request.user_ids)

    async def ExportPlayer(self, request: pb.ExportPlayerRequest, context: Any) -> pb.ExportPlayerResponse:
        return pb.ExportPlayerResponse()

    async def WatchRanks(self, request: pb.WatchRanksRequest, context: Any) -> AsyncIterator[pb.WatchRanksResponse]:
        yield pb.WatchRanksResponse(board=request.board)

    async def _hang(self) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class Client:
    """A stub with a token, and the server behind it."""

    def __init__(self, channel: grpc.aio.Channel, server: GrpcServer, servicer: Boards, issuer: Issuer) -> None:
        self.channel = channel
        self.stub = cast("rpc.LeaderboardServiceAsyncStub", rpc.LeaderboardServiceStub(channel))
        self.server = server
        self.servicer = servicer
        self.issuer = issuer
        self.token = issuer.token(roles=["player"])

    async def get(self, board: str, **arguments: Any) -> pb.GetLeaderboardResponse:
        request = pb.GetLeaderboardRequest(board=board)
        return await call(self.stub.GetLeaderboard, request, **({"token": self.token} | arguments))

    async def watch(self, board: str, seen: list[int], **arguments: Any) -> None:
        """Reads a stream to its end; the versions of its frames are left in `seen`, however it ends."""
        request = pb.WatchLeaderboardRequest(board=board)
        async with open_stream(self.stub.WatchLeaderboard, request, **({"token": self.token} | arguments)) as answers:
            async for answer in answers:
                seen.append(answer.frame.version)  # noqa: PERF401  # what came before a failure is to be seen

    async def error(self, board: str, **arguments: Any) -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            await self.get(board, **arguments)
        return caught.value

    async def raw_error(self, board: str, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
        sent = grpc.aio.Metadata(("authorization", f"Bearer {self.token}"), *metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.stub.GetLeaderboard(
                pb.GetLeaderboardRequest(board=board), metadata=sent, timeout=deadline_seconds()
            )
        return caught.value


@asynccontextmanager
async def serving(issuer: Issuer, *, upstream: str = "", **arguments: Any) -> AsyncIterator[Client]:
    servicer = Boards()  # type: ignore[abstract]  # only three methods are called
    server = GrpcServer(
        "127.0.0.1:0",
        [partial(rpc.add_LeaderboardServiceServicer_to_server, servicer)],
        verifier=TokenVerifier(StaticKeys(issuer.key.public_key()), "topten", "topten"),
        **({"grace": timedelta(seconds=5)} | arguments),
    )
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.stop)
        await server.announce()
        channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{server.port}", upstream=upstream))
        yield Client(channel, server, servicer, issuer)
