"""A chain with a gap is made whole: it can be followed again, and its totals are the sum of what is in it."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.boards.proofs.pseudonyms import pseudonym_of
from services.runtime.clock import milliseconds_of
from services.score.ledger.event_boards import periods_of
from services.score.ledger.events import Event
from services.score.ledger.folds.fold import Fold, apply, empty_fold, next_row
from services.score.ledger.history import History
from services.score.ledger.rows import Row, row_hash
from services.score.ledger.seals import Seal, UnsealableError, repairing_row, seal_of
from services.streams import CHAIN_CORRECTED, CHAIN_SEALED
from tests.unit.score.test_history import plain
from tests.unit.score.test_ledger import MONDAY

EMPTY = empty_fold("ada", b"c" * 16)
_HOURS = st.integers(0, 13 * 24)


def answered(number: int, delta: int, hours: int) -> Event:
    at = milliseconds_of(MONDAY + timedelta(hours=hours))
    return Event(f"e{number}", "ada", f"q{number}", delta, at, f"a{number}", 1, delta)


def extended(fold: Fold, rows: list[Row], event: Event) -> Fold:
    rows.append(next_row(fold, event, event.at, history=History(rows, is_all=True)))
    return apply(fold, rows[-1])


def folded(rows: list[Row]) -> Fold:
    fold = EMPTY
    for row in rows:
        assert row.hash == row_hash(row)
        assert row.old_total == fold.total.points
        assert row.total.points == row.old_total + row.delta
        fold = apply(fold, row)
    return fold


def repaired(rows: list[Row]) -> list[Row]:
    rows = list(rows)
    while row := repairing_row(
        EMPTY, rows, actor="operator", digest=lambda actor, reason: f"{actor}{reason}".encode()[:16], recorded_at=7
    ):
        rows = sorted([*rows, row], key=lambda each: each.revision)
        assert len({each.revision for each in rows}) == len({each.event_id for each in rows}) == len(rows)
    return rows


@given(
    st.lists(st.tuples(st.integers(-40, 100), _HOURS), min_size=2, max_size=14),
    st.data(),
)
def test_repaired_chain_has_the_sum_of_what_is_in_it(events: list[tuple[int, int]], data: st.DataObject) -> None:
    fold, rows = EMPTY, list[Row]()
    for number, (delta, hours) in enumerate(events):
        fold = extended(fold, rows, answered(number, delta, hours))
    lost = data.draw(st.sets(st.integers(0, len(rows) - 2), min_size=1))
    kept = [row for index, row in enumerate(rows) if index not in lost]
    whole = repaired(kept)
    fold = folded(whole)
    moves = [(row.at, row.delta) for row in kept]
    assert fold.total.points == sum(delta for _, delta in moves)
    if fold.total.points > 0:
        assert fold.total.reached_at == plain(moves).reached_at
    for index, totals in enumerate((fold.weeks, fold.months)):
        for name, total in totals.items():
            assert total.points == sum(delta for at, delta in moves if periods_of(at)[index] == name)
    # What was lost is counted again.
    for row in (rows[index] for index in sorted(lost)):
        fold = extended(fold, whole, answered(int(row.event_id[1:]), row.delta, 0)._replace(at=row.at))
    assert fold.total[:2] == plain((row.at, row.delta) for row in rows)[:2]
    assert repaired(whole) == whole
    assert folded(whole) == fold


def test_seal_names_what_is_missing_and_who_sealed_it() -> None:
    fold, rows = EMPTY, list[Row]()
    for number in range(5):
        fold = extended(fold, rows, answered(number, 10, number))
    seal, correction = (row for row in repaired([rows[0], *rows[3:]]) if row.kind in (CHAIN_SEALED, CHAIN_CORRECTED))
    assert seal_of(seal) == Seal("ada", 2, 3, 20, "operator", 7)
    assert seal.change is not None
    assert bytes.fromhex(seal.change.voids) == rows[2].hash
    assert (correction.revision, correction.delta, correction.total.points) == (6, -20, 30)


def test_row_that_takes_the_first_missing_revision_meanwhile_is_kept() -> None:
    fold, rows = EMPTY, list[Row]()
    for number in range(5):
        fold = extended(fold, rows, answered(number, 10, number))
    between = next_row(apply(EMPTY, rows[0]), answered(9, 7, 1), 0)
    assert folded(repaired([rows[0], between, *rows[3:]])).total.points == 10 + 7 + 10 + 10


def test_rows_that_disagree_without_a_gap_are_left_to_people() -> None:
    fold, rows = EMPTY, list[Row]()
    for number in range(3):
        fold = extended(fold, rows, answered(number, 10, number))
    other = next_row(apply(EMPTY, rows[0]), answered(9, 7, 1), 0)
    with pytest.raises(UnsealableError):
        repaired([rows[0], other, rows[2]])


def test_seal_of_an_erased_player_names_nobody() -> None:
    fold, rows = EMPTY, list[Row]()
    for number in range(3):
        fold = extended(fold, rows, answered(number, 10, number))
    pseudonym = pseudonym_of(EMPTY.chain)
    whole = repaired([row._replace(user_id=pseudonym) for row in (rows[0], rows[2])])
    assert {row.user_id for row in whole} == {pseudonym}
    assert all(row.previous == fold.hash for row, fold in zip(whole[:1], itertools.repeat(EMPTY), strict=False))
