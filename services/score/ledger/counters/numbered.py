"""Numbered counters: what boards count that are defined while the system runs. Pure.

A counter says which events it counts, how it combines them into one total, and into which periods it divides time. Totals of
the boards that always existed (all points, of all time, a week or a month in UTC) have no number; see `totals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from services.boards.definition import CounterSpec
from services.boards.periods.calendar import Calendar
from services.boards.periods.stretches import Stretch, Stretches
from services.runtime.clock import milliseconds_of
from services.streams import ACTION_COMPLETED, ACTION_VOIDED, QUIZ_COMPLETED

if TYPE_CHECKING:
    from services.score.ledger.events import Event
    from services.score.ledger.rows import Row

ALL_TIME: Final = "all"
"""The period of a counter without periods, as totals name it: MongoDB is spared an empty name."""
_COMPLETED: Final = frozenset({QUIZ_COMPLETED, ACTION_COMPLETED})


@dataclass(frozen=True)
class NumberedCounter:
    """A counter and the number that it has in rows."""

    number: int
    spec: CounterSpec

    @cached_property
    def key(self) -> str:
        """The number as rows have it."""
        return str(self.number)

    @cached_property
    def is_sum(self) -> bool:
        """Whether the total is the sum of what each event adds to it; otherwise it is that of one event."""
        return self.spec.aggregate in ("sum", "count")

    @cached_property
    def adds_points(self) -> bool:
        """Whether an event adds its points; if not, and it is a sum, it adds how many actions it is."""
        return self.spec.aggregate == "sum"

    def includes(self, entry: Event | Row) -> bool:
        """Whether an event is from one of the sources. An adjustment is from `all` alone."""
        action_type_id = entry.change.action_type_id if entry.change is not None else ""
        return not self.spec.sources.isdisjoint(_sources(entry.quiz_id, action_type_id, entry.tags))

    def period_at(self, at: int) -> str | None:
        """Return the name of the period of a time; None if it counts nothing then."""
        return (self.spec.calendar.name_of(at) or ALL_TIME) if self.spec.calendar.counts(at) else None

    def ends_at(self, period: str) -> int | None:
        """Return when a period ends, in milliseconds; None for never."""
        return _ends_at(self.spec.calendar, "" if period == ALL_TIME else period)

    def move(self, entry: Event | Row) -> int:
        """Return what an event adds to a sum or count."""
        return entry.delta if self.adds_points else _actions(entry.kind)

    def counted(self, row: Row, period: str) -> bool:
        """Whether a row counts in a period. A row that says nothing of this counter is judged by its time and source."""
        totals = row.counters.get(self.key)
        if totals is not None and period not in totals:
            return False
        return self.includes(row) and self.period_at(row.at) == period

    @property
    def may_fall(self) -> bool:
        """Whether an action can make the points fewer, or more where fewer are better."""
        return self.spec.aggregate == "latest"


class CountedPeriod(NamedTuple):
    """The period in which a counter counts an event; it ends at `ends_at`, None for never."""

    counter: NumberedCounter
    period: str
    ends_at: int | None


class Counters:
    """The numbered counters in force. `known` is the highest number that was ever given."""

    def __init__(self, counters: Sequence[NumberedCounter] = (), known: int = 0) -> None:
        self.all = tuple(counters)
        self.known = known
        self.of_source = lru_cache(maxsize=4096)(self._of_source)
        self._stretches = Stretches(each.spec.calendar for each in self.all)
        self._periods = lru_cache(maxsize=4096)(self._find_periods)

    def periods(self, event: Event) -> tuple[CountedPeriod, ...]:
        """Return the periods in which counters count an event."""
        if not self.all:
            return ()
        action_type_id = "" if event.change is None else event.change.action_type_id
        return self._periods(self._stretches.at(event.at), event.quiz_id, action_type_id, event.tags)

    def _find_periods(
        self, stretch: Stretch, quiz_id: str, action_type_id: str, tags: tuple[str, ...]
    ) -> tuple[CountedPeriod, ...]:
        counting = self.of_source(quiz_id, action_type_id, tags)
        return tuple(
            CountedPeriod(counter, period or ALL_TIME, counter.ends_at(period or ALL_TIME))
            for counter, period in zip(self.all, stretch.periods, strict=True)
            if period is not None and counter in counting
        )

    def _of_source(self, quiz_id: str, action_type_id: str, tags: tuple[str, ...]) -> tuple[NumberedCounter, ...]:
        sources = _sources(quiz_id, action_type_id, tags)
        return tuple(each for each in self.all if not each.spec.sources.isdisjoint(sources))


NO_COUNTERS: Final = Counters()


def is_completed(kind: str) -> bool:
    """Whether events of this kind are actions that players completed."""
    return kind in _COMPLETED


def _actions(kind: str) -> int:
    """Return what an event of this kind adds to the number of a player's actions."""
    if kind in _COMPLETED:
        return 1
    return -1 if kind == ACTION_VOIDED else 0


def _sources(quiz_id: str, action_type_id: str, tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return every source that an event is from, as definitions name them."""
    return "all", f"quiz:{quiz_id}" if quiz_id else f"action:{action_type_id}", *(f"tag:{tag}" for tag in tags)


@lru_cache(maxsize=4096)
def _ends_at(calendar: Calendar, period: str) -> int | None:
    bounds = calendar.period(period)
    return None if bounds is None else milliseconds_of(bounds.ends_at)
