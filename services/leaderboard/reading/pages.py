"""What questions about a board return: entries of players or teams, and pages of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame

from services.boards.board import Board
from services.boards.encoding import points_of
from services.leaderboard.ranking import Ranked, gap, ranked
from services.leaderboard.reading.frames import entry_of
from services.leaderboard.reading.names import Name
from services.leaderboard.reading.results import Standing, Window


@dataclass(frozen=True, slots=True)
class Page:
    """Entries with their cursors, the requested player's entry, and the number of ranked players."""

    board: Board
    total: int
    entries: Sequence[tuple[Entry, str]]
    next_token: str
    own: Entry | None
    stale: bool


@dataclass(frozen=True, slots=True)
class ClosedPeriod:
    """A board whose period is closed, the number of ranked players, when it was closed, and its cursor."""

    board: Board
    total: int
    closed_at: datetime
    cursor: str


def stale_page(board: Board, frame: Frame, size: int, user_id: str) -> Page:
    """Return the first page that the last frame of a board gives."""
    own = next((entry for entry in frame.entries if entry.user_id == user_id), None)
    return Page(board, len(frame.entries), [(entry, "") for entry in frame.entries[:size]], "", own, stale=True)


def entries_of(window: Window, names: Mapping[str, Name], *, ascending: bool) -> list[Entry]:
    """Return the entries of a window; `ascending` where less is better."""
    places = ranked(window.members, window.first, window.above, ascending=ascending, shared_ranks=window.shared_ranks)
    return [
        entry_of(
            place,
            names[place.user_id],
            window.previous_ranks.get(place.user_id),
            window.metadata.get(place.user_id, ""),
        )
        for place in places
    ]


def entry_with(standing: Standing, member_id: str, name: Name, *, ascending: bool) -> Entry:
    """Return the entry of one member of a board, by its standing."""
    points = points_of(standing.value, ascending=ascending)
    place = Ranked(standing.shown_rank, member_id, points, gap(standing.value, standing.above))
    return entry_of(place, name, standing.previous_rank, standing.metadata)
