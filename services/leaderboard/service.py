"""The use cases of leaderboard, one method a verb."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from services.leaderboard.cursors import cursor_of, member_of
from services.leaderboard.frames import cut, entry_of
from services.leaderboard.head import UnreadableError
from services.leaderboard.ranking import Ranked, ranked
from services.runtime.boards import Board, encode, period, points_of
from services.runtime.catalog import Catalog
from services.runtime.closed import series_of
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.leaderboard.boards import Place, Window
    from services.leaderboard.closed import ClosedBoards
    from services.leaderboard.frames import Frames
    from services.leaderboard.names import Names
    from services.leaderboard.shelf import Reader
    from services.leaderboard.watches import Watches

DEFAULT_LIMIT: Final = 10
DEFAULT_RADIUS: Final = 5
DEFAULT_PERIODS: Final = 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Entries with what follows each, the entry of whoever was asked for, and how many players are ranked."""

    board: Board
    total: int
    entries: Sequence[tuple[Entry, str]]
    next_token: str
    own: Entry | None
    stale: bool


@dataclass(frozen=True, slots=True)
class ClosedPeriod:
    """A board whose period is closed, how many were ranked, since when it is kept, and what follows it."""

    board: Board
    total: int
    closed_at: datetime
    cursor: str


class LeaderboardService:
    """Reading boards, and watching them. A board is named as text; empty is `all`. A name that can be none raises
    BOARD_NOT_FOUND, one that nobody is ranked on is an empty board. What needs more than the last frame raises
    UNAVAILABLE while the boards can't be read: who is not found then might be there.
    """

    def __init__(
        self,
        boards: Reader,
        closed: ClosedBoards,
        frames: Frames,
        names: Names,
        watches: Watches,
        catalog: Catalog,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._boards = boards
        self._closed = closed
        self._frames = frames
        self._names = names
        self._watches = watches
        self._catalog = catalog
        self._now = now

    async def leaderboard(self, text: str, limit: int) -> tuple[Frame, Board]:
        """The first `limit` places (1 to 100, 0 is 10) of a board as it is now, from memory where it is watched.

        If it can't be read, the last frame that was, marked stale, perhaps with fewer places. Raises UNAVAILABLE if
        there is none.
        """
        limit = limit or DEFAULT_LIMIT
        board = self._board(text)
        frame = self._watches.current(board, limit)
        if frame is None:
            try:
                frame = (await self._frames.read(board, limit)).frame
            except UnreadableError as error:
                frame = self._last(board, error)
        return cut(frame, limit), board

    def watch(self, text: str) -> AsyncGenerator[Frame, None]:
        """The board's frames: see `Watches.frames`. While there is none to send, nothing is sent."""
        return self._watches.frames(text or "all")

    async def ranks(self, text: str, user_ids: Sequence[str]) -> tuple[list[Entry], list[str]]:
        """The entries of those who are ranked, by rank, and the ids of the others."""
        places = await _read(self._boards.places(self._board(text), user_ids))
        names = await self._names.of(places)
        entries = [
            entry_of(_at(user_id, place), names[user_id], place.previous)
            for user_id, place in sorted(places.items(), key=lambda item: item[1].rank)
        ]
        return entries, [user_id for user_id in user_ids if user_id not in places]

    async def page(self, text: str, size: int, token: str, user_id: str) -> Page:
        """`size` places (1 to 100, 0 is 10) behind the token's, from the first without one, and the place of `user_id`.

        If the board can't be read, its last frame stands for the first page. Raises CURSOR_EXPIRED, INVALID_ARGUMENT.
        """
        size = size or DEFAULT_LIMIT
        board = self._board(text)
        after = member_of(board, token) if token else None
        try:
            window = await self._boards.page(board, size, after, user_id)
        except UnreadableError as error:
            if after is not None:
                raise _unavailable() from error
            return self._stale_page(board, self._last(board, error), size, user_id)
        entries, own = await self._entries(window, user_id)
        cursors = [cursor_of(board, member) for member in window.members]
        more = window.members and window.first + len(window.members) <= window.total
        return Page(
            board=board,
            total=window.total,
            entries=list(zip(entries, cursors, strict=True)),
            next_token=cursors[-1] if more else "",
            own=own,
            stale=False,
        )

    async def around(self, text: str, user_id: str, radius: int) -> tuple[Board, int, list[Entry]]:
        """The player among his neighbours, `radius` (1 to 50, 0 is 5) to each side; see `Boards.around`."""
        board = self._board(text)
        window = await _read(self._boards.around(board, user_id, radius or DEFAULT_RADIUS))
        return board, window.total, (await self._entries(window))[0]

    async def percentile(self, text: str, user_id: str) -> tuple[int | None, int]:
        """The player's rank, None if he has none, and how many are ranked; see `share`."""
        window = await _read(self._boards.page(self._board(text), 1, None, user_id))
        return (None if window.own is None else window.own.rank), window.total

    async def score_for_percentile(self, text: str, percentile: float) -> tuple[int | None, int]:
        """The least score with at least this percentile, None if nobody is ranked, and how many are."""
        value, total = await _read(self._boards.quantile(self._board(text), percentile))
        return (None if value is None else points_of(value)), total

    async def rank_if_score(self, text: str, points: int, user_id: str) -> tuple[int, int]:
        """The place of `points` (1 to 2^31 - 1) reached now, behind equals, and how many would be ranked without it."""
        board = self._board(text)
        ahead, total = await _read(self._boards.ahead(board, encode(points, self._now(), board), user_id))
        return ahead + 1, total

    async def boards(self) -> list[tuple[Board, int]]:
        """The boards that there is one of at a time, and how many are ranked on each."""
        found = []
        for board in self._catalog.current(self._now()):
            window = await _read(self._boards.page(board, 1, None, ""))
            found.append((board, window.total))
        return found

    async def closed(self, text: str, size: int, token: str) -> tuple[list[ClosedPeriod], str]:
        """The closed periods of the board that `text` names without one, the latest first, `size` (1 to 50, 0 is 20) behind
        the token's, and the token of the next page. Raises INVALID_ARGUMENT for a board that has no periods.
        """
        size = size or DEFAULT_PERIODS
        board = self._board(text)
        if period(board) is None:
            raise ServiceError(Reason.INVALID_ARGUMENT, "this board has no periods")
        before = _time_of(token) if token else None
        found = await _read(self._closed.listed(series_of(board), before, size + 1))
        periods = [
            ClosedPeriod(Board.parse(kept.text, self._now()), kept.players, kept.closed_at, _token_of(kept.ends_at))
            for kept in found[:size]
        ]
        return periods, (periods[-1].cursor if len(found) > size else "")

    async def export(
        self, user_id: str, texts: Sequence[str], token: str
    ) -> tuple[list[tuple[str, Place]], list[tuple[str, Place]], str]:
        """A player's places on boards, those in closed periods on a page of them, and the token of the next page."""
        places = []
        for board in map(self._board, texts):
            place = (await _read(self._boards.places(board, [user_id]))).get(user_id)
            if place is not None:
                places.append((board.text, place))
        closed, next_token = await _read(self._closed.places(user_id, token))
        return places, closed, next_token

    def _board(self, text: str) -> Board:
        return self._watches.board(text or "all")

    def _last(self, board: Board, error: UnreadableError) -> Frame:
        frame = self._frames.last(board)
        if frame is None:
            raise _unavailable() from error
        return frame

    def _stale_page(self, board: Board, frame: Frame, size: int, user_id: str) -> Page:
        entries = list(frame.entries[:size])
        own = next((entry for entry in frame.entries if entry.user_id == user_id), None)
        return Page(board, len(frame.entries), [(entry, "") for entry in entries], "", own, stale=True)

    async def _entries(self, window: Window, user_id: str = "") -> tuple[list[Entry], Entry | None]:
        """The entries of a window, and the one of `user_id`, whose place is the window's `own`."""
        names = await self._names.of([*(member for member, _ in window.members), *([user_id] if window.own else [])])
        entries = [
            entry_of(place, names[place.user_id], window.previous.get(place.user_id))
            for place in ranked(window.members, window.first)
        ]
        place = window.own
        return entries, None if place is None else entry_of(_at(user_id, place), names[user_id], place.previous)


def share(rank: int, total: int) -> float:
    """The percentile of a rank: the share of ranked players at or below it, itself included, above 0 to 100."""
    return 100 * (total - rank + 1) / total


def _at(user_id: str, place: Place) -> Ranked:
    return Ranked(place.rank, user_id, points_of(place.value))


def _token_of(ends_at: datetime) -> str:
    return ends_at.strftime("%Y%m%d")


def _time_of(token: str) -> datetime:
    """When the period ended that a page of closed periods begins behind. Raises INVALID_ARGUMENT."""
    try:
        if not token.isascii() or not token.isdigit():
            raise ValueError
        return datetime.strptime(token, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise ServiceError(Reason.INVALID_ARGUMENT, "the page token is none of this service") from None


async def _read(reading: Awaitable[T]) -> T:
    try:
        return await reading
    except UnreadableError as error:
        raise _unavailable() from error


def _unavailable() -> ServiceError:
    return ServiceError(Reason.UNAVAILABLE, "the boards can't be read at this moment")
