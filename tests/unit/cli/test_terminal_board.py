"""The terminal board's lines fit any width, stay aligned in any script, and keep the player's own row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from services.cli.terminal_board.layout import clean, duration, fit, lay_out, lay_out_once, ordinal, title_of
from services.cli.terminal_board.reading import board_input, entries_of
from services.cli.terminal_board.standings import CHANGED_FOR, Entry, Standings, State

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TABS = {"all": "", "weekly": "", "monthly": "", "country:VN": "", "custom:lap": "Best lap"}
NAMES = ["Luca", "日本語の名前", "e\u0301e\u0301e\u0301", "ไทยดี", "שלום", "한국어", "Wolfgang-Amadeus-the-Second-of-32"]
names = st.one_of(st.sampled_from(NAMES), st.text(st.characters(categories=["L", "M", "N"]), min_size=1, max_size=32))


def entries(count: int, *, name: str = "player", first_rank: int = 1, score: int = 1_000) -> list[Entry]:
    return [
        Entry(rank, f"{name}-{rank}", f"{name}{rank}", score - rank, "VN")
        for rank in range(first_rank, first_rank + count)
    ]


def live(**changes: object) -> Standings:
    standings = Standings("all", "me", state=State.LIVE, framed_at=NOW, heard_at=NOW, count=25)
    for name, value in changes.items():
        setattr(standings, name, value)
    return standings


def text(standings: Standings, width: int = 80, height: int = 24, now: datetime = NOW) -> list[str]:
    return [line.plain for line in lay_out(standings, TABS, width, height, now)]


@given(
    every=st.lists(st.tuples(names, st.integers(-(10**9), 10**9)), max_size=10),
    width=st.integers(20, 200),
    height=st.integers(6, 60),
    rank=st.one_of(st.none(), st.integers(1, 10**6)),
)
def test_nothing_is_wider_or_higher_than_the_terminal_and_scores_end_in_one_column(
    every: list[tuple[str, int]], width: int, height: int, rank: int | None
) -> None:
    rows = [Entry(n, str(n), name, score, "VN") for n, (name, score) in enumerate(every, 1)]
    standings = live(entries=rows, rank=rank, score=5, reset_at=NOW + timedelta(days=2))
    lines = text(standings, width, height)
    assert len(lines) == height
    assert max(cell_len(line) for line in lines) <= width
    shown = lines[2 : 2 + min(len(rows), height - 4)]
    if width >= 40:
        assert {cell_len(line) for line in shown} <= {width}
        assert all(line.endswith(tuple(f" {row.score:,} " for row in rows)) for line in shown)


def test_frozen_board_says_so_in_forty_columns_until_it_is_final() -> None:
    since = NOW - timedelta(minutes=20)
    said = f"frozen since {since.astimezone():%H:%M}"
    frozen = live(entries=entries(3), frozen_since=since)
    assert said in text(frozen, width=40)[1]
    assert said in lay_out_once(frozen, 40, NOW)[0].plain
    assert said not in text(live(entries=entries(3), frozen_since=since, state=State.FINAL))[1]


def test_a_row_of_forty_columns_keeps_the_name_and_the_score() -> None:
    rows = [Entry(1, "a", "Wolfgang-Amadeus", 999_999_999, "AT"), Entry(2, "me", "日本語の名前", 7, "JP")]
    lines = text(live(entries=rows, rank=2, score=7), 40, 12)
    assert lines[2].startswith("  1 Wolfgang-Amadeus ")
    assert lines[2].endswith(" 999,999,999 ")
    assert lines[3].startswith("▸ 2 日本語の名前")
    assert cell_len(lines[3]) == 40


def test_a_change_is_marked_for_a_while_and_the_first_frame_changes_nothing() -> None:
    standings = live()
    standings.show([Entry(1, "a", "Ada", 10), Entry(2, "b", "Bo", 5)], NOW)
    assert not any("▲" in line or "+" in line for line in text(standings))
    standings.show([Entry(1, "b", "Bo", 40), Entry(2, "a", "Ada", 10), Entry(3, "c", "Cy", 1)], NOW)
    rows = text(standings)[2:5]
    assert ["▲1" in rows[0], "+35" in rows[0], "▼1" in rows[1], "new" in rows[2]] == [True] * 4
    later = text(standings, now=NOW + CHANGED_FOR)[2:5]
    assert not any(mark in line for line in later for mark in ("▲", "▼", "+", "new"))


@pytest.mark.parametrize("height", [12, 16, 24])
def test_a_player_below_the_top_sees_three_neighbors_on_either_side(height: int) -> None:
    near = entries(7, name="near", first_rank=41, score=500)
    near[3] = Entry(44, "me", "Ada", 456, "GB")
    standings = live(entries=entries(10), neighbors=near, rank=44, score=456, gap=1)
    lines = text(standings, height=height)
    assert [line.split()[1] for line in lines if " near" in line and "You are" not in line] == [
        f"near{rank}" for rank in (41, 42, 43, 45, 46, 47)
    ]
    assert any(line.startswith("▸44 Ada") for line in lines)
    assert any(" ─ around you " in line for line in lines)
    assert lines[-1].startswith(" q quit")
    assert any("You are 44th with 456 · 1 to near43" in line for line in lines)


@given(width=st.integers(20, 200), name=names, details=names)
def test_details_stand_behind_the_name_as_far_as_there_is_room(width: int, name: str, details: str) -> None:
    rows = [Entry(1, "a", name, 1_234, "AT", details), Entry(2, "b", "Bo", 7)]
    lines = text(live(entries=rows), width, 12)
    assert max(cell_len(line) for line in lines) <= width
    assert {cell_len(line) for line in lines[2:4]} == {width} or width < 40
    wide = lay_out_once(live(entries=rows), 200, NOW)[1].plain
    assert f"{clean(name)}  {clean(details)}" in wide


def test_details_take_the_place_of_bars_and_never_that_of_a_name() -> None:
    entry = Entry(1, "a", "Wolfgang-Amadeus", 999_999_999, "AT", "car: red\x1b[2J · lap: 3")
    assert "Wolfgang-Amadeus  car: red[2J · lap: 3" in text(live(entries=[entry]), 100)[2]
    assert "━" not in text(live(entries=[entry]), 200)[2]
    assert "Wolfgang-Amadeus  " in text(live(entries=[entry]), 40)[2]
    assert "car" not in text(live(entries=[entry]), 40)[2]


def test_a_low_terminal_keeps_the_own_row() -> None:
    rows = [*entries(9), Entry(10, "me", "Ada", 1, "GB")]
    lines = text(live(entries=rows, rank=10, score=1), height=8)
    assert any(line.startswith("▸10 Ada") for line in lines)


def test_it_says_whether_it_is_live_and_how_old_the_frame_is() -> None:
    standings = live(entries=entries(1), reset_at=NOW + timedelta(hours=3, seconds=5))
    assert " ● Live · 7 s old" in text(standings, now=NOW + timedelta(seconds=7))[1]
    assert "25 players · resets in 03:00:05" in text(standings)[1]
    assert " ● Not live · 25 s old" in text(standings, now=NOW + timedelta(seconds=25))[1], "a silent server"
    assert "resets" not in text(standings, 40)[1]


def test_a_defined_board_is_called_by_its_title() -> None:
    standings = live(board="custom:lap", title="Best lap")
    assert " Best lap " in text(standings)[0]
    assert " Best lap " in text(standings, width=20)[0]
    assert lay_out_once(standings, 80, NOW)[0].plain.startswith(" Best lap · ")
    assert lay_out_once(live(board="custom:lap"), 80, NOW)[0].plain.startswith(" lap · ")


def test_a_printed_board_has_no_trailing_spaces_and_nothing_that_moves() -> None:
    standings = live(entries=entries(2), rank=None)
    lines = [line.plain for line in lay_out_once(standings, 80, NOW)]
    assert lines[0] == " All time · 25 players"
    assert lines[1].split() == ["1", "player1", "VN", "999"]
    assert all(line == line.rstrip() for line in lines)
    assert "━" not in "".join(lines)


def test_no_name_breaks_its_line_or_turns_it_around() -> None:
    assert clean("a\x1b[2Jb\n\u202ec\u2067d") == "a[2Jbcd"
    assert fit("日本語", 4) == "日… "
    assert fit("ab", 4) == "ab  "


def test_words() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 112, 1_023)] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "112th",
        "1,023rd",
    ]
    assert duration(timedelta(days=2, hours=3, seconds=4)) == "2 d 03:00:04"
    assert [title_of(board) for board in ("all", "weekly:2026-47", "country:VN")] == [
        "All time",
        "weekly 2026-47",
        "VN",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all", {"kind": "ALL"}),
        ("weekly:2026-47", {"kind": "WEEKLY", "period": "2026-47"}),
        ("country:VN", {"kind": "COUNTRY", "country": "VN"}),
        ("quiz:a-b", {"kind": "QUIZ", "quizId": "a-b"}),
        ("custom:team:VN:2026-11", {"kind": "CUSTOM", "name": "team", "country": "VN", "period": "2026-11"}),
    ],
)
def test_a_board_by_name_is_the_board_of_the_api(name: str, expected: dict[str, str]) -> None:
    assert board_input(name) == expected


def test_an_entry_has_the_beginning_of_its_metadata() -> None:
    row = {"rank": 1, "userId": "a", "username": "Ada", "score": 5, "country": None}
    read = [row, {**row, "metadata": None}, {**row, "metadata": {name: name.upper() for name in "bdac"}}]
    assert [entry.details for entry in entries_of(read)] == ["", "", "a: A · b: B · c: C"]
