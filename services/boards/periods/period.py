"""Calendar periods of boards: ISO weeks and months, in UTC. Pure: the time is always passed in, with a time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_NUMBERED = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 2000, 9998


@dataclass(frozen=True, slots=True)
class Period:
    """The half-open interval [starts_at, ends_at) in which a board counts events."""

    starts_at: datetime
    ends_at: datetime
    time_zone: str = "UTC"


def week_of(at: datetime) -> str:
    """Return the ISO year and week of a time: `2026-47`."""
    year, week, _ = in_utc(at).isocalendar()
    return f"{year:04}-{week:02}"


def month_of(at: datetime) -> str:
    """Return the month of a time: `2026-11`."""
    return f"{in_utc(at):%Y-%m}"


def week(start: datetime) -> Period:
    """Return the week that starts at `start`."""
    return Period(start, start + timedelta(days=7))


def month(start: datetime) -> Period:
    """Return the month that starts at `start`."""
    return Period(start, (start + timedelta(days=31)).replace(day=1))


def parse_period(name: str) -> Period | None:
    """Return the period named `2026-W47` or `2026-11`; None if there is no such period."""
    start = week_start(name.replace("W", "")) if "W" in name else month_start(name)
    if start is None:
        return None
    return week(start) if "W" in name else month(start)


def in_utc(at: datetime) -> datetime:
    """Convert to UTC. Raises ValueError for a time without a time zone."""
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at.astimezone(UTC)


def week_start(qualifier: str) -> datetime | None:
    """Return when the ISO week `2026-47` starts; None if there is no such week."""
    match = _NUMBERED.fullmatch(qualifier)
    if match is None or not _FIRST_YEAR <= int(match[1]) <= _LAST_YEAR:
        return None
    try:
        monday = date.fromisocalendar(int(match[1]), int(match[2]), 1)
    except ValueError:
        return None
    return datetime(monday.year, monday.month, monday.day, tzinfo=UTC)


def month_start(qualifier: str) -> datetime | None:
    """Return when the month `2026-11` starts; None if there is no such month."""
    match = _NUMBERED.fullmatch(qualifier)
    if match is None or not _FIRST_YEAR <= int(match[1]) <= _LAST_YEAR or not 1 <= int(match[2]) <= 12:
        return None
    return datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)
