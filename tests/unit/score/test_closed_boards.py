"""Which closed boards count actions: those that a look at each action by itself finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.quiz.amendments.reach import MAX_TIMES, Reach
from services.runtime.clock import milliseconds_of
from services.score.periods.closed_boards import Actions, closed_boards

START = datetime(2026, 10, 20, tzinfo=UTC)
PERIODS = ("daily", "weekly", "monthly", "yearly", "all", "every:3:2026-10-21", "range:2026-10-23T01:17:00Z/2026-10-31")
# Of these, one changes its clock in the time of the test, and two are not whole hours from UTC.
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu")
SOURCES = (("all",), ("quiz:capitals",), ("quiz:rivers",), ("tag:geo", "action:run"))
SEGMENTS = ("all", "country:DE,VN", "each-country")
TIMES = st.integers(0, 20 * 86_400_000).map(lambda after: START + timedelta(milliseconds=after))


@st.composite
def definitions(draw: st.DrawFn) -> list[Definition]:
    return [
        Definition(
            f"board-{number}",
            sources=draw(st.sampled_from(SOURCES)),
            period=draw(st.sampled_from(PERIODS)),
            time_zone=draw(st.sampled_from(ZONES)),
            segment=draw(st.sampled_from(SEGMENTS)),
            archived_at=draw(st.none() | TIMES),
        )
        for number in range(draw(st.integers(0, 4)))
    ]


def counting(defined: list[Definition], closed_through: int, at: datetime, tag: str, country: str) -> set[Board]:
    """Return the closed and archived boards of a single action at a quiz."""
    found = set()
    built_in = [Definition(kind, period=kind) for kind in ("weekly", "monthly")]
    for each in (*built_in, *defined):
        moment = milliseconds_of(at)
        if not {"all", "quiz:capitals", f"tag:{tag}"} & set(each.sources) or not each.calendar.counts(moment):
            continue
        name = each.calendar.name_of(moment)
        period = each.calendar.period(name)
        is_over = period is not None and milliseconds_of(period.ends_at) <= closed_through
        is_closed = is_over if each.archived_at is None else at < each.archived_at
        if is_closed and each.includes(country):
            built_in_name = f"{each.name}:{name.replace('W', '')}"
            found.add(Board.parse(built_in_name, START) if each in built_in else each.board(country, name))
    return found


@given(
    definitions(),
    TIMES,
    st.lists(TIMES, max_size=12),
    st.sampled_from(("geo", "other", "")),
    st.sampled_from(("DE", "FR", "")),
)
def test_the_closed_boards_of_actions_are_those_of_each_of_them(
    defined: list[Definition], closed: datetime, times: list[datetime], tag: str, country: str
) -> None:
    reach = Reach()
    for time in times:
        reach.add(time, [tag] if tag else [], country)
    through = milliseconds_of(closed)
    found = closed_boards(
        Catalog(defined=defined), through, Actions("capitals", reach.times, reach.tags, reach.countries)
    )
    assert len(found) == len(set(found))
    assert set(found) == {board for time in times for board in counting(defined, through, time, tag, country)}


def test_times_that_no_action_has_name_no_board() -> None:
    times = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
    catalog = Catalog(defined=[Definition("daily-run", period="daily", time_zone="Asia/Kolkata")])
    assert closed_boards(catalog, milliseconds_of(START), Actions("capitals", times, (), ())) == []


def test_what_is_held_of_times_grows_with_the_hours_alone() -> None:
    reach = Reach()
    for second in range(3 * 3600):
        reach.add(START + timedelta(seconds=second), (), "")
    assert len(reach.times) == 6
    for hour in range(MAX_TIMES + 2):
        reach.add(START + timedelta(hours=hour, minutes=1), (), "")
    assert len(reach.times) == MAX_TIMES
    assert reach.times[-1] == START + timedelta(hours=MAX_TIMES + 1, minutes=1)
