"""When a total was reached: as a plain computation over the events that count says, in whatever order they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

from services.quiz.quizzes.scoring import NOTHING, Tally, tally, tally_of
from services.runtime.clock import milliseconds_of
from services.score.ledger.event_boards import periods_of
from services.score.ledger.events import Change, Event
from services.score.ledger.folds.fold import Fold, apply, empty_fold, next_row
from services.score.ledger.history import UNKNOWN, History, HistoryRequiredError
from services.score.ledger.rows import Row, row_hash
from services.score.ledger.totals import Total, latest_change
from services.streams import ACTION_VOIDED, SCORE_ADJUSTED
from tests.properties import examples

START = milliseconds_of(datetime(2026, 11, 21, tzinfo=UTC))  # the next day but one, a week begins
HOUR = int(timedelta(hours=1).total_seconds() * 1000)
BILLION = 10**9


def answered(number: int, delta: int, at: int, quiz: str, attempt: int, total: int) -> Event:
    return Event(f"e{number}", "ada", quiz, delta, at, f"a{number}", attempt, total)


def adjusted(number: int, delta: int, at: int) -> Event:
    return Event(f"e{number}", "ada", "", delta, at, f"a{number}", 0, 0, kind=SCORE_ADJUSTED, change=Change("m", "why"))


def deepened(fold: Fold, event: Event, rows: Sequence[Row]) -> Row:
    """Return the next row, reading as few of the rows as decide: one more each time."""
    history = UNKNOWN
    for limit in range(1, len(rows) + 2):
        try:
            return next_row(fold, event, event.at, history=history)
        except HistoryRequiredError:
            latest = rows[-limit:]
            history = History(latest, is_all=latest[0].revision == 1)
    raise AssertionError("all rows do not decide")


def counted(events: Iterable[Event]) -> tuple[Fold, list[Row]]:
    fold, rows = empty_fold("ada"), list[Row]()
    for event in events:
        row = deepened(fold, event, rows)
        assert row == next_row(fold, event, event.at, history=History(rows, is_all=True))
        assert row.hash == row_hash(row)
        rows.append(row)
        fold = apply(fold, row)
    return fold, rows


def plain(moves: Iterable[tuple[int, int]]) -> Total:
    """Return points, and the first time since which there were never fewer."""
    changes: dict[int, int] = {}
    for at, delta in moves:
        changes[at] = changes.get(at, 0) + delta
    points = sum(changes.values())
    reached, running = 0, 0
    for at in sorted(changes):
        before, running = running, running + changes[at]
        if before < points <= running:
            reached = at
    return Total((points, reached if points > 0 else 0))


@st.composite
def _records(draw: st.DrawFn) -> list[Event]:
    """Draw what the quiz service records of a player: submissions, voids of some, and adjustments."""
    quizzes = {"q": draw(st.sampled_from(quiz_pb2.Counting.values()[1:])), "r": quiz_pb2.COUNTING_LAST}
    tallies: dict[str, Tally] = dict.fromkeys(quizzes, NOTHING)
    attempts: dict[str, list[list[int]]] = {quiz: [] for quiz in quizzes}  # time and points
    events: list[Event] = []
    at = START
    for number in range(draw(st.integers(1, 14))):
        at += draw(st.integers(0, 12)) * HOUR
        what = draw(st.sampled_from(["answer", "answer", "void", "adjust"]))
        quiz = draw(st.sampled_from(sorted(quizzes)))
        if what == "adjust":
            events.append(adjusted(number, draw(st.sampled_from([-50, -10, 10, 50, 3 * BILLION, -3 * BILLION])), at))
            continue
        before = tallies[quiz]
        if what == "answer":
            points = draw(st.integers(0, 5)) * 10
            after, counts_at = tally(quizzes[quiz], before, points), at
            attempts[quiz].append([at, points])
        elif attempts[quiz]:
            counts_at, _ = attempts[quiz].pop(draw(st.integers(0, len(attempts[quiz]) - 1)))
            after = tally_of(quizzes[quiz], before, [points for _, points in attempts[quiz]])
        else:
            continue
        tallies[quiz] = after
        event = answered(number, after.counted - before.counted, counts_at, quiz, after.sequence, after.counted)
        events.append(event._replace(kind=ACTION_VOIDED, change=Change("m", "why")) if what == "void" else event)
    return events


@examples(400)
@given(_records(), st.randoms(use_true_random=False))
def test_totals_are_reached_when_a_plain_computation_says_in_any_order(events: list[Event], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for order in (events, shuffled):
        fold, _ = counted(order)
        weeks: dict[str, list[tuple[int, int]]] = {}
        months: dict[str, list[tuple[int, int]]] = {}
        quizzes: dict[str, list[tuple[int, int]]] = {}
        for event in events:
            week, month = periods_of(event.at)
            for moves, name in ((weeks, week), (months, month), (quizzes, event.quiz_id)):
                moves.setdefault(name, []).append((event.at, event.delta))
        assert fold.total[:2] == plain((event.at, event.delta) for event in events)[:2]
        assert {name: total[:2] for name, total in fold.weeks.items()} == {n: plain(m)[:2] for n, m in weeks.items()}
        assert {name: total[:2] for name, total in fold.months.items()} == {n: plain(m)[:2] for n, m in months.items()}
        for quiz, total in fold.quizzes.items():
            assert (total.points, total.reached_at) == plain(quizzes[quiz])[:2]


def test_void_leaves_the_earlier_reacher_ahead() -> None:
    first = answered(1, 100, START, "q", 1, 100)
    later = answered(2, 30, START + HOUR, "r", 1, 30)
    void = later._replace(event_id="v", delta=-30, attempt=2, quiz_total=0, kind=ACTION_VOIDED, change=Change("m", ""))
    assert counted([first, later, void])[0].total == Total((100, START, START + HOUR))


def test_adjustment_and_its_opposite_leave_no_trace_in_the_tie() -> None:
    first = answered(1, 100, START, "q", 1, 100)
    fold, _ = counted([first, adjusted(2, 50, START + HOUR), adjusted(3, -50, START + 2 * HOUR)])
    assert fold.total[:2] == fold.weeks["2026-47"][:2] == (100, START)
    assert latest_change(fold.total) == START + 2 * HOUR


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_beyond_32_bits_come_back_to_where_they_were(sign: int) -> None:
    first = answered(1, 100, START, "q", 1, 100)
    deltas = [sign * BILLION] * 3 + [-sign * BILLION] * 3
    fold, rows = counted([first, *(adjusted(n, delta, START + n * HOUR) for n, delta in enumerate(deltas, 2))])
    assert max(abs(row.total.points) for row in rows) >= 3 * BILLION - 100
    assert fold.total[:2] == (100, START if sign > 0 else START + 7 * HOUR)


def test_alternating_results_are_decided_by_few_rows() -> None:
    events = [answered(0, 100, START, "q", 1, 100)]
    for number in range(1, 200):
        delta = 80 if number % 2 else -80
        events.append(answered(number, delta, START + number, "r", number, 80 if number % 2 else 0))
    fold, rows = empty_fold("ada"), list[Row]()
    for event in events:
        latest = rows[-4:]
        rows.append(next_row(fold, event, event.at, history=History(latest, is_all=len(rows) <= len(latest))))
        fold = apply(fold, rows[-1])
    assert fold.total[:2] == (180, START + 199)


def test_total_of_an_earlier_version_keeps_its_hash() -> None:
    _, rows = counted([answered(1, 100, START, "q", 1, 100)])
    assert rows[0].hash.hex() == "c16c0f70b70a7fc319b76a2e5c1558893aad87fe1428cbd53b942d2bc813a480"
