"""The edge's copy of the definitions of boards is that of score, which is a gRPC server here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from topten.board.v1.board_service_pb2 import ListBoardsRequest, ListBoardsResponse
from topten.board.v1.board_service_pb2_grpc import (
    BoardServiceServicer,
    BoardServiceStub,
    add_BoardServiceServicer_to_server,
)
from topten.group.v1.group_service_pb2_grpc import GroupServiceStub

from edge.boards import DEFINITION_PAUSE, KNOWN_FOR, ExistingBoards
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.messages import message_of
from services.runtime.auth.service_token import ServiceToken
from services.runtime.clock import utc_now
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import open_channel
from tests.servers import HOST
from tests.unit.partly import partly
from tests.unit.runtime.issuer import Issuer


@partly
class Score(BoardServiceServicer):
    """Score, with one board, or with none at edition 0."""

    def __init__(self) -> None:
        self.edition, self.board, self.is_away = 7, "cup", False
        self.asked = list[int]()

    async def ListBoards(self, request: ListBoardsRequest, context: Any) -> ListBoardsResponse:
        self.asked.append(request.edition)
        if self.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        response = ListBoardsResponse(edition=self.edition)
        if self.edition not in (0, request.edition):
            response.boards.append(message_of(Definition(self.board)))
        return response


class Reader:
    """An edge's copy, whose clock the test sets."""

    def __init__(self, upstreams: Any) -> None:
        self.time = utc_now()
        self._catalog = Catalog()
        self._boards = ExistingBoards(upstreams, self._catalog, now=lambda: self.time)

    async def refused_after(self, seconds: timedelta) -> Reason:
        """Have an unknown board asked for, and return why it is refused."""
        self.time += seconds
        with pytest.raises(ServiceError) as refused:
            await self._boards.find("custom:none", "a client")
        return refused.value.reason

    async def read_after(self, seconds: timedelta) -> set[str]:
        """Have an unknown board asked for, and return the names that are known then."""
        assert await self.refused_after(seconds) is Reason.BOARD_NOT_FOUND
        return set(self._catalog.definitions)


@asynccontextmanager
async def opened(score: Score) -> AsyncIterator[Reader]:
    server = grpc.aio.server()
    add_BoardServiceServicer_to_server(score, server)
    address = f"{HOST}:{server.add_insecure_port(f'{HOST}:0')}"
    await server.start()
    try:
        async with (
            Issuer() as issuer,
            open_channel(address) as channel,
            ServiceToken(issuer.token_url, "edge", "a secret of the test") as token,
        ):
            await channel.channel_ready()
            upstreams = SimpleNamespace(
                board=BoardServiceStub(channel), group=GroupServiceStub(channel), service_token=token
            )
            yield Reader(upstreams)
    finally:
        await server.stop(None)


async def test_definitions_are_asked_for_by_their_edition() -> None:
    score = Score()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(score) as reader:
        for _ in range(3):
            assert await reader.read_after(DEFINITION_PAUSE) == {"cup"}
        assert score.asked == [0, 7, 7]
        score.edition, score.board = 8, "league"
        assert await reader.read_after(DEFINITION_PAUSE) == {"league"}


@pytest.mark.parametrize(("edition", "names"), [(7, {"league"}), (3, {"league"}), (0, set())])
async def test_definitions_that_went_back_while_nobody_read_them_are_noticed(edition: int, names: set[str]) -> None:
    """By a restore, after which editions come again; also to a moment before the first definition."""
    score = Score()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(score) as reader:
        assert await reader.read_after(DEFINITION_PAUSE) == {"cup"}
        score.edition, score.board = edition, "league"
        assert await reader.read_after(KNOWN_FOR) == names


async def test_nobody_is_told_that_a_board_does_not_exist_while_score_cannot_say() -> None:
    score = Score()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(score) as reader:
        score.is_away = True
        assert await reader.refused_after(DEFINITION_PAUSE) is Reason.UNAVAILABLE
        score.is_away = False
        assert await reader.read_after(DEFINITION_PAUSE) == {"cup"}
