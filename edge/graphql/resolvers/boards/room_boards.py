"""The board of a room, `room:<room id>`, read as the leaderboard service reads any other board: by its requests and responses.

The room service decides what the board shows, and to whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from topten.leaderboard.v1 import leaderboard_service_pb2 as messages
from topten.leaderboard.v1.leaderboard_pb2 import Board, Frame
from topten.room.v1.room_service_pb2 import GetRoomBoardRequest, GetRoomBoardResponse

from edge.graphql.execution.context import Context
from edge.rooms import entry_of, no_such_room_board, room_of
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.page_tokens import list_of, page_token, read_page_token
from services.runtime.texts import canonical_id

LISTING: Final = "room board"
MAX_LIMIT: Final = 100
MAX_RADIUS: Final = 50
MAX_ID: Final = 64


async def head(context: Context, board: str, limit: int) -> Frame:
    """Return the first lines of a board."""
    _require_between(limit, MAX_LIMIT, "limit")
    response = await _read(context, board, limit=limit)
    return Frame(board=board, entries=map(entry_of, response.entries))


async def page(context: Context, request: messages.ListEntriesRequest) -> messages.ListEntriesResponse:
    """Return a page of a board, and the line of the user that the request names. Raises CURSOR_EXPIRED."""
    _require_between(request.page_size, MAX_LIMIT, "page_size")
    listing = list_of(LISTING, request.board)
    (skip,) = read_page_token(request.page_token, listing, int) or (0,)
    response = await _read(context, request.board, skip=max(0, skip), limit=request.page_size, ids=[request.user_id])
    entries = [
        messages.ListedEntry(entry=entry_of(place), cursor=page_token(listing, place.position))
        for place in response.entries
    ]
    is_last = not entries or response.entries[-1].position >= response.total_size
    return messages.ListEntriesResponse(
        board=_board(request.board, response),
        entries=entries,
        next_page_token="" if is_last else entries[-1].cursor,
        own=next(map(entry_of, response.places), None),
    )


async def around(context: Context, request: messages.GetAroundRequest) -> messages.GetAroundResponse:
    """Return a line among its neighbors; none for a user without one."""
    _require_between(request.radius, MAX_RADIUS, "radius")
    found = await _read(context, request.board, ids=[request.user_id])
    entries = []
    if found.places:
        size = 2 * request.radius + 1
        first = min(found.places[0].position - 1 - request.radius, found.total_size - size)
        found = await _read(context, request.board, skip=max(0, first), limit=size)
        entries = list(map(entry_of, found.entries))
    return messages.GetAroundResponse(board=_board(request.board, found), entries=entries)


async def ranks(context: Context, request: messages.GetRanksRequest) -> messages.GetRanksResponse:
    """Return the lines of certain seats, and of the caller by their own ID."""
    response = await _read(context, request.board, ids=request.user_ids)
    places = sorted(response.places, key=lambda place: place.position)
    found = {place.id for place in places}
    asked = map(canonical_id, request.user_ids)
    return messages.GetRanksResponse(
        entries=map(entry_of, places), not_found=[each for each in asked if each not in found]
    )


async def _read(
    context: Context, board: str, *, skip: int = 0, limit: int = 0, ids: Sequence[str] = ()
) -> GetRoomBoardResponse:
    """Read a board in the caller's name. Raises BOARD_NOT_FOUND, also for who takes no part in the room."""
    room_id = room_of(board)
    if not room_id:
        raise no_such_room_board()
    # Nobody has a longer ID.
    asked = [each for each in ids if 0 < len(each) <= MAX_ID]
    request = GetRoomBoardRequest(room_id=room_id, skip=skip, limit=limit, ids=asked)
    try:
        return await context.call(context.upstreams.room.GetRoomBoard, request)
    except ServiceError as error:
        raise (no_such_room_board() if error.reason is Reason.ROOM_NOT_FOUND else error) from None


def _board(name: str, response: GetRoomBoardResponse) -> Board:
    return Board(name=name, total_count=response.total_size)


def _require_between(value: int, maximum: int, name: str) -> None:
    if not 1 <= value <= maximum:
        raise invalid(name, f"must be between 1 and {maximum}")
