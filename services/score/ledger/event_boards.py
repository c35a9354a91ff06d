"""The periods and boards of an event, cached by day. Pure: times are milliseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from services.boards.board import Board, boards_of, period_of
from services.runtime.clock import milliseconds_of

DAY_MS = 86_400_000
# The years 2001 to 9997: a week or month at either end still has a name.
_EARLIEST, _LATEST = (milliseconds_of(datetime(year, 1, 1, tzinfo=UTC)) for year in (2001, 9998))


def periods_of(at: int) -> tuple[str, str]:
    """Return the week and the month of a time, as boards name them. Raises ValueError outside the years 2001 to 9997."""
    if not _EARLIEST <= at < _LATEST:
        raise ValueError("the time is out of range")
    return _periods_of_day(at // DAY_MS)


def period_ends(at: int) -> tuple[int, int]:
    """Return when the week and the month of a time end."""
    return _period_ends_of_day(at // DAY_MS)


def boards_at(at: int, country: str, quiz_id: str) -> tuple[Board, ...]:
    """Return every built-in board of an event at this time. Raises ValueError for an invalid country or quiz id."""
    return _boards_of_day(at // DAY_MS, country, quiz_id)


@lru_cache(maxsize=4096)
def _periods_of_day(day: int) -> tuple[str, str]:
    _, week, month = boards_of(_datetime(day), "", "")
    return week.qualifier, month.qualifier


@lru_cache(maxsize=4096)
def _period_ends_of_day(day: int) -> tuple[int, int]:
    week, month = map(period_of, boards_of(_datetime(day), "", "")[1:])
    assert week is not None, "a weekly board has a period"
    assert month is not None, "a monthly board has a period"
    return milliseconds_of(week.ends_at), milliseconds_of(month.ends_at)


@lru_cache(maxsize=65_536)
def _boards_of_day(day: int, country: str, quiz_id: str) -> tuple[Board, ...]:
    return tuple(map(_shared, boards_of(_datetime(day), country, quiz_id)))


@lru_cache(maxsize=65_536)
def _shared(board: Board) -> Board:
    """Return the same object for equal boards, so that a dictionary lookup compares no text."""
    return board


def _datetime(day: int) -> datetime:
    return datetime.fromtimestamp(day * 86_400, UTC)
