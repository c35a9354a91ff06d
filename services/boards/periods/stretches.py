"""Stretches of time throughout which each of some calendars is in one period. Pure.

Nearly all events are of now, and hours or days pass until any calendar's period ends. One search finds the periods of an event
in all calendars; what else depends on the periods is cached by the stretch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.boards.periods.calendar import Calendar

_EARLIEST, _LATEST = -(2**62), 2**62
_KEPT: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Times from `starts_at` until before `ends_at`, in milliseconds since 1970. None equals another.

    `periods` has a name for each calendar, as `Calendar.name_of` says it; None where the calendar counts nothing.
    """

    starts_at: int
    ends_at: int
    periods: tuple[str | None, ...]


class Stretches:
    """Finds the stretches of some calendars. The most recent ones are cached."""

    def __init__(self, calendars: Iterable[Calendar]) -> None:
        self._calendars = tuple(calendars)
        self._starts: list[int] = []
        self._found: list[Stretch] = []

    def at(self, at: int) -> Stretch:
        """Return the stretch of a time."""
        index = bisect_right(self._starts, at) - 1
        if index >= 0 and at < self._found[index].ends_at:
            return self._found[index]
        return self._find(at)

    def _find(self, at: int) -> Stretch:
        edges = sorted({_EARLIEST, _LATEST, *(edge for calendar in self._calendars for edge in calendar.edges(at))})
        index = bisect_right(edges, at)
        periods = (calendar.name_of(at) if calendar.counts(at) else None for calendar in self._calendars)
        found = Stretch(edges[index - 1], edges[index], tuple(periods))
        if len(self._found) >= _KEPT:
            self._starts, self._found = [], []
        place = bisect_right(self._starts, found.starts_at)
        self._starts.insert(place, found.starts_at)
        self._found.insert(place, found)
        return found
