"""Rows and folds: chains without gaps, totals that are sums, ties that move only when a total rises."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions, DatetimeConversion
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.clock import milliseconds_of
from services.score.ledger.documents import fold_document, fold_of, row_document, row_of
from services.score.ledger.event_boards import periods_of
from services.score.ledger.events import Change, Event
from services.score.ledger.folds.fold import Fold, apply, empty_fold, next_row
from services.score.ledger.history import History
from services.score.ledger.rows import GENESIS, Row, row_hash
from services.score.ledger.totals import PERIODS_IN_FOLD, QuizTotal, Total

DATES: CodecOptions[Mapping[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


def event(
    delta: int = 10, at: datetime = MONDAY, *, number: int = 1, quiz: str = "q", attempt: int = 1, total: int = 10
) -> Event:
    return Event(f"e{number}", "ada", quiz, delta, milliseconds_of(at), f"a{number}", attempt, total, "VN")


def counted(*events: Event) -> tuple[Fold, list[Row]]:
    fold, rows = empty_fold("ada"), list[Row]()
    for each in events:
        row = next_row(fold, each, each.at + 5, history=History(rows, is_all=True))
        rows.append(row)
        fold = apply(fold, row)
    return fold, rows


_times = st.timedeltas(timedelta(days=-75), timedelta(days=105)).map(lambda distance: MONDAY + distance)
_events = st.lists(
    st.builds(
        event,
        delta=st.integers(-(2**31), 2**31 - 1),
        at=_times,
        number=st.integers(1, 10**9),
        quiz=st.sampled_from(["q", "r", "s"]),
        attempt=st.integers(1, 5),
        total=st.integers(-(2**31), 2**31 - 1),
    ),
    min_size=1,
    max_size=25,
)


@given(_events)
def test_rows_are_a_chain_without_a_gap(events: list[Event]) -> None:
    _, rows = counted(*events)
    assert [row.revision for row in rows] == list(range(1, len(rows) + 1))
    assert [row.previous for row in rows] == [GENESIS, *(row.hash for row in rows[:-1])]
    assert all(row.hash == row_hash(row) for row in rows)


@given(_events)
def test_each_total_is_the_former_plus_its_delta(events: list[Event]) -> None:
    fold, rows = counted(*events)
    total = 0
    for row in rows:
        assert row.old_total == total
        total += row.delta
        assert row.total.points == total
    assert fold.total.points == total


@given(_events)
def test_event_counts_in_its_period_while_that_is_among_the_newest_two(events: list[Event]) -> None:
    small = [each._replace(delta=each.delta % 100) for each in events]
    fold, rows = counted(*small)
    weeks: dict[str, int] = {}
    for each, row in zip(small, rows, strict=True):
        week, _ = periods_of(each.at)
        newest = sorted(weeks)[-2:]
        if len(newest) < 2 or week >= newest[0]:
            weeks[week] = weeks.get(week, 0) + each.delta
            assert row.weeks[week].points == weeks[week]
        else:
            assert row.late
            assert week not in row.weeks
        assert len(row.weeks) <= 2
        assert len(row.months) <= 2
    assert {name: total.points for name, total in fold.weeks.items()} == dict(sorted(weeks.items())[-PERIODS_IN_FOLD:])


@given(_events)
def test_documents_round_trip_rows_and_folds(events: list[Event]) -> None:
    fold, rows = counted(*events)
    assert [row_of(bson.decode(bson.encode(row_document(row)), DATES)) for row in rows] == rows
    assert fold_of(bson.decode(bson.encode(fold_document(fold)), DATES)) == fold


@given(_events, st.data())
def test_changing_any_field_breaks_the_hash(events: list[Event], data: st.DataObject) -> None:
    _, rows = counted(*events)
    row = data.draw(st.sampled_from(rows))
    changes: dict[str, Any] = {
        "event_id": "another",
        "chain": b"eve",
        "revision": row.revision + 1,
        "delta": row.delta + 1,
        "old_total": row.old_total + 1,
        "total": Total((row.total.points + 1, row.total.reached_at)),
        "weeks": {},
        "months": {},
        "quiz": QuizTotal((row.quiz.points + 1, row.quiz.attempt, row.quiz.reached_at)),
        "action_id": "another",
        "country": "DE",
        "moved_from": "DE",
        "change": Change("eve", "none", digest=b"another"),
        "hidden": not row.hidden,
        "late": not row.late,
        "at": row.at + 1,
        "recorded_at": row.recorded_at + 1,
        "sequence": row.sequence + 1,
        "partition": row.partition + 1,
        "client": b"another",
        "previous": b"\x01" * 32,
    }
    field = data.draw(st.sampled_from(sorted(changes)))
    assert row_hash(row._replace(**{field: changes[field]})) != row.hash


@given(st.permutations(range(4)))
def test_total_is_reached_at_its_latest_raise_in_any_order(order: list[int]) -> None:
    raises = [event(10, MONDAY + timedelta(minutes=n), number=n, quiz=f"q{n}") for n in range(4)]
    fold, _ = counted(*(raises[n] for n in order))
    assert fold.total == Total((40, milliseconds_of(MONDAY + timedelta(minutes=3))))


@pytest.mark.parametrize("delta", [0, -5])
def test_event_that_does_not_raise_a_total_does_not_move_its_tie(delta: int) -> None:
    before, _ = counted(event(10))
    later = event(delta, MONDAY + timedelta(hours=1), number=2, attempt=2, total=10 + delta)
    after, _ = counted(event(10), later)
    assert after.total[:2] == (10 + delta, before.total.reached_at)
    assert after.weeks["2026-47"][:2] == (10 + delta, before.weeks["2026-47"].reached_at)
    assert after.months["2026-11"].reached_at == before.months["2026-11"].reached_at
    assert after.quizzes["q"][:3] == (10 + delta, 2, before.quizzes["q"].reached_at)


def test_weeks_are_separated_to_the_millisecond() -> None:
    next_monday = MONDAY + timedelta(days=7)
    fold, rows = counted(
        event(10, next_monday - timedelta(milliseconds=1), number=1, quiz="q"),
        event(7, next_monday, number=2, quiz="r"),
    )
    assert {week: total.points for week, total in rows[1].weeks.items()} == {"2026-47": 10, "2026-48": 7}
    assert fold.months["2026-11"].points == 17


def test_iso_weeks_and_months_differ_at_the_turn_of_the_year() -> None:
    # 31 December 2026 is a Thursday: week 53 continues into January, the month does not.
    fold, _ = counted(
        event(1, datetime(2026, 12, 31, 23, 59, tzinfo=UTC), number=1, quiz="q"),
        event(2, datetime(2027, 1, 1, tzinfo=UTC), number=2, quiz="r"),
    )
    assert {week: total.points for week, total in fold.weeks.items()} == {"2026-53": 3}
    assert {month: total.points for month, total in fold.months.items()} == {"2026-12": 1, "2027-01": 2}


def test_highest_attempt_wins_over_a_later_lower_one() -> None:
    second = event(-30, MONDAY + timedelta(minutes=1), number=2, attempt=2, total=70)
    first = event(100, MONDAY, number=1, attempt=1, total=100)
    fold, _ = counted(second, first)
    assert fold.quizzes["q"].points == 70
    assert fold.total.points == 70


def test_country_is_the_first_one_named() -> None:
    nowhere = event(number=1)._replace(country="")
    fold, _ = counted(nowhere, event(number=2, quiz="r"), event(number=3, quiz="s")._replace(country="DE"))
    assert fold.country == "VN"


@pytest.mark.parametrize("change", ["revision", "previous", "chain"])
def test_row_that_does_not_follow_is_refused(change: str) -> None:
    fold, _ = counted(event())
    row = next_row(fold, event(number=2, attempt=2), 0)
    wrong: dict[str, Any] = {"revision": 5, "previous": GENESIS, "chain": b"eve"}
    with pytest.raises(ValueError, match="does not follow"):
        apply(fold, row._replace(**{change: wrong[change]}))


@pytest.mark.parametrize("changes", [{"quiz_id": "No Board"}, {"country": "xx"}, {"at": 0}, {"at": 2**62}])
def test_event_that_no_board_can_have_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        next_row(empty_fold("ada"), event()._replace(**changes), 0)


def test_event_of_a_closed_period_counts_in_all_other_totals() -> None:
    fold, rows = counted(event(10), event(5, MONDAY + timedelta(days=7), number=2, attempt=2, total=15))
    history = History(rows, is_all=True)
    week_ends = milliseconds_of(MONDAY + timedelta(days=7))
    late = event(3, number=3, attempt=3, total=18)
    open_until_now = next_row(fold, late, milliseconds_of(MONDAY + timedelta(days=8)), week_ends - 1, history)
    assert (open_until_now.weeks["2026-47"].points, open_until_now.late) == (13, False)
    closed = next_row(fold, late, milliseconds_of(MONDAY + timedelta(days=8)), week_ends, history)
    assert closed.late
    assert closed.weeks == fold.weeks
    assert closed.months["2026-11"].points == 18
    assert (closed.total.points, closed.quiz.points) == (18, 18)
    of_nobody = next_row(empty_fold("eve"), late._replace(user_id="eve"), 0, week_ends)
    assert of_nobody.weeks == {}
    assert of_nobody.total.points == 3
