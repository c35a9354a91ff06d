"""The use cases of leaderboard, one method a verb."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Final

from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from services.leaderboard.frames import cut, entry_of
from services.leaderboard.head import UnreadableError
from services.leaderboard.ranking import Ranked
from services.runtime.boards import Board, points_of
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.leaderboard.boards import Boards
    from services.leaderboard.frames import Frames
    from services.leaderboard.names import Names
    from services.leaderboard.watches import Watches

DEFAULT_LIMIT: Final = 10
_UNREADABLE: Final = "the boards can't be read at this moment"


class LeaderboardService:
    """Reading boards, and watching them. A board is named as text; empty is `all`. A name that can be none raises
    BOARD_NOT_FOUND, one that nobody is ranked on is an empty board.
    """

    def __init__(self, boards: Boards, frames: Frames, names: Names, watches: Watches) -> None:
        self._boards = boards
        self._frames = frames
        self._names = names
        self._watches = watches

    async def leaderboard(self, text: str, limit: int) -> tuple[Frame, Board]:
        """The first `limit` places (1 to 100, 0 is 10) of a board as it is now, from memory where it is watched.

        If it can't be read, the last frame that was, marked stale, perhaps with fewer places. Raises UNAVAILABLE if
        there is none.
        """
        limit = limit or DEFAULT_LIMIT
        board = self._watches.board(text or "all")
        frame = self._watches.current(board, limit)
        if frame is None:
            try:
                frame = (await self._frames.read(board, limit)).frame
            except UnreadableError as error:
                frame = self._frames.last(board)
                if frame is None:
                    raise ServiceError(Reason.UNAVAILABLE, _UNREADABLE) from error
        return cut(frame, limit), board

    def watch(self, text: str) -> AsyncGenerator[Frame, None]:
        """The board's frames: see `Watches.frames`. While there is none to send, nothing is sent."""
        return self._watches.frames(text or "all")

    async def ranks(self, text: str, user_ids: Sequence[str]) -> tuple[list[Entry], list[str]]:
        """The entries of those who are ranked, by rank, and the ids of the others.

        Raises UNAVAILABLE while the boards can't be read: who is not found then might be.
        """
        board = self._watches.board(text or "all")
        try:
            places = await self._boards.places(board, user_ids)
        except UnreadableError as error:
            raise ServiceError(Reason.UNAVAILABLE, _UNREADABLE) from error
        names = await self._names.of(places)
        entries = [
            entry_of(Ranked(place.rank, user_id, points_of(place.value)), names[user_id], place.previous)
            for user_id, place in sorted(places.items(), key=lambda item: item[1].rank)
        ]
        return entries, [user_id for user_id in user_ids if user_id not in places]
