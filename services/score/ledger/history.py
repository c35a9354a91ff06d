"""When a total was reached: the time since which the player has had at least as many points. Pure.

With the events that changed a total ordered by time, that is the time of the latest event from which on the changes add up
to more than 0. What was taken back therefore leaves no trace: a void counts at the time of the action it takes back, and an
adjustment and its opposite cancel out. The order in which events arrive does not matter.

Nearly always the total itself is enough to tell. Otherwise the player's latest rows are needed, newest first, until they
decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final, Literal, NamedTuple

from services.score.ledger.counters.numbered import NumberedCounter
from services.score.ledger.event_boards import periods_of
from services.score.ledger.rows import CORRECTING_KINDS, Row
from services.score.ledger.totals import NO_TOTAL, PERIODS_IN_ROW, PeriodTotals, QuizTotal, Total, latest_change

MAX_ROWS: Final = 8192
"""Rows that are read at most. If those do not decide, the time of the total before the event is kept."""

Series = Literal["all", "weekly", "monthly", "quiz", "numbered"]
Move = tuple[int, int]
"""Time and change of points."""


class HistoryRequiredError(LookupError):
    """The given rows do not decide when a total was reached. Read more of them."""


class History(NamedTuple):
    """The latest rows of a player, oldest first. `is_all` means that there are no others, or that none may be read."""

    rows: Sequence[Row]
    is_all: bool

    def after(self, row: Row) -> History:
        """Return the history including the next row."""
        return History((*self.rows, row), self.is_all)


UNKNOWN: Final = History((), is_all=False)
EMPTY: Final = History((), is_all=True)


class Counter(NamedTuple):
    """One of a player's totals: of all time, of the named week, month or quiz, or of a period of a numbered counter."""

    series: Series
    name: str
    history: History
    numbered: NumberedCounter | None = None

    def add(self, total: Total, delta: int, at: int) -> Total:
        """Return a total of all time or of a period after an event that does not simply raise it; see `total_after`."""
        if not delta:
            return total
        points, reached_at, latest = total.points, total.reached_at, latest_change(total)
        after = points + delta
        if after <= 0:
            reached_at = 0
        elif points <= 0 or at > reached_at or (at == reached_at and delta < 0):
            reached_at = self._reached_at(after, delta, at, 0, reached_at)
        return Total.changed(after, reached_at, max(latest, at))

    def corrected(self, total: Total, delta: int) -> Total:
        """Return the total after a correction, which is no event: of its time, all rows decide."""
        latest, points = latest_change(total), total.points + delta
        moves = self._moves()
        reached_at = (latest_raise(moves) or total.reached_at) if points > 0 else 0
        return Total.changed(points, reached_at, latest)

    def add_attempt(self, total: QuizTotal, points: int, attempt: int, delta: int, at: int) -> QuizTotal:
        """Return the total of a quiz that has `points` as of attempt `attempt` after an event. Raises HistoryRequiredError.

        While earlier attempts are missing, the total counts as reached at the latest change.
        """
        reached_at, latest = total.reached_at, max(latest_change(total), at if delta else 0)
        if points <= 0:
            reached_at = 0
        elif delta > 0 and (at > latest_change(total) or (at == latest == reached_at and attempt > total.attempt)):
            reached_at = at
        elif delta or total.points <= 0:
            reached_at = self._reached_at(points, delta, at, attempt, 0) or latest or at
        return QuizTotal.changed(points, attempt, reached_at, latest)

    def _reached_at(self, points: int, delta: int, at: int, attempt: int, default: int) -> int:
        """Return when `points` were reached if the event is the latest row, or `default` if no event decides that."""
        rows, is_all = self.history
        moves: list[Move] = [(at, delta)]
        earliest, attempts, is_comparable = at, 1, True
        for index in range(len(rows) - 1, -1, -1):
            row = rows[index]
            state = self._total_in(row)
            if state is not None and is_comparable and earliest > latest_change(state) and state.points <= points:
                # All changes since this row are later than all before it.
                if (reached_at := latest_raise(moves)) is not None:
                    return reached_at
                is_whole = not isinstance(state, QuizTotal) or state.attempt == attempt - attempts
                if state.points == points and is_whole:
                    return state.reached_at
            if index == 0 and not is_all:
                break
            if row.kind in CORRECTING_KINDS:  # the totals before it include what was lost
                is_comparable = False
                continue
            if move := self._move(row, rows[index - 1] if index else None):
                moves.append((row.at, move))
                earliest = min(earliest, row.at)
            if self.series == "quiz" and row.quiz_id == self.name:
                attempts += 1
                if attempts == attempt:  # the first attempt and all since
                    is_all = True
                    break
        if not is_all:
            raise HistoryRequiredError
        reached_at = latest_raise(moves)
        return default if reached_at is None else reached_at

    def _moves(self) -> list[Move]:
        """Return every change of the total that an event made."""
        rows = self.history.rows
        return [
            (row.at, move)
            for previous, row in zip((None, *rows), rows, strict=False)
            if row.kind not in CORRECTING_KINDS and (move := self._move(row, previous))
        ]

    def _total_in(self, row: Row) -> Total | QuizTotal | None:
        """Return the total after the row, as far as the row has it."""
        if self.series == "all":
            return row.total
        if self.numbered is not None:
            return row.counters.get(self.numbered.key, {}).get(self.name)
        if self.series == "quiz":
            return row.quiz if row.quiz_id == self.name else None
        totals = row.weeks if self.series == "weekly" else row.months
        had_none = len(totals) < PERIODS_IN_ROW or self.name > min(totals)
        return totals.get(self.name, NO_TOTAL if had_none else None)

    def _move(self, row: Row, previous: Row | None) -> int:
        """Return by how much a row changed the total."""
        if self.numbered is not None:
            return self.numbered.move(row) if self.numbered.counted(row, self.name) else 0
        return row.delta if row.delta and self._counted(row, previous) else 0

    def _counted(self, row: Row, previous: Row | None) -> bool:
        """Return whether a row changed a total without a number."""
        if self.series == "all":
            return True
        if self.series == "quiz":
            return row.quiz_id == self.name
        week, month = periods_of(row.at)
        if self.series == "weekly":
            after, before = row.weeks, None if previous is None else previous.weeks
            period = week
        else:
            after, before = row.months, None if previous is None else previous.months
            period = month
        return period == self.name and (not row.late or _points(after, period) != _points(before or {}, period))


def total_after(
    total: Total,
    delta: int,
    at: int,
    history: History,
    series: Series,
    name: str,
    numbered: NumberedCounter | None = None,
) -> Total:
    """Return a total of all time or of a period after an event. Raises HistoryRequiredError.

    Nearly every event raises the total and is later than all before it, so no history is needed.
    """
    points = total[0] + delta
    if delta > 0 and points > 0 and at > total[-1]:
        return Total((points, at))
    return Counter(series, name, history, numbered).add(total, delta, at)


def _points(totals: PeriodTotals, name: str) -> int:
    total = totals.get(name)
    return 0 if total is None else total.points


def _time(move: Move) -> int:
    return move[0]


def latest_raise(moves: list[Move]) -> int | None:
    """Return the latest time from which on the changes add up to more than 0."""
    points = 0
    for at, together in groupby(sorted(moves, reverse=True), key=_time):
        points += sum(delta for _, delta in together)
        if points > 0:
            return at
    return None
