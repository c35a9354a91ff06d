"""Definitions of boards, from JSON into a running system, with the operator's token."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from google.protobuf.json_format import MessageToJson
from topten.board.v1 import board_service_pb2 as messages
from topten.board.v1.board_pb2 import BoardDefinition

from services.cli.json_lines import read_definitions
from services.cli.system.client import Endpoints, describe
from services.cli.system.operator_client import board_service
from services.cli.typed_names import of_file
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

_REFUSALS = frozenset({Reason.BOARD_DEFINITION_INVALID, Reason.INVALID_ARGUMENT, Reason.LIMIT_REACHED})
Report = Callable[[str], None]


async def put_boards(endpoints: Endpoints, file: str, *, on_success: Report, on_problem: Report) -> int:
    """Define the boards of a file, `-` for standard input, and return how many were refused.

    The file is one JSON object, or has one on each line. Raises OSError, ServiceError.
    """
    definitions, refused = read_definitions(file, BoardDefinition, on_problem)
    async with board_service(endpoints) as (stub, token):
        for definition in definitions:
            request = messages.PutBoardRequest(definition=definition)
            try:
                response = await call(stub.PutBoard, request, token=token)
            except ServiceError as error:
                if error.reason not in _REFUSALS:
                    raise
                refused += 1
                on_problem(f"{definition.name}: {describe(error, partial(of_file, wrapper='definition'))}")
            else:
                changed = "" if response.changed else ", unchanged"
                on_success(f"custom:{definition.name}: version {response.board.version}{changed}")
    return refused


async def list_boards(endpoints: Endpoints, *, report: Report) -> None:
    """Report every defined board, by name, as one line of JSON."""
    async with board_service(endpoints) as (stub, token):
        response = await call(stub.ListBoards, messages.ListBoardsRequest(), token=token)
    for board in response.boards:
        report(MessageToJson(board, indent=None, ensure_ascii=False))


async def archive_board(endpoints: Endpoints, name: str) -> bool:
    """Archive a board and return whether it was open. Raises BOARD_NOT_FOUND, BOARD_DEFINITION_INVALID."""
    request = messages.ArchiveBoardRequest(name=name.removeprefix("custom:"))
    async with board_service(endpoints) as (stub, token):
        return (await call(stub.ArchiveBoard, request, token=token)).changed
