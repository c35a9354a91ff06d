"""gRPC of board definitions: request → service → response."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from topten.board.v1 import board_service_pb2 as messages
from topten.board.v1 import board_service_pb2_grpc

from services.boards.caller_groups import CallerGroups
from services.boards.messages import definition_of, message_of
from services.boards.visibility import may_read_definition
from services.runtime.grpc.call_context import caller
from services.score.definitions.service import BoardDefinitions

Context = grpc.aio.ServicerContext[Any, Any]


class BoardServicer(board_service_pb2_grpc.BoardServiceServicer):
    """The methods of `topten.board.v1.BoardService`. Writes are shielded from cancellation."""

    def __init__(self, definitions: BoardDefinitions, caller_groups: CallerGroups) -> None:
        self._definitions = definitions
        self._caller_groups = caller_groups

    async def PutBoard(self, request: messages.PutBoardRequest, context: Context) -> messages.PutBoardResponse:
        """See board_service.proto."""
        putting = self._definitions.put(definition_of(request.definition), actor=caller().user_id)
        board, changed = await asyncio.shield(putting)
        return messages.PutBoardResponse(board=message_of(board), changed=changed)

    async def ArchiveBoard(
        self, request: messages.ArchiveBoardRequest, context: Context
    ) -> messages.ArchiveBoardResponse:
        """See board_service.proto."""
        board, changed = await asyncio.shield(self._definitions.archive(request.name, actor=caller().user_id))
        return messages.ArchiveBoardResponse(board=message_of(board), changed=changed)

    async def ListBoards(self, request: messages.ListBoardsRequest, context: Context) -> messages.ListBoardsResponse:
        """See board_service.proto."""
        edition, boards = await self._definitions.all(request.edition)
        groups = await self._caller_groups.deciding((each.definition for each in boards), caller())
        readable = [each for each in boards if may_read_definition(each.definition, caller(), groups)]
        return messages.ListBoardsResponse(
            edition=edition, boards=[message_of(each.definition, each.progress) for each in readable]
        )
