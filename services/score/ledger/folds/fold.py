"""Folds: a player's state after their rows so far, and the next row of their chain. Pure.

`fold = apply(fold, row)` from revision 1 on, so everything about a player follows from their rows.

Moderators' and account events are rows of the same chain: a void and an adjustment change totals, a block hides the
player, a country change moves them. Identity numbers the changes of an account; they may arrive in any order, and the
highest version wins. An erasure hides the player permanently. Later events are still counted in their chain, under the
pseudonym made of its digest.

Old rows keep their meaning: totals that an earlier version clamped to 32 bits go on from where they are.

Totals of periods are kept for the two newest weeks and months with events. An event of an older period, or of one that was
closed before its row was made, is `late`: it counts in all other totals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from services.boards.proofs.pseudonyms import pseudonym_of
from services.score.ledger.counters.numbered import NO_COUNTERS, Counters
from services.score.ledger.counters.totals import merged, totals_after
from services.score.ledger.event_boards import boards_at, period_ends, periods_of
from services.score.ledger.events import Event
from services.score.ledger.history import EMPTY, UNKNOWN, Counter, History, total_after
from services.score.ledger.rows import GENESIS, Row, content_hash, missing_revisions
from services.score.ledger.totals import (
    NO_QUIZ_TOTAL,
    NO_TOTAL,
    CounterTotals,
    PeriodTotals,
    QuizTotal,
    Total,
    counted_total,
    counts_in,
    merge,
    newest,
    with_period,
)
from services.streams import CHAIN_SEALED, COUNTERS_ADDED, PLAYER_ERASED, QUIZ_COMPLETED

_MINUTE_MS = 60_000


class RecentActivity(NamedTuple):
    """Actions and points of a player's latest active minute, and of the minute before it."""

    minute: int
    actions: int
    points: int
    actions_before: int
    points_before: int


class Fold(NamedTuple):
    """A player's state after row `revision`; revision 0 is a player without rows. An erased player stays hidden.

    `counters` has every numbered counter up to `complete_through`; those that it does not name are empty. Of higher ones
    nothing is known. `shows_metadata` is whether boards show the metadata of any of the player's actions.
    """

    user_id: str
    chain: bytes
    revision: int
    event_id: str
    hash: bytes
    total: Total
    weeks: PeriodTotals
    months: PeriodTotals
    quizzes: Mapping[str, QuizTotal]
    country: str
    hidden: bool
    erased: bool
    version: int
    recent: RecentActivity
    recorded_at: int
    counters: CounterTotals
    complete_through: int
    shows_metadata: bool = False


class _Totals(NamedTuple):
    """The totals of a row; `counted` are those of numbered counters that it changes."""

    total: Total
    weeks: PeriodTotals
    months: PeriodTotals
    counted: CounterTotals
    late: bool


_NO_ACTIVITY = RecentActivity(0, 0, 0, 0, 0)


def empty_fold(user_id: str, chain: bytes = b"") -> Fold:
    """Return the fold of a player without rows."""
    return Fold(user_id, chain, 0, "", GENESIS, NO_TOTAL, {}, {}, {}, "", False, False, 0, _NO_ACTIVITY, 0, {}, 0)


def next_row(
    fold: Fold,
    event: Event,
    recorded_at: int,
    closed_through: int = 0,
    history: History = UNKNOWN,
    counters: Counters = NO_COUNTERS,
) -> Row:
    """Return the row that counts `event` on top of `fold`, hash included.

    Periods that ended at or before `closed_through` do not change. The country is the one of the first event that names
    one, until the account's country is changed. Raises ValueError for a quiz id, country or time that no board can have,
    and HistoryRequiredError if the rows in `history` do not decide when a total was reached.
    """
    history = history if fold.revision else EMPTY
    change = event.change
    if fold.erased and change is not None:
        change = change._replace(actor="", reason="", metadata="")
    if change is not None and change.version:
        totals = _Totals(fold.total, newest(fold.weeks), newest(fold.months), {}, late=False)
        is_in_force = not fold.erased and (change.version > fold.version or event.kind == PLAYER_ERASED)
        country, hidden = (event.country, change.blocked) if is_in_force else (fold.country, fold.hidden)
    else:
        totals = _counted(fold, event, closed_through, history, counters)
        country, hidden = fold.country or ("" if fold.version else event.country), fold.hidden
    boards_at(event.at, country, event.quiz_id)
    total, weeks, months, counted, late = totals
    content = (
        event.event_id,
        fold.chain,
        fold.revision + 1,
        event.kind,
        event.delta,
        fold.total.points,
        total,
        weeks,
        months,
        event.quiz_id,
        _quiz_total(fold, event, history) if event.quiz_id else NO_QUIZ_TOTAL,
        event.action_id,
        country,
        fold.country if fold.country != country else "",
        hidden,
        late,
        event.at,
        recorded_at,
        event.sequence,
        event.partition,
        event.client,
        change,
        counters.known,
        counted,
        event.tags,
    )
    user_id = pseudonym_of(fold.chain) if fold.erased else event.user_id
    return Row(user_id, *content, fold.hash, content_hash(content, fold.hash))


def apply(fold: Fold, row: Row) -> Fold:
    """Return the fold after `row`. Raises ValueError if the row does not follow the fold in its chain.

    A seal stands for all revisions that are missing there; the next row names the hash of the last of them.
    """
    if row.revision != fold.revision + 1 or row.previous != fold.hash or row.chain != fold.chain:
        raise ValueError(f"row {row.revision} does not follow revision {fold.revision}")
    revision, digest = row.revision, row.hash
    if row.kind == CHAIN_SEALED and row.change is not None:
        revision, digest = missing_revisions(row)[1], bytes.fromhex(row.change.voids)
    quizzes = fold.quizzes
    quiz = quizzes.get(row.quiz_id)
    # A row of an earlier version has the total of its own attempt, which may not be the highest.
    if row.quiz_id and (quiz is None or row.quiz.attempt >= quiz.attempt):
        quizzes = {**quizzes, row.quiz_id: row.quiz}
    counters, complete_through = _counters_after(fold, row)
    return Fold(
        user_id=fold.user_id,
        chain=fold.chain,
        revision=revision,
        event_id=row.event_id,
        hash=digest,
        total=row.total,
        weeks=merge(fold.weeks, row.weeks),
        months=merge(fold.months, row.months),
        quizzes=quizzes,
        country=row.country,
        hidden=row.hidden,
        erased=fold.erased or row.kind == PLAYER_ERASED,
        version=fold.version if row.change is None else max(fold.version, row.change.version),
        recent=_add_action(fold.recent, row) if row.kind == QUIZ_COMPLETED else fold.recent,
        recorded_at=row.recorded_at,
        counters=counters,
        complete_through=complete_through,
        shows_metadata=fold.shows_metadata or (row.change is not None and row.change.shows_metadata),
    )


def _counted(fold: Fold, event: Event, closed_through: int, history: History, counters: Counters) -> _Totals:
    """Return the totals after an event that counts. Raises HistoryRequiredError."""
    delta, at = event.delta, event.at
    week, month = periods_of(at)
    week_ends, month_ends = period_ends(at)
    weeks, months = newest(fold.weeks), newest(fold.months)
    in_week = counts_in(fold.weeks, week, is_open=week_ends > closed_through)
    in_month = counts_in(fold.months, month, is_open=month_ends > closed_through)
    if in_week:
        week_total = total_after(weeks.get(week, NO_TOTAL), delta, at, history, "weekly", week)
        weeks = with_period(weeks, week, week_total)
    if in_month:
        month_total = total_after(months.get(month, NO_TOTAL), delta, at, history, "monthly", month)
        months = with_period(months, month, month_total)
    total = total_after(fold.total, delta, at, history, "all", "")
    counted: CounterTotals = {}
    if counters.all:
        complete_through = min(fold.complete_through, counters.known) if fold.revision else counters.known
        counted = totals_after(fold.counters, complete_through, event, closed_through, history, counters)
    return _Totals(total, weeks, months, counted, late=not (in_week and in_month))


def _counters_after(fold: Fold, row: Row) -> tuple[CounterTotals, int]:
    """Return the counters after a row, and the number through which they are complete.

    A row from a process that knew fewer makes the others unknown: it did not count in them.
    """
    if row.kind == COUNTERS_ADDED:
        return row.counters, row.counters_known
    complete_through = min(fold.complete_through, row.counters_known) if fold.revision else row.counters_known
    counters = merged(fold.counters, row.counters)
    if complete_through < fold.complete_through:
        counters = {key: periods for key, periods in counters.items() if int(key) <= complete_through}
    return counters, complete_through


def _quiz_total(fold: Fold, event: Event, history: History) -> QuizTotal:
    total = fold.quizzes.get(event.quiz_id, NO_QUIZ_TOTAL)
    if event.attempt == total.attempt:
        return total  # two events have one number when the quiz's records were lost in between: the first decides
    points, attempt = counted_total(total, event)
    return Counter("quiz", event.quiz_id, history).add_attempt(total, points, attempt, event.delta, event.at)


def _add_action(recent: RecentActivity, row: Row) -> RecentActivity:
    """Return the activity after one more action. One before the latest minute is ignored: events are nearly in order."""
    minute = row.at // _MINUTE_MS
    if minute == recent.minute:
        _, actions, points, actions_before, points_before = recent
        return RecentActivity(minute, actions + 1, points + row.delta, actions_before, points_before)
    if minute < recent.minute:
        return recent
    follows = minute == recent.minute + 1
    return RecentActivity(minute, 1, row.delta, recent.actions if follows else 0, recent.points if follows else 0)
