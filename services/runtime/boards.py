"""The boards in Redis: their names, keys and periods, and the number that a member is ranked by.

The contract between who writes the boards and who reads them. Pure: no clock, no store; the time is always handed in,
aware, and counted in UTC.

The value of a member is `points + tie` with tie in [0, 1): of equal points, who got there first is greater. With t the
time since the start of the board's period, T that period's length and b bits of resolution,

    tie = min(floor((1 - t/T) * 2^b), 2^b - 1) / 2^b        b = min(30, 52 - bit length of points)

so that points and tie together fit the 53 bits of a double exactly, and floor(value) is the points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["all", "weekly", "monthly", "country", "quiz", "custom"]

MAX_POINTS = 2**31 - 1
MAX_TEXT = 100
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
# About 34 years: the period of a board that has none.
ALL_TIME = timedelta(seconds=2**30)
GENERATION_KEY = "leaderboard:generation"
SCORE_CHANNEL = "score.events"

_WEEK = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)
_MONTH = _WEEK
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_QUIZ_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
# Name, country, and a week or a month; a week is told from a month by the W of ISO 8601.
_CUSTOM = re.compile(r"([a-z][a-z0-9-]{0,31})(?::([A-Z]{2}))?(?::([0-9]{4}-W?[0-9]{2}))?", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 2000, 9998
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """The stretch of time a board counts, from `starts_at` until just before `ends_at`."""

    starts_at: datetime
    ends_at: datetime
    time_zone: str = "UTC"


class Board(NamedTuple):
    """One board. `qualifier` is the period, country, quiz id, or what names a custom one; empty for all time.

    Made by `parse` or `boards_of`, which check it; the constructor does not. A tuple, because one is hashed several times
    for every event and board.
    """

    kind: Kind
    qualifier: str = ""

    @classmethod
    def parse(cls, text: str, now: datetime) -> Board:
        """The board that `text` names, a bare `weekly` or `monthly` being the one of `now`.

        `all`, `weekly`, `weekly:2026-47` (ISO year and week), `monthly`, `monthly:2026-11`, `country:VN`, `quiz:<id>`,
        and of operators' own boards what could be one (see `catalog`). Raises ValueError for anything else.
        """
        kind, colon, qualifier = text[: MAX_TEXT + 1].partition(":")
        if len(text) <= MAX_TEXT:
            if not colon and kind == "all":
                return cls("all")
            if not colon and kind == "weekly":
                return cls("weekly", week_of(now))
            if not colon and kind == "monthly":
                return cls("monthly", month_of(now))
            if kind == "weekly" and _week_start(qualifier) is not None:
                return cls("weekly", qualifier)
            if kind == "monthly" and _month_start(qualifier) is not None:
                return cls("monthly", qualifier)
            if kind == "country" and _COUNTRY.fullmatch(qualifier):
                return cls("country", qualifier)
            if kind == "quiz" and _QUIZ_ID.fullmatch(qualifier):
                return cls("quiz", qualifier)
            if kind == "custom" and custom_parts(qualifier) is not None:
                return cls("custom", qualifier)
        raise ValueError("no board has this name")

    @property
    def text(self) -> str:
        """The name: `weekly:2026-47`."""
        return f"{self.kind}:{self.qualifier}" if self.qualifier else self.kind

    @property
    def key(self) -> str:
        """The sorted set, or what the names of several begin with (see `split`)."""
        return f"leaderboard:{self.text}"


class CustomParts(NamedTuple):
    """What the qualifier of a custom board says; `country` and `period` are empty where it has none."""

    name: str
    country: str
    period: str


@lru_cache(maxsize=4096)
def custom_parts(qualifier: str) -> CustomParts | None:
    """The parts of `<name>[:<country>][:<period>]`, a period being `2026-W47` or `2026-11`; None for anything else.

    The numbers of a period are not checked: `period` is None of a board whose period there is not.
    """
    match = _CUSTOM.fullmatch(qualifier)
    return None if match is None else CustomParts(match[1], match[2] or "", match[3] or "")


@lru_cache(maxsize=4096)
def period(board: Board) -> Period | None:
    """What the board counts; None where that is all time."""
    if board.kind == "weekly":
        start = _week_start(board.qualifier)
        if start is not None:
            return _week(start)
    elif board.kind == "monthly":
        start = _month_start(board.qualifier)
        if start is not None:
            return _month(start)
    elif board.kind == "custom":
        parts = custom_parts(board.qualifier)
        return _period_of(parts.period) if parts is not None and parts.period else None
    return None


def week_of(at: datetime) -> str:
    """The ISO year and week of a time: `2026-47`."""
    year, week, _ = _utc(at).isocalendar()
    return f"{year:04}-{week:02}"


def month_of(at: datetime) -> str:
    """The month of a time: `2026-11`."""
    return f"{_utc(at):%Y-%m}"


def boards_of(at: datetime, country: str, quiz_id: str) -> tuple[Board, ...]:
    """All boards that an event moves: all, its week, its month, and the country's and the quiz's where there is one.

    `at` is the server's time of the event. Raises ValueError for a country or quiz id that can't be one.
    """
    boards = [Board("all"), Board("weekly", week_of(at)), Board("monthly", month_of(at))]
    if country:
        boards.append(Board.parse(f"country:{country}", at))
    if quiz_id:
        boards.append(Board.parse(f"quiz:{quiz_id}", at))
    return tuple(boards)


def encode(points: int, reached_at: datetime, board: Board) -> float:
    """The value of a member with `points` (1 to 2^31 - 1) who reached them at `reached_at`.

    More points are always a greater value; of equal points the earlier time is greater or, within the resolution,
    equal. A time outside of the board's period counts as its nearest end. Raises ValueError for points out of bounds.
    """
    return encode_us(points, (_utc(reached_at) - _UNIX) // _MICROSECOND, board)


def encode_us(points: int, reached_at: int, board: Board) -> float:
    """As `encode`, for who counts time in microseconds since 1970 and encodes a million members."""
    if not 1 <= points <= MAX_POINTS:
        raise ValueError("points are out of bounds")
    # In whole microseconds, so that nothing is rounded before the floor.
    starts_at, whole = _scale(board)
    bits = min(30, 52 - points.bit_length())
    left = whole + starts_at - reached_at
    if left >= whole:
        tie = (1 << bits) - 1
    elif left <= 0:
        tie = 0
    else:
        tie = (left << bits) // whole
    return points + tie / (1 << bits)


@lru_cache(maxsize=4096)
def _scale(board: Board) -> tuple[int, int]:
    """Start and length of what the board counts, in microseconds, the start since 1970."""
    counted = period(board)
    starts_at, length = (counted.starts_at, counted.ends_at - counted.starts_at) if counted else (EPOCH, ALL_TIME)
    return (starts_at - _UNIX) // _MICROSECOND, length // _MICROSECOND


def points_of(value: float) -> int:
    """The points in a member's value."""
    return int(value // 1)


def _week(start: datetime) -> Period:
    return Period(start, start + timedelta(days=7))


def _month(start: datetime) -> Period:
    return Period(start, (start + timedelta(days=31)).replace(day=1))


def _period_of(name: str) -> Period | None:
    """The period that `2026-W47` or `2026-11` names."""
    start = _week_start(name.replace("W", "")) if "W" in name else _month_start(name)
    if start is None:
        return None
    return _week(start) if "W" in name else _month(start)


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at.astimezone(UTC)


def _week_start(qualifier: str) -> datetime | None:
    match = _WEEK.fullmatch(qualifier)
    if match is None or not _FIRST_YEAR <= int(match[1]) <= _LAST_YEAR:
        return None
    try:
        monday = date.fromisocalendar(int(match[1]), int(match[2]), 1)
    except ValueError:
        return None
    return datetime(monday.year, monday.month, monday.day, tzinfo=UTC)


def _month_start(qualifier: str) -> datetime | None:
    match = _MONTH.fullmatch(qualifier)
    if match is None or not _FIRST_YEAR <= int(match[1]) <= _LAST_YEAR or not 1 <= int(match[2]) <= 12:
        return None
    return datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)
