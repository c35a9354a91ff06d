"""Totals of numbered counters: after one event, and of a whole chain. Pure.

Both agree: counting a player's events one by one, in whatever order, gives the totals that all of their rows have.

- A sum or count is reached when `history` says.
- The best action is the one with the most points, or the fewest where less is better, and of those the earliest.
- The latest action is the one with the latest time, and of those the one counted last.

An action that was voided counts for nothing, even if its void is counted first. A total that one action decides ends with
the time of the latest void, if there was one: only then all rows are needed to tell. Who has no points has no best
action.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from services.score.ledger.counters.numbered import Counters, NumberedCounter, is_completed
from services.score.ledger.events import Event
from services.score.ledger.history import History, HistoryRequiredError, latest_raise, total_after
from services.score.ledger.rows import CORRECTING_KINDS, Row
from services.score.ledger.totals import (
    NO_TOTAL,
    PERIODS_IN_FOLD,
    CounterTotals,
    PeriodTotals,
    Total,
    merge,
)
from services.streams import ACTION_VOIDED

_NO_PERIODS: PeriodTotals = {}


def totals_after(
    totals: CounterTotals,
    complete_through: int,
    event: Event,
    closed_through: int,
    history: History,
    counters: Counters,
) -> CounterTotals:
    """Return the counters that an event changes, each with its total after it, as `Row.counters` has them.

    Counters above `complete_through` are left out: what they would be on top of is unknown. Raises HistoryRequiredError.
    """
    after: dict[str, PeriodTotals] = {}
    for counter, period, ends_at in counters.periods(event):
        if counter.number > complete_through:
            continue
        known = totals.get(counter.key, _NO_PERIODS)
        is_closed = ends_at is not None and ends_at <= closed_through
        if is_closed or (len(known) >= PERIODS_IN_FOLD and period < min(known)):
            after[counter.key] = {}
            continue
        before = known.get(period, NO_TOTAL)
        if counter.is_sum:
            total = total_after(before, counter.move(event), event.at, history, "numbered", period, counter)
        else:
            total = _chosen_after(counter, period, before, event, history)
        if total != before:
            after[counter.key] = {period: total}
    return after


def totals_of(counter: NumberedCounter, rows: Sequence[Row]) -> PeriodTotals:
    """Return the totals of the newest periods that the rows of a whole chain have."""
    by_period: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        period = counter.period_at(row.at) if row.kind not in CORRECTING_KINDS else None
        if period is not None and counter.counted(row, period):
            by_period[period].append(row)
    newest = sorted(by_period)[-PERIODS_IN_FOLD:]
    totals = {period: total_of(counter, by_period[period]) for period in newest}
    return {period: total for period, total in totals.items() if total != NO_TOTAL}


def _chosen_after(counter: NumberedCounter, period: str, before: Total, event: Event, history: History) -> Total:
    """Return the total that one action decides after an event."""
    if event.kind == ACTION_VOIDED:
        is_passed = counter.spec.aggregate == "latest" and event.at < before.reached_at
        if is_passed or not before.reached_at:
            return Total((before.points, before.reached_at, max(_voided_at(before), event.at)))
    elif not is_completed(event.kind) or not _is_ahead(counter, event, before):
        return before
    elif not _voided_at(before):
        return Total((event.delta, event.at))
    if not history.is_all:
        raise HistoryRequiredError
    return _chosen(counter, [*(row for row in history.rows if counter.counted(row, period)), event])


def total_of(counter: NumberedCounter, rows: Sequence[Row]) -> Total:
    """Return the total of one period, of all rows of a player that count in it, by revision."""
    if not counter.is_sum:
        return _chosen(counter, rows)
    moves = [(row.at, move) for row in rows if (move := counter.move(row))]
    if not moves:
        return NO_TOTAL
    points, latest = sum(move for _, move in moves), max(at for at, _ in moves)
    reached_at = (latest_raise(moves) or 0) if points > 0 else 0
    return Total.changed(points, reached_at, latest)


def _chosen(counter: NumberedCounter, entries: Sequence[Row | Event]) -> Total:
    """Return the total of the one action that decides it."""
    voids = [entry for entry in entries if entry.kind == ACTION_VOIDED]
    voided = {entry.change.voids for entry in voids if entry.change is not None}
    chosen = NO_TOTAL
    for entry in entries:
        if is_completed(entry.kind) and entry.event_id not in voided and _is_ahead(counter, entry, chosen):
            chosen = Total((entry.delta, entry.at))
    return Total((*chosen, max(entry.at for entry in voids))) if voids else chosen


def _voided_at(total: Total) -> int:
    """Return the time of the latest void of an action that a total of one action counts for; 0 for none."""
    return total[2] if len(total) > 2 else 0


def _is_ahead(counter: NumberedCounter, action: Row | Event, chosen: Total) -> bool:
    """Whether an action decides the total instead of the one that did."""
    if counter.spec.aggregate == "latest":
        return action.at >= chosen.reached_at
    if action.delta <= 0:
        return False
    if not chosen.reached_at:
        return True
    if action.delta == chosen.points:
        return action.at < chosen.reached_at
    return (action.delta < chosen.points) == counter.spec.lowest


def merged(totals: CounterTotals, newer: CounterTotals) -> CounterTotals:
    """Return the totals of a fold after those of a row, with the newest periods of each counter."""
    if not newer:
        return totals
    after: dict[str, PeriodTotals] = dict(totals)
    for key, periods in newer.items():
        if periods:
            after[key] = merge(after.get(key, {}), periods)
    return after
