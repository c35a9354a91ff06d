"""Calendars of boards: into which periods a time zone's days, weeks, months or years divide time. Pure.

Days begin at midnight of an IANA time zone; where a change of the clock skips midnight, at the first moment of the day. A day
may therefore have 23 or 25 hours, or not exist. Periods are half-open: the next one starts when a period ends.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from services.boards.periods.period import Period, in_utc
from services.runtime.clock import milliseconds_of

MAX_DAYS: Final = 3660
# Years of which every zone has a name for each period.
_FIRST, _LAST = date(2000, 1, 3), date(9998, 12, 31)
_DAY: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
_WEEK: Final = re.compile(r"([0-9]{4})-W([0-9]{2})", re.ASCII)
_MONTH: Final = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)
_YEAR: Final = re.compile(r"[0-9]{4}", re.ASCII)
_REPEATED: Final = re.compile(r"every:([0-9]{1,4}):([0-9]{4}-[0-9]{2}-[0-9]{2})", re.ASCII)
_RECENT: Final = 64
_MINUTE: Final = timedelta(minutes=1)


class Calendar(NamedTuple):
    """A rule for periods in a zone: `all`, `daily`, `weekly`, `monthly`, `yearly`, `every:<days>:<date>`, `range:<a>/<b>`.

    `check` says whether the texts are valid; every other method expects that.
    """

    rule: str
    zone: str = "UTC"
    stops_before: int = 0
    """Seconds before the end of each period at which it stops counting; 0 for none."""

    @property
    def is_repeated(self) -> bool:
        """Whether one period follows another."""
        return self.rule != "all" and not self.rule.startswith("range:")

    def check(self) -> None:
        """Raise ValueError, with what is wrong, for a rule or a zone that does not exist."""
        try:
            # Files of the zone database that are no zones have names that no zone has: lower case, or a dot.
            if not re.fullmatch(r"[A-Z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+){0,2}", self.zone, re.ASCII):
                raise ValueError
            ZoneInfo(self.zone)
        except (ValueError, OSError, KeyError):
            raise ValueError(f"has the time zone {self.zone[:40]!r}, which does not exist") from None
        if self.rule in ("all", "daily", "weekly", "monthly", "yearly"):
            return
        if self.rule.startswith("range:"):
            bounds = _range(self)
            if bounds.ends_at <= bounds.starts_at:
                raise ValueError("has a range that ends before it starts")
            return
        match = _REPEATED.fullmatch(self.rule)
        if match is None or not 1 <= int(match[1]) <= MAX_DAYS or not _is_named(_date(match[2])):
            raise ValueError(
                f"has the period {self.rule[:40]!r}, which is none of all, daily, weekly, monthly, yearly, "
                "every:<days>:<date> and range:<start>/<end>"
            )

    def counts(self, at: int) -> bool:
        """Whether a time, in milliseconds since 1970, is in any period."""
        if self.rule.startswith("range:"):
            bounds = _range(self)
            is_in_period = milliseconds_of(bounds.starts_at) <= at < milliseconds_of(bounds.ends_at)
        else:
            is_in_period = not self.rule.startswith("every:") or at >= milliseconds_of(
                _start_of(self.zone, _repetition(self.rule)[1])
            )
        if not is_in_period or not self.stops_before:
            return is_in_period
        period = self.period(self.name_of(at))
        return period is not None and at < milliseconds_of(stops_at(period, self.stops_before))

    def name_of(self, at: int) -> str:
        """Return the name of the period of a time, in milliseconds; empty if there is only one period.

        `2026-11-28`, `2026-W48`, `2026-11` or `2026`; a repeated number of days has the name of its first. Names of one
        calendar sort by time.
        """
        if not self.is_repeated:
            return ""
        recent = _recent(self)
        index = bisect_right(recent.starts, at) - 1
        if index >= 0 and at < recent.ends[index]:
            return recent.names[index]
        local = datetime.fromtimestamp(at / 1000, UTC).astimezone(_zone(self.zone))
        name = _name(self.rule, _day_of(self.zone, local))
        period = self.period(name)
        if period is not None:
            recent.remember(name, milliseconds_of(period.starts_at), milliseconds_of(period.ends_at))
        return name

    def period(self, name: str) -> Period | None:
        """Return the period with this name; None for all time, and if there is no such period."""
        return _period(self, name)

    def edges(self, at: int) -> list[int]:
        """Return times between any two of which, if `at` is between them, it counts in one period, or not at all."""
        if self.rule == "all":
            return []
        if self.rule.startswith("every:"):
            first = milliseconds_of(_start_of(self.zone, _repetition(self.rule)[1]))
            if at < first:
                return [first]
        period = self.period(self.name_of(at))
        if period is None:
            return [at, at + 1]
        moments = (period.starts_at, stops_at(period, self.stops_before), period.ends_at)
        return [milliseconds_of(moment) for moment in moments]

    def latest_end(self, by: datetime) -> datetime | None:
        """Return when the latest period ended that was over by a time; None if none was."""
        if self.rule.startswith("range:"):
            ends_at = _range(self).ends_at
            return ends_at if ends_at <= by else None
        if self.rule == "all" or not self.counts(milliseconds_of(by)):
            return None
        period = self.period(self.name_of(milliseconds_of(by)))
        assert period is not None, "a time has a period"
        first = _start_of(self.zone, _repetition(self.rule)[1]) if self.rule.startswith("every:") else None
        return None if period.starts_at == first else period.starts_at


def stops_at(period: Period, seconds: int) -> datetime:
    """Return the moment this many seconds before the end of a period; not before its start."""
    return max(period.starts_at, period.ends_at - timedelta(seconds=seconds))


def nominal_seconds(calendar: Calendar) -> int | None:
    """Return how long the shortest period is, without changes of the clock; None for all time. The calendar must be valid."""
    if calendar.rule.startswith("range:"):
        bounds = _range(calendar)
        return int((bounds.ends_at - bounds.starts_at).total_seconds())
    days = {"all": 0, "daily": 1, "weekly": 7, "monthly": 28, "yearly": 365}.get(calendar.rule)
    days = _repetition(calendar.rule)[0] if days is None else days
    return days * 86_400 or None


class _Recent:
    """The bounds of periods that were named lately, for a binary search."""

    __slots__ = ("ends", "names", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.names: list[str] = []

    def remember(self, name: str, starts_at: int, ends_at: int) -> None:
        """Add a period, and forget all others if there are too many."""
        if len(self.starts) >= _RECENT:
            self.starts, self.ends, self.names = [], [], []
        index = bisect_right(self.starts, starts_at)
        self.starts.insert(index, starts_at)
        self.ends.insert(index, ends_at)
        self.names.insert(index, name)


@lru_cache(maxsize=4096)
def _recent(_calendar: Calendar) -> _Recent:
    return _Recent()


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=8192)
def _period(calendar: Calendar, name: str) -> Period | None:
    if not calendar.is_repeated:
        return _range(calendar) if not name and calendar.rule != "all" else None
    days = _days_of(calendar.rule, name)
    if days is None:
        return None
    first, following = days
    if not _is_named(first) or not _is_named(following):
        return None
    starts_at, ends_at = _start_of(calendar.zone, first), _start_of(calendar.zone, following)
    return Period(starts_at, ends_at, calendar.zone) if starts_at < ends_at else None


def _name(rule: str, day: date) -> str:
    if rule == "daily":
        return day.isoformat()
    if rule == "weekly":
        year, week, _ = day.isocalendar()
        return f"{year:04}-W{week:02}"
    if rule == "monthly":
        return f"{day:%Y-%m}"
    if rule == "yearly":
        return f"{day:%Y}"
    days, first = _repetition(rule)
    return (first + timedelta(days=(day - first).days // days * days)).isoformat()


def _days_of(rule: str, name: str) -> tuple[date, date] | None:
    """Return the first day of the period with this name and that of the next one; None if there is no such period."""
    try:
        if rule == "weekly" and (match := _WEEK.fullmatch(name)):
            first = date.fromisocalendar(int(match[1]), int(match[2]), 1)
            return first, first + timedelta(days=7)
        if rule == "monthly" and (match := _MONTH.fullmatch(name)):
            first = date(int(match[1]), int(match[2]), 1)
            return first, (first + timedelta(days=31)).replace(day=1)
        if rule == "yearly" and _YEAR.fullmatch(name):
            first = date(int(name), 1, 1)
            return first, first.replace(year=first.year + 1)
        if rule != "daily" and not rule.startswith("every:"):
            return None
        if not _DAY.fullmatch(name):
            return None
        first = date.fromisoformat(name)
        if rule == "daily":
            return first, first + timedelta(days=1)
        days, start = _repetition(rule)
        if first < start or (first - start).days % days:
            return None
        return first, first + timedelta(days=days)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=1024)
def _repetition(rule: str) -> tuple[int, date]:
    match = _REPEATED.fullmatch(rule)
    assert match is not None, "the rule was checked"
    return int(match[1]), date.fromisoformat(match[2])


@lru_cache(maxsize=1024)
def _range(calendar: Calendar) -> Period:
    """Return the bounds of a range, each a date or a time with its offset. Raises ValueError."""
    start, _, end = calendar.rule.removeprefix("range:").partition("/")
    return Period(_moment(start, calendar.zone), _moment(end, calendar.zone), calendar.zone)


def _moment(text: str, zone: str) -> datetime:
    try:
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text)
            moment = _start_of(zone, day)
        else:
            moment = in_utc(datetime.fromisoformat(text))
            day = moment.date()
        if _is_named(day):
            return moment
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"has {text[:40]!r} in its range, which is neither a date nor a time with its offset")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return date.min


def _is_named(day: date) -> bool:
    return _FIRST <= day <= _LAST


@lru_cache(maxsize=8192)
def _start_of(zone: str, day: date) -> datetime:
    """Return the first moment of a local day; of a day that a zone skipped, that of the next one."""
    # Both readings of a midnight that happens twice start the day; the earlier one does.
    midnight = datetime.combine(day, time(), _zone(zone)).astimezone(UTC)
    if midnight.astimezone(_zone(zone)).date() == day and midnight.astimezone(_zone(zone)).time() == time():
        return midnight
    # Midnight was skipped: the first minute with this date, which every change of a clock since 1970 falls on.
    low, high = midnight - timedelta(days=2), midnight + timedelta(days=2)
    while high - low > _MINUTE:
        middle = low + (high - low) // 2 // _MINUTE * _MINUTE
        if middle.astimezone(_zone(zone)).date() >= day:
            high = middle
        else:
            low = middle
    return high


def _day_of(zone: str, local: datetime) -> date:
    """Return the day that a local time belongs to.

    Where a clock is set back over midnight, the hour before it comes again after the new day has begun, and belongs to that.
    """
    following = local.date() + timedelta(days=1)
    return following if _start_of(zone, following) <= local.astimezone(UTC) else local.date()
