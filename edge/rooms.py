"""Whether a room that a client names exists, or its board is theirs to read: asked before anything is allocated for it.

Most PINs that do not exist are guesses. Without the question each would hold a feed of this process for seconds.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from topten.leaderboard.v1.leaderboard_pb2 import Entry
from topten.room.v1.room_pb2 import ROOM_PHASE_ENDED, RoomPlace
from topten.room.v1.room_service_pb2 import GetRoomBoardRequest, GetRoomRequest

from services.runtime.auth.access import STAFF
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from services.runtime.texts import canonical_id

if TYPE_CHECKING:
    from edge.upstreams import Upstreams
    from services.runtime.auth.claims import Claims

CHECK_SECONDS: Final = 2.0
BOARD_PREFIX: Final = "room:"
ERASED: Final = "#deleted"
_READS_ALL: Final = STAFF | {"leaderboard:read"}
_REFUSALS: Final = frozenset({Reason.ROOM_NOT_FOUND, Reason.INVALID_ARGUMENT})
_ROOM_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_log = structlog.get_logger("rooms")


class ExistingRooms:
    """Checks PINs. Use from one event loop."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._checks: dict[str, asyncio.Task[bool]] = {}

    async def has_ended(self, pin: str) -> bool:
        """Return whether the room with a PIN has ended. Raises ROOM_NOT_FOUND; INVALID_ARGUMENT for a text that is no PIN.

        Asks once for all clients that ask at the same time. While quiz is unavailable, the room is assumed to be open: the
        client's quota bounds what it takes.
        """
        task = self._checks.get(pin)
        if task is None:
            task = self._checks[pin] = asyncio.ensure_future(self._check(pin))
            task.add_done_callback(partial(self._checked, pin))
        return await asyncio.shield(task)

    async def board_is_final(self, board: str, claims: Claims) -> bool:
        """Return whether the room of the board `room:<room id>` has ended. The board is then final.

        Raises BOARD_NOT_FOUND if there is no such room, or the client takes no part in it; UNAVAILABLE.
        """
        room_id = room_of(board)
        viewer_id = "" if claims.may(_READS_ALL) else claims.user_id
        if not room_id or not (viewer_id or claims.may(_READS_ALL)):
            raise no_such_room_board()
        request = GetRoomBoardRequest(room_id=room_id, viewer_id=viewer_id)
        token = await self._upstreams.service_token.get()
        try:
            return (await call(self._upstreams.room.GetRoomBoard, request, token=token, timeout=CHECK_SECONDS)).ended
        except ServiceError as error:
            raise (no_such_room_board() if error.reason in _REFUSALS else error) from None

    async def _check(self, pin: str) -> bool:
        token = await self._upstreams.service_token.get()
        request = GetRoomRequest(pin=pin)
        try:
            response = await call(self._upstreams.room.GetRoom, request, token=token, timeout=CHECK_SECONDS)
        except ServiceError as error:
            if error.reason in _REFUSALS:
                raise
            _log.warning("room not checked", reason=error.reason)
            return False
        return bool(response.frame.phase == ROOM_PHASE_ENDED)

    def _checked(self, pin: str, task: asyncio.Task[bool]) -> None:
        del self._checks[pin]
        if not task.cancelled():
            task.exception()  # seen, also if every client has left


def room_board(room_id: str) -> str:
    """Return the canonical name of the board of a room, whose ID may be in capitals."""
    return f"{BOARD_PREFIX}{canonical_id(room_id)}"


def is_room_board(board: str) -> bool:
    """Whether a name is of the form `room:<room id>`, which is the board of a room if there is that room."""
    return board.startswith(BOARD_PREFIX)


def room_of(board: str) -> str:
    """Return the room's ID in the name of its board; empty for a text that is no ID."""
    room_id = board.removeprefix(BOARD_PREFIX)
    return room_id if _ROOM_ID.fullmatch(room_id) else ""


def no_such_room_board() -> ServiceError:
    """Return the refusal of a board of a room that does not exist, or in which the caller takes no part."""
    message = "Board not found. The board of a room is for its players and hosts, until the room is deleted."
    return ServiceError(Reason.BOARD_NOT_FOUND, message)


def entry_of(place: RoomPlace) -> Entry:
    """Return a line of the board of a room as an entry: the player is the seat, under the name that they have in the room."""
    entry = place.entry
    # An erased player has no name.
    return Entry(
        rank=entry.rank,
        user_id=entry.seat_id,
        username=entry.nickname or ERASED,
        score=entry.points,
        gap_to_next=gap_of(place),
    )


def gap_of(place: RoomPlace) -> int | None:
    """Return the points to the line above; None for the first one."""
    return place.gap_to_next if place.HasField("gap_to_next") else None
