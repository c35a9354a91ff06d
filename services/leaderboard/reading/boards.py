"""Reading a board from where it is: in Redis while it is live, in MongoDB once its period is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from redis.asyncio import Redis

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.existence import Existence, existence_of
from services.boards.periods.freezing import source_of
from services.leaderboard.reading.archive import Archive
from services.leaderboard.reading.deadline import Deadline
from services.leaderboard.reading.live_board import LiveBoard, MovedError
from services.leaderboard.reading.results import UnreadableError
from services.leaderboard.reading.roster_board import Rankings, RosterBoard, Selection, TeamView
from services.leaderboard.reading.scripts import BoardScripts
from services.leaderboard.reading.shown_board import shown
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.redis import REDIS_ERRORS

if TYPE_CHECKING:
    from services.boards.definition import Definition
    from services.boards.periods.period import Period
    from services.leaderboard.reading.archive import ArchivedBoard
    from services.leaderboard.reading.rosters import Rosters
    from services.leaderboard.reading.shown_board import BoardView

# More concurrent reads do not make one Redis server faster. The others wait, within their time limit.
MAX_CONCURRENT: Final = 32
T = TypeVar("T")


class Boards:
    """All boards. The catalog's sharding applies until Redis is read, which stores that of the current generation.

    `sees_team_of` says whether the caller may learn the team of the player with an id.
    """

    def __init__(
        self,
        redis: Redis,
        archive: Archive,
        catalog: Catalog,
        rosters: Rosters,
        *,
        sees_team_of: Callable[[str], bool],
        timeout: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._scripts = BoardScripts(redis, catalog.sharding, timeout)
        self._catalog = catalog
        self._archive = archive
        self._rosters = rosters
        self._rankings = Rankings()
        self._sees_team_of = sees_team_of
        self._timeout = timeout.total_seconds()
        self._now = now
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def read(self, board: Board, query: Callable[[BoardView], Awaitable[T]]) -> T:
        """Return the result of `query` on the board as its definition shows it. All reads of a query see one state.

        While the board is frozen, that is the state at the freeze: nothing that reads a board gets around this. While it is
        being built, the view is partial: players may be missing.

        `query` runs again if the board changes in between, so it must have no effects. Raises UnreadableError, after
        `timeout` at the latest.
        """
        definition, period, now = self._catalog.definition_of(board), self._catalog.period_of(board), self._now()
        source, step = source_of(self._catalog, board, now)
        counted = self._catalog.definition_of(source)
        is_partial = counted is not None and counted.state == "building"
        view = await self._view_of(definition, period, step)
        is_archived = definition is not None and definition.state == "archived"
        if is_archived or (period is not None and period.ends_at <= now):
            archived = await self._archive.find(board)
            if archived is not None:
                return await self._archive.read(query(view(archived)))
        result = await self._read_live(source, lambda live: query(view(live)), is_partial=is_partial)
        # Between the two reads the board may have been archived and its keys deleted.
        if is_archived and (archived := await self._archive.find(board)) is not None:
            return await self._archive.read(query(view(archived)))
        return result

    async def read_marked(self, board: Board, query: Callable[[BoardView], Awaitable[T]]) -> tuple[T, bool]:
        """Read as `read`; return the result, and whether it is of a board that is being built."""

        async def ask(view: BoardView) -> tuple[T, bool]:
            return await query(view), view.is_partial

        return await self.read(board, ask)

    async def _view_of(
        self, definition: Definition | None, period: Period | None, step: int
    ) -> Callable[[LiveBoard | ArchivedBoard], BoardView]:
        """Return what makes a view of the board, as its definition shows it, from where it is. Raises UnreadableError."""
        if definition is None or not definition.has_roster:
            return lambda board: shown(board, definition, step)
        end = None if period is None else period.ends_at
        roster = (await self._rosters.of(definition)).until(end).until(definition.archived_at)
        selection = Selection(roster, definition.teams, definition.is_ascending)

        def view(board: LiveBoard | ArchivedBoard) -> BoardView:
            ranked = RosterBoard(board, selection, self._rankings)
            of_readers = shown(ranked, definition, step)
            return of_readers if definition.teams is None else TeamView(ranked, of_readers, roster, self._sees_team_of)

        return view

    async def _read_live(self, board: Board, query: Callable[[LiveBoard], Awaitable[T]], *, is_partial: bool) -> T:
        try:
            with Deadline(self._timeout):
                async with self._slots:
                    while True:
                        try:
                            return await query(LiveBoard(self._scripts, board, is_partial=is_partial))
                        except MovedError:
                            continue
        except REDIS_ERRORS as error:
            raise UnreadableError(f"Redis failed: {type(error).__name__}") from error
        except (ValueError, TypeError) as error:
            raise UnreadableError("unexpected data in Redis") from error


def requested_board(catalog: Catalog, name: str, now: datetime) -> Board:
    """Return the board that a request names; an empty name is `all`.

    Raises BOARD_NOT_FOUND, and UNAVAILABLE for a custom board while the definitions are not read yet.
    """
    try:
        board = catalog.parse(name or "all", now)
    except ValueError:
        if name.startswith("custom:") and not catalog.is_complete:
            raise ServiceError(Reason.UNAVAILABLE, "The definitions of boards are not read yet. Try again.") from None
        raise no_such_board(name) from None
    if existence_of(catalog, board, now) is Existence.NO:
        raise no_such_board(name)
    return board


def no_such_board(name: str) -> ServiceError:
    """Return the error for a board that does not exist."""
    message = f"No board is named {name[:100]!r}."
    if name.startswith("room:"):
        message = "The board of a room is read from topten.room.v1.RoomService/GetRoomBoard, or at the edge."
    return ServiceError(Reason.BOARD_NOT_FOUND, message, violations=[("board", message)])
