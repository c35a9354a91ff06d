"""Which standings readers see of a board that freezes, and since when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition, problems
from services.boards.periods.calendar import Calendar
from services.boards.periods.freezing import freezes_at, frozen_since, source_of
from services.boards.sharding import Sharding
from services.runtime.clock import milliseconds_of

ENDS = datetime(2026, 11, 30, tzinfo=UTC)
FREEZES = ENDS - timedelta(hours=2)
CUP = Definition("cup", period="weekly", freezes_before=7200, freeze_number=4, freeze_changes=1)
BOARD, COPY = Board("custom", "cup:2026-W48"), Board("custom", "cup_until_freeze:2026-W48")


def catalog(definition: Definition = CUP, keys: str = "") -> Catalog:
    return Catalog(sharding=Sharding(keys), defined=[definition])


def test_readers_see_the_copy_until_the_period_is_over() -> None:
    boards = catalog()
    for now in (FREEZES - timedelta(days=3), FREEZES, ENDS - timedelta(milliseconds=1)):
        assert source_of(boards, BOARD, now) == (COPY, 2)
    assert source_of(boards, BOARD, ENDS) == (BOARD, 3)
    assert source_of(boards, Board("all"), ENDS) == (Board("all"), 0)


def test_board_says_since_when_it_is_frozen() -> None:
    boards = catalog()
    assert freezes_at(boards, BOARD) == FREEZES
    assert frozen_since(boards, BOARD, FREEZES - timedelta(milliseconds=1)) is None
    assert frozen_since(boards, BOARD, FREEZES) == FREEZES
    assert frozen_since(boards, BOARD, ENDS) is None


def test_until_a_copy_is_built_the_board_itself_is_shown_but_never_after_the_freeze() -> None:
    boards = catalog(replace(CUP, freeze_state="building"))
    assert source_of(boards, BOARD, FREEZES - timedelta(minutes=2)) == (BOARD, 1)
    assert source_of(boards, BOARD, FREEZES - timedelta(seconds=30)) == (COPY, 2), "a clock may be behind"
    definition = boards.definition_of(COPY)
    assert definition is not None
    assert definition.state == "building"


def test_steps_rise_with_each_change_and_with_the_end() -> None:
    removed = replace(CUP, freezes_before=0, freeze_changes=2)
    again = replace(CUP, freezes_before=60, freeze_changes=3, freeze_state="building")
    now = ENDS - timedelta(days=1)
    steps = [
        source_of(catalog(each), BOARD, at).step
        for each, at in (
            (replace(CUP, freezes_before=0, freeze_changes=0), now),
            (replace(CUP, freeze_state="building"), now),
            (CUP, now),
            (removed, now),
            (again, now),
            (replace(again, freeze_state="ready"), now),
            (again, ENDS),
        )
    ]
    assert steps == sorted(set(steps))


def test_archived_board_is_not_frozen() -> None:
    boards = catalog(replace(CUP, state="archived"))
    assert source_of(boards, BOARD, FREEZES).board == BOARD
    assert frozen_since(boards, BOARD, FREEZES) is None
    assert boards.definition_of(COPY) is None


def test_copy_has_no_name_for_clients() -> None:
    boards = catalog()
    with pytest.raises(ValueError, match="no board is named"):
        boards.parse("custom:cup_until_freeze", FREEZES)
    assert not any(each.is_until_freeze for each in boards.current(FREEZES))
    assert (COPY.is_until_freeze, COPY.of_readers, BOARD.of_readers) == (True, BOARD, BOARD)
    assert [problem[0] for problem in problems(replace(CUP, name="cup_until_freeze"))] == ["name"]


@pytest.mark.parametrize("keys", ["custom:cup=3", "custom:cup=3; all=2"])
def test_copy_is_sharded_as_its_board(keys: str) -> None:
    sharding = Sharding(keys)
    assert len(sharding.shards(COPY)) == len(sharding.shards(BOARD)) == 3


@pytest.mark.parametrize(
    ("rule", "zone", "ends"),
    [
        ("daily", "America/New_York", "2026-03-09T00:00:00-04:00"),  # a day of 23 hours
        ("weekly", "Europe/Berlin", "2026-10-26T00:00:00+01:00"),
        ("every:3:2026-01-01", "Asia/Tokyo", "2026-01-04T00:00:00+09:00"),
        ("range:2026-01-01T10:00:00+00:00/2026-01-01T18:00:00+00:00", "UTC", "2026-01-01T18:00:00+00:00"),
    ],
)
def test_copy_counts_up_to_the_freeze_and_again_from_the_next_period(rule: str, zone: str, ends: str) -> None:
    end = milliseconds_of(datetime.fromisoformat(ends))
    freeze = end - 3_600_000
    calendar = Calendar(rule, zone, 3600)
    assert calendar.counts(freeze - 1)
    assert not calendar.counts(freeze)
    assert not calendar.counts(end - 1)
    assert calendar.counts(end) is calendar.is_repeated
    assert calendar.name_of(freeze - 1) == calendar.name_of(end - 1)


@pytest.mark.parametrize(
    ("period", "seconds", "is_valid"),
    [
        ("daily", 86_399, True),
        ("daily", 86_400, False),
        ("weekly", -1, False),
        ("all", 60, False),
        ("range:2026-01-01/2026-01-02", 86_399, True),
        ("range:2026-01-01/2026-01-02", 86_400, False),
        ("every:2:2026-01-01", 100_000, True),
    ],
)
def test_freeze_is_shorter_than_a_period(period: str, seconds: int, is_valid: bool) -> None:
    found = problems(Definition("board", period=period, freezes_before=seconds))
    assert [field for field, _ in found] == ([] if is_valid else ["freezes_before"])
