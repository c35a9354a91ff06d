"""Totals of a player: all-time, by period and by quiz, and how one event changes each. Pure.

Totals are sums of at most 64 bits; what is shown of them is clamped elsewhere. A quiz's total is the one of the highest
attempt, because attempts may arrive out of order. When a total was reached is decided by `history`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from services.score.ledger.events import Event

# A row has the totals of this many newest weeks and months; a fold keeps more, so that a rebuild can restore the boards of
# past periods.
PERIODS_IN_ROW = 2
PERIODS_IN_FOLD = 8


class Total(tuple[int, ...]):
    """Points, the time since which the player has had at least as many, and the time of the latest change if it is another.

    Rows and folds store and hash these two or three numbers as they are, so nothing is converted.
    """

    __slots__ = ()

    @classmethod
    def changed(cls, points: int, reached_at: int, latest_at: int) -> Self:
        """Return the total with these points since `reached_at`, 0 without points, that was last changed at `latest_at`."""
        return cls((points, reached_at) if latest_at in (0, reached_at) else (points, reached_at, latest_at))

    @property
    def points(self) -> int:
        """The player's points."""
        return self[0]

    @property
    def reached_at(self) -> int:
        """Since when the player has had at least as many points; 0 without points."""
        return self[1]


class QuizTotal(tuple[int, ...]):
    """The points of a player's attempts at one quiz together, the highest attempt counted, and the rest of a `Total`."""

    __slots__ = ()

    @classmethod
    def changed(cls, points: int, attempt: int, reached_at: int, latest_at: int) -> Self:
        """Return the total as of an attempt; the rest as for `Total`."""
        times = (reached_at,) if latest_at in (0, reached_at) else (reached_at, latest_at)
        return cls((points, attempt, *times))

    @property
    def points(self) -> int:
        """The points of the attempts together."""
        return self[0]

    @property
    def attempt(self) -> int:
        """The highest attempt counted."""
        return self[1]

    @property
    def reached_at(self) -> int:
        """Since when the player has had at least as many points; 0 without points."""
        return self[2]


NO_TOTAL = Total((0, 0))
NO_QUIZ_TOTAL = QuizTotal((0, 0, 0))
PeriodTotals = Mapping[str, Total]
"""Totals by the name of the period."""
CounterTotals = Mapping[str, PeriodTotals]
"""Totals of numbered counters: by the decimal number of the counter, then by the name of the period."""


def latest_change(total: Total | QuizTotal) -> int:
    """Return the time of the latest event that changed the total."""
    return total[-1]


def counts_in(totals: PeriodTotals, name: str, *, is_open: bool) -> bool:
    """Return whether an event of period `name` counts there: it is not closed, and not older than the two newest."""
    if not is_open or len(totals) < PERIODS_IN_ROW:
        return is_open
    return name >= sorted(totals)[-PERIODS_IN_ROW]


def with_period(totals: PeriodTotals, name: str, total: Total) -> PeriodTotals:
    """Return the two newest of these totals and the one of period `name`."""
    return newest({**totals, name: total})


def newest(totals: PeriodTotals) -> PeriodTotals:
    """Return the totals of the two newest periods."""
    if len(totals) <= PERIODS_IN_ROW:
        return totals
    return {name: totals[name] for name in sorted(totals)[-PERIODS_IN_ROW:]}


def merge(older: PeriodTotals, newer: PeriodTotals) -> PeriodTotals:
    """Return the totals of the newest periods of a fold, `newer` taking precedence."""
    if older.keys() <= newer.keys():
        return newer
    merged = {**older, **newer}
    return (
        {name: merged[name] for name in sorted(merged)[-PERIODS_IN_FOLD:]} if len(merged) > PERIODS_IN_FOLD else merged
    )


def counted_total(total: QuizTotal, event: Event) -> tuple[int, int]:
    """Return points and highest attempt of a quiz after an event: of attempts, the highest says what all count for."""
    return (event.quiz_total, event.attempt) if event.attempt > total.attempt else (total.points, total.attempt)
