"""Reads of boards that share calls: which requests share one, and what each of them learns."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from topten.leaderboard.v1.leaderboard_pb2 import Frame
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest, GetLeaderboardResponse

from edge.board_heads import BoardHeads
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import begin_call
from tests.deadline import deadline


class Board:
    """A leaderboard service whose calls wait for `answer`; a response has the version at which its call began."""

    def __init__(self) -> None:
        self.version = 1
        self.calls: asyncio.Queue[tuple[GetLeaderboardRequest, str, asyncio.Future[None]]] = asyncio.Queue()

    async def get(self, request: GetLeaderboardRequest, *, metadata: Any, **_: Any) -> GetLeaderboardResponse:
        response = GetLeaderboardResponse(frame=Frame(board=request.board, version=self.version))
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls.put_nowait((request, dict(metadata)["authorization"], answered))
        await answered
        return response


def heads(board: Board) -> BoardHeads:
    async def own_token() -> str:
        return "own"

    stub: Any = SimpleNamespace(GetLeaderboard=board.get)
    return BoardHeads(stub, own_token)


async def test_requests_share_the_next_call_and_learn_nothing_older_than_their_own() -> None:
    board = Board()
    reading = heads(board)
    async with deadline():
        first = asyncio.create_task(reading.read("all", 10))
        request, authorization, answered = await board.calls.get()
        assert (request.board, request.limit, authorization) == ("all", 10, "Bearer own")
        board.version = 2
        later = [asyncio.create_task(reading.read("all", 10)) for _ in range(3)]
        other = asyncio.create_task(reading.read("all", 11))
        assert (await board.calls.get())[0].limit == 11
        answered.set_result(None)
        assert (await first).version == 1
        (await board.calls.get())[2].set_result(None)
        assert [(await each).version for each in later] == [2, 2, 2]
        assert board.calls.empty()
        other.cancel()


async def test_a_request_waits_no_longer_than_its_own_deadline() -> None:
    board = Board()
    begin_call(None, timeout=0.01)
    async with deadline():
        with pytest.raises(ServiceError) as late:
            await heads(board).read("all", 10)
    assert late.value.reason is Reason.UNAVAILABLE
