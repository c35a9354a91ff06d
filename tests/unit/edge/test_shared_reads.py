"""Reads of boards that share calls: which requests share one, and what each of them learns."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from buf.validate import validate_pb2
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from edge.graphql.resolvers.boards.leaderboards import MAX_RADIUS
from edge.shared_reads import MAX_SIZE, SharedReads
from services.quiz.action_types.reports import MAX_METADATA
from services.runtime.errors import Reason, ServiceError, to_rpc_status
from services.runtime.grpc.call_context import begin_call
from services.runtime.grpc.client import MAX_MESSAGE_BYTES
from tests.deadline import deadline

NO_BOARD = ServiceError(Reason.BOARD_NOT_FOUND, "There is no such board.")


class Boards:
    """A leaderboard service whose calls wait for `answered`; a response has the version at which its call began."""

    def __init__(self) -> None:
        self.version = 1
        self.calls: asyncio.Queue[tuple[messages.ReadBoardsRequest, str, asyncio.Future[None]]] = asyncio.Queue()

    async def read(
        self, request: messages.ReadBoardsRequest, *, metadata: Any, **_: Any
    ) -> messages.ReadBoardsResponse:
        response = messages.ReadBoardsResponse(results=[self.result(each) for each in request.reads])
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls.put_nowait((request, dict(metadata)["authorization"], answered))
        await answered
        return response

    def result(self, read: messages.BoardRead) -> messages.BoardReadResult:
        if read.ranks.board == "custom:none":
            return messages.BoardReadResult(error=to_rpc_status(NO_BOARD).SerializeToString())
        if read.HasField("ranks"):
            return messages.BoardReadResult(ranks=messages.GetRanksResponse(not_found=read.ranks.user_ids))
        frame = Frame(board=read.leaderboard.board, version=self.version)
        return messages.BoardReadResult(leaderboard=messages.GetLeaderboardResponse(frame=frame))


def shared(**methods: Any) -> SharedReads:
    async def own_token() -> str:
        return "own"

    stub: Any = SimpleNamespace(**(dict.fromkeys(("GetLeaderboard", "GetAround", "GetRanks", "ReadBoards")) | methods))
    return SharedReads(stub, own_token)


def ranks(board: str, user_id: str) -> messages.GetRanksRequest:
    return messages.GetRanksRequest(board=board, user_ids=[user_id])


async def test_requests_share_the_next_call_and_learn_nothing_older_than_by_their_own() -> None:
    boards = Boards()
    reading = shared(ReadBoards=boards.read)
    async with deadline():
        first = asyncio.create_task(reading.head("all", 10))
        request, authorization, answered = await boards.calls.get()
        assert ([each.leaderboard.limit for each in request.reads], authorization) == ([10], "Bearer own")
        boards.version = 2
        later = [asyncio.create_task(reading.head("all", 10)) for _ in range(3)]
        ada, ben, none = (
            asyncio.create_task(reading.ranks(ranks(board, user_id)))
            for board, user_id in (("all", "ada"), ("all", "ben"), ("custom:none", "ada"))
        )
        await asyncio.sleep(0)
        answered.set_result(None)
        assert (await first).version == 1
        request, _, answered = await boards.calls.get()
        assert [each.WhichOneof("request") for each in request.reads] == ["leaderboard", "ranks", "ranks", "ranks"]
        answered.set_result(None)
        assert [(await each).version for each in later] == [2, 2, 2]
        assert [list((await each).not_found) for each in (ada, ben)] == [["ada"], ["ben"]]
        with pytest.raises(ServiceError) as refused:
            await none
        assert refused.value.reason is Reason.BOARD_NOT_FOUND
        assert boards.calls.empty()


async def test_a_process_of_an_earlier_version_is_asked_by_a_call_for_each() -> None:
    asked: list[str] = []

    async def unknown(_: messages.ReadBoardsRequest, **__: Any) -> messages.ReadBoardsResponse:
        asked.append("group")
        metadata = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNIMPLEMENTED, metadata, metadata)

    async def one(request: messages.GetRanksRequest, **_: Any) -> messages.GetRanksResponse:
        asked.append(request.user_ids[0])
        return messages.GetRanksResponse(not_found=request.user_ids)

    reading = shared(ReadBoards=unknown, GetRanks=one)
    async with deadline():
        found = await asyncio.gather(*(reading.ranks(ranks("all", user_id)) for user_id in ("ada", "ben")))
        assert [each.not_found for each in found] == [["ada"], ["ben"]]
        await reading.ranks(ranks("all", "eve"))
    assert sorted(asked) == ["ada", "ben", "eve", "group"]


async def test_a_request_waits_no_longer_than_its_own_deadline() -> None:
    begin_call(None, timeout=0.01)
    async with deadline():
        with pytest.raises(ServiceError) as late:
            await shared(ReadBoards=Boards().read).head("all", 10)
    assert late.value.reason is Reason.UNAVAILABLE


def test_the_largest_responses_of_a_call_fit_into_a_message() -> None:
    rules = messages.ReadBoardsRequest.DESCRIPTOR.fields_by_name["reads"].GetOptions().Extensions[validate_pb2.field]
    assert rules.repeated.max_items == MAX_SIZE
    entry = Entry(
        rank=2**31 - 1, user_id="f" * 36, username="\U0001d518" * 32, score=2**31 - 1, country="VN",
        previous_rank=2**31 - 1, gap_to_next=2**31 - 1, metadata={"car": "x" * MAX_METADATA},
    )  # fmt: skip
    around = messages.GetAroundResponse(entries=[entry] * (2 * MAX_RADIUS + 1))
    largest = messages.ReadBoardsResponse(results=[messages.BoardReadResult(around=around)] * MAX_SIZE)
    assert MAX_MESSAGE_BYTES / 2 < largest.ByteSize() < MAX_MESSAGE_BYTES
