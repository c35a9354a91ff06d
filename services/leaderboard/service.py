"""The use cases of leaderboard, one method a verb."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.encoding import MAX_POINTS, mirrored, points_of
from services.boards.existence import Existence, existence_of
from services.boards.periods.closed import series_of
from services.boards.periods.freezing import frozen_since
from services.boards.periods.period import Period
from services.boards.visibility import is_public
from services.leaderboard.reading.boards import no_such_board, requested_board
from services.leaderboard.reading.frames import cut, entry_of, names_of
from services.leaderboard.reading.groups import ranked_members
from services.leaderboard.reading.pages import ClosedPeriod, Page, entries_of, entry_with, stale_page
from services.leaderboard.reading.proofs import NotClosedError, NotRankedError, NotSealedError
from services.leaderboard.reading.results import Standing, UnreadableError, Window
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.grpc.call_context import caller
from services.runtime.page_tokens import invalid_page_token, list_of, page_token, read_page_token

if TYPE_CHECKING:
    from services.boards.caller_groups import CallerGroups
    from services.boards.definition import Ranks
    from services.boards.group_members import GroupMembers
    from services.leaderboard.reading.archive import Archive
    from services.leaderboard.reading.boards import Boards
    from services.leaderboard.reading.frames import Frames
    from services.leaderboard.reading.names import Name, Names
    from services.leaderboard.reading.proofs import Proof, Proofs
    from services.leaderboard.reading.shown_board import BoardView
    from services.leaderboard.watching.watches import Watches

DEFAULT_LIMIT: Final = 10
DEFAULT_RADIUS: Final = 5
DEFAULT_PERIODS: Final = 20
T = TypeVar("T")


class LeaderboardService:
    """The queries of boards.

    A board is given by name; an empty one is `all`. An impossible name raises BOARD_NOT_FOUND, and so does a board that the
    caller may not read, as `visibility` says; a board on which nobody is ranked is empty. While a board cannot be read,
    queries that its last frame does not cover raise UNAVAILABLE. Results from a board that is being built have `stale` set.
    """

    def __init__(
        self,
        boards: Boards,
        archive: Archive,
        proofs: Proofs,
        frames: Frames,
        names: Names,
        groups: GroupMembers,
        watches: Watches,
        catalog: Catalog,
        caller_groups: CallerGroups,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._caller_groups = caller_groups
        self._boards = boards
        self._archive = archive
        self._proofs = proofs
        self._frames = frames
        self._names = names
        self._groups = groups
        self._watches = watches
        self._catalog = catalog
        self._now = now

    async def leaderboard(self, name: str, limit: int) -> tuple[Frame, Board]:
        """Return the first `limit` ranks (1 to 100, 0 means 10), from memory if the board is watched.

        If the board cannot be read, return its last frame, marked stale, which may have fewer ranks. Raises UNAVAILABLE
        if there is none.
        """
        limit = limit or DEFAULT_LIMIT
        board = await self._board(name)
        frame = self._watches.current(board, limit)
        if frame is None:
            try:
                frame = (await self._frames.read(board, limit)).frame
            except UnreadableError as error:
                frame = self._last_frame(board, error)
        return cut(frame, limit), board

    async def ranks(
        self, name: str, user_ids: Sequence[str], *, public_only: bool = False
    ) -> tuple[list[Entry], list[str], bool]:
        """Return the entries of the ranked players, by rank, the ids of the others, and `stale`.

        If `public_only`, a board that not everybody may read raises BOARD_NOT_FOUND.
        """
        board = await self._board(name)
        if public_only and not is_public(self._catalog, board):
            raise no_such_board(name)
        standings, stale = await self._read(board, lambda view: view.standings(user_ids))
        # On a board that ranks teams, players keep their names, and their teams have titles.
        titles = {user_id: each.team[1] for user_id, each in standings.items() if each.team and each.team[0] == user_id}
        names = {**await self._names.of(standings.keys() - titles), **(await names_of(self._names, titles, titles))}
        entries = [
            self._own_entry(board, user_id, standing, names[user_id])
            for user_id, standing in sorted(standings.items(), key=lambda item: item[1].rank)
        ]
        return entries, [user_id for user_id in user_ids if user_id not in standings], stale

    async def page(self, name: str, size: int, token: str, user_id: str) -> Page:
        """Return `size` entries (1 to 100, 0 means 10) after the page token, and the entry of `user_id`.

        If the board cannot be read, its last frame serves as the first page. Raises CURSOR_EXPIRED, INVALID_ARGUMENT.
        """
        size = size or DEFAULT_LIMIT
        board = await self._board(name)
        position = read_page_token(token, board.name, float, str)
        after = None if position is None else (position[1], position[0])

        async def read(view: BoardView) -> tuple[Window, Standing | None]:
            window = await view.page(size, after)
            return window, (await view.standings([user_id])).get(user_id) if user_id else None

        try:
            (window, standing), stale = await self._boards.read_marked(board, read)
        except UnreadableError as error:
            if after is not None:
                raise _unavailable() from error
            return stale_page(board, self._last_frame(board, error), size, user_id)
        own_id = standing.team[0] if standing is not None and standing.team else user_id
        member_ids = [member for member, _ in window.members] + ([own_id] if standing else [])
        names = await names_of(self._names, member_ids, window.titles)
        cursors = [page_token(board.name, value, member) for member, value in window.members]
        has_more = window.members and window.first + len(window.members) <= window.total
        return Page(
            board=board,
            total=window.total,
            entries=list(zip(self._entries(board, window, names), cursors, strict=True)),
            next_token=cursors[-1] if has_more else "",
            own=None if standing is None else self._own_entry(board, own_id, standing, names[own_id]),
            stale=stale,
        )

    async def group(
        self, group_id: str, name: str, size: int, token: str, user_id: str, *, viewer_id: str
    ) -> tuple[Page, int]:
        """Return a page of the board of a group, `size` (1 to 500, 0 means 10) after the token, and the number of members.

        The page's total is the number of ranked members. Raises GROUP_NOT_FOUND unless `viewer_id` is a member or empty;
        CURSOR_EXPIRED, INVALID_ARGUMENT, also for a board that ranks teams.
        """
        board = await self._board(name)
        self._refuse_teams(board, "Members of a group are compared on boards that rank players.")
        listing = f"group {group_id} {board.name}"
        after = read_page_token(token, listing, float, str)
        members = await self._groups.of(group_id, viewer_id)
        standings, stale = await self._read(board, lambda view: view.standings(members))
        places = ranked_members(standings, ascending=self._catalog.is_ascending(board), ranks=self._ranks_of(board))
        own = next((place for place in places if place.user_id == user_id), None)
        following = [each for each in places if after is None or (standings[each.user_id].value, each.user_id) < after]
        shown = following[: size or DEFAULT_LIMIT]
        names = await self._names.of({place.user_id for place in (*shown, *filter(None, [own]))})
        cursors = [page_token(listing, standings[place.user_id].value, place.user_id) for place in shown]
        entries = [
            entry_of(place, names[place.user_id], None, standings[place.user_id].metadata)
            for place in (*shown, *filter(None, [own]))
        ]
        return Page(
            board=board,
            total=len(places),
            entries=list(zip(entries, cursors, strict=False)),
            next_token=cursors[-1] if len(following) > len(shown) else "",
            own=None if own is None else entries[-1],
            stale=stale,
        ), len(members)

    async def around(self, name: str, user_id: str, radius: int) -> Page:
        """Return the player among `radius` neighbors (1 to 50, 0 means 5) on each side; see `LiveBoard.around`."""
        board = await self._board(name)
        window, stale = await self._read(board, lambda view: view.around(user_id, radius or DEFAULT_RADIUS))
        names = await names_of(self._names, [member for member, _ in window.members], window.titles)
        entries = [(entry, "") for entry in self._entries(board, window, names)]
        return Page(board, window.total, entries, "", None, stale)

    async def standing(self, name: str, user_id: str) -> tuple[Standing | None, int, bool]:
        """Return the player's standing, None if they have none, the number of ranked players, and `stale`."""

        async def read(view: BoardView) -> tuple[int, Standing | None]:
            return await view.total(), (await view.standings([user_id])).get(user_id)

        (total, standing), stale = await self._read(await self._board(name), read)
        return standing, total, stale

    async def score_for_percentile(self, name: str, percentile: float) -> tuple[int | None, int, bool]:
        """Return the score that a percentile takes, None on an empty board, the number of ranked players, and `stale`.

        It is the lowest, or where less is better the highest, that has at least this percentile.
        """
        board = await self._board(name)
        (value, total), stale = await self._read(board, lambda view: view.quantile(percentile))
        return (None if value is None else self.points(board, value)), total, stale

    async def rank_if_score(self, name: str, points: int, user_id: str) -> tuple[int, int, bool]:
        """Return the rank of `points` (1 to 2^31 - 1) reached now, behind equals, how many are ranked, and `stale`."""
        board = await self._board(name)
        # Below the value of everybody who has these points, in every encoding.
        stored = mirrored(points) if self._catalog.is_ascending(board) else points
        (ahead, total), stale = await self._read(board, lambda view: view.ahead(float(stored), user_id))
        return ahead + 1, total, stale

    async def boards(self) -> list[tuple[Board, int, bool]]:
        """Return the current boards that the caller may read, the number of players ranked on each, and `stale` of each."""
        boards = await self._readable(self._catalog.current(self._now()))
        return [(board, *await self._read(board, lambda view: view.total())) for board in boards]

    async def closed_periods(self, name: str, size: int, token: str) -> tuple[list[ClosedPeriod], str]:
        """Return the closed periods of a board, the latest first, `size` (1 to 50, 0 means 20) after the page token.

        A period in the name is ignored. With the token of the next page. Raises INVALID_ARGUMENT for a board without
        periods, CURSOR_EXPIRED.
        """
        size = size or DEFAULT_PERIODS
        board = await self._board(name)
        if self._catalog.period_of(board) is None:
            raise invalid("board", f"{board.name!r} has no periods", "The board has no periods.")
        series = series_of(board)
        listing = f"closed:{series}"
        position = read_page_token(token, listing, str)
        before = None if position is None else _end_of_period(position[0])
        closed = await _available(self._archive.closed(series, before, size + 1))
        periods = []
        for each in closed[:size]:
            period = Board.parse(each.name, self._now())
            cursor = page_token(listing, each.ends_at.date().isoformat())
            periods.append(ClosedPeriod(period, await self._ranked_on(period, each.players), each.closed_at, cursor))
        return periods, (periods[-1].cursor if len(closed) > size else "")

    async def proof(self, name: str, user_id: str) -> tuple[Board, Proof]:
        """Return the proof of a player's place on a closed board.

        Raises INVALID_ARGUMENT for a board that is not closed or is one of groups, BOARD_NOT_FOUND for a past period in which
        nobody was ranked, PLAYER_NOT_FOUND for a player without a place, and UNAVAILABLE until the board is sealed.
        """
        board = await self._board(name)
        self._refuse_teams(board, "Only places of players have proofs.")
        if self._catalog.has_roster(board):
            raise _no_proof("The board shows the members of a group. Only places among all players have proofs.")
        if self._catalog.period_of(board) is None:
            raise _no_proof(f"{board.name!r} has no periods. Only boards of closed periods have proofs.")
        try:
            proof = await _available(self._proofs.of(board, user_id))
            if not self._has_place(board, proof.rank):
                raise NotRankedError
            return board, proof
        except NotClosedError:
            if existence_of(self._catalog, board, self._now()) is Existence.IF_RANKED:
                _, total, stale = await self.standing(name, "")
                if not total and not stale:
                    raise no_such_board(name) from None
            raise _no_proof("The period is not closed yet.") from None
        except NotRankedError:
            message = "The player has no place on this board."
            raise ServiceError(Reason.PLAYER_NOT_FOUND, message, violations=[("user_id", message)]) from None
        except NotSealedError:
            raise ServiceError(Reason.UNAVAILABLE, "The board is being sealed. Try again in a minute.") from None

    async def export(
        self, user_id: str, names: Sequence[str], token: str
    ) -> tuple[list[tuple[Board, Standing, bool]], list[tuple[Board, Standing]], str]:
        """Return a player's standings on boards, each with `stale`, those in a page of closed periods, and its next token."""
        standings = []
        for board in await self._readable([requested_board(self._catalog, name, self._now()) for name in names]):
            found, stale = await self._read(board, lambda view: view.standings([user_id]))
            if user_id in found:
                standings.append((board, found[user_id], stale))
        listing = list_of("closed", user_id)
        position = read_page_token(token, listing, str)
        places, last = await _available(self._archive.standings_of(user_id, "" if position is None else position[0]))
        place_on = {Board.parse(name, self._now()): place for name, place in places}
        closed = [
            (board, shown)
            for board in await self._readable(list(place_on))
            if (shown := await self._shown_place(board, user_id, place_on[board])) is not None
        ]
        return standings, closed, page_token(listing, last) if last else ""

    def points(self, board: Board, value: float) -> int:
        """Return the points of a value on a board."""
        return points_of(value, ascending=self._catalog.is_ascending(board))

    def period(self, board: Board) -> Period | None:
        """Return the period of a board; None for all time."""
        return self._catalog.period_of(board)

    def title_of(self, board: Board) -> str:
        """Return the title of a defined board; empty if it has none, or is another."""
        return self._catalog.title_of(board)

    def ranks_teams(self, board: Board) -> bool:
        """Whether the entries of a board are teams."""
        return self._catalog.ranks_teams(board)

    def frozen_since(self, board: Board | str) -> datetime | None:
        """Return since when a board, which was read, shows no later standings; None if it shows the latest."""
        board = requested_board(self._catalog, board, self._now()) if isinstance(board, str) else board
        return frozen_since(self._catalog, board, self._now())

    def _entries(self, board: Board, window: Window, names: Mapping[str, Name]) -> list[Entry]:
        return entries_of(window, names, ascending=self._catalog.is_ascending(board))

    def _own_entry(self, board: Board, member_id: str, standing: Standing, name: Name) -> Entry:
        return entry_with(standing, member_id, name, ascending=self._catalog.is_ascending(board))

    async def require_readable(self, name: str) -> None:
        """Raise BOARD_NOT_FOUND for a board that the caller may not read, or that does not exist."""
        await self._board(name)

    async def _board(self, name: str) -> Board:
        board = requested_board(self._catalog, name, self._now())
        if not await self._readable([board]):
            raise no_such_board(name)
        return board

    async def _readable(self, boards: Sequence[Board]) -> list[Board]:
        return await self._caller_groups.readable(self._catalog, boards, caller())

    def _refuse_teams(self, board: Board, why: str) -> None:
        if self._catalog.ranks_teams(board):
            message = f"The board ranks teams. {why}"
            raise invalid("board", message, message)

    def _ranks_of(self, board: Board) -> Ranks:
        definition = self._catalog.definition_of(board)
        return "unique" if definition is None else definition.ranks

    async def _shown_place(self, board: Board, user_id: str, place: Standing) -> Standing | None:
        """Return the entry that a closed board shows for a player with this place on it; None if it shows none."""
        if self._catalog.has_roster(board):
            return await self._standing_on(board, user_id)
        if not self._has_place(board, place.rank):
            return None
        # Where equal points share a rank, the board knows it.
        return place if self._ranks_of(board) == "unique" else await self._standing_on(board, user_id) or place

    async def _ranked_on(self, board: Board, players: int) -> int:
        """Return how many players or teams are ranked on a closed board."""
        definition = self._catalog.definition_of(board)
        if definition is not None and definition.has_roster:
            return (await self._read(board, lambda view: view.total()))[0]
        return min(players, definition.size if definition is not None and definition.size else MAX_POINTS)

    def _has_place(self, board: Board, rank: int) -> bool:
        definition = self._catalog.definition_of(board)
        return definition is None or not definition.size or rank <= definition.size

    async def _standing_on(self, board: Board, user_id: str) -> Standing | None:
        return (await self._read(board, lambda view: view.standings([user_id])))[0].get(user_id)

    async def _read(self, board: Board, question: Callable[[BoardView], Awaitable[T]]) -> tuple[T, bool]:
        return await _available(self._boards.read_marked(board, question))

    def _last_frame(self, board: Board, error: UnreadableError) -> Frame:
        frame = self._frames.last(board)
        if frame is None:
            raise _unavailable() from error
        return frame


def _end_of_period(date: str) -> datetime:
    try:
        return datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise invalid_page_token() from None


async def _available(read: Awaitable[T]) -> T:
    try:
        return await read
    except UnreadableError as error:
        raise _unavailable() from error


def _no_proof(message: str) -> ServiceError:
    return invalid("board", message, message)


def _unavailable() -> ServiceError:
    return ServiceError(Reason.UNAVAILABLE, "The boards cannot be read at the moment. Try again in a few seconds.")
