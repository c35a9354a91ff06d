"""Stretches of time: each calendar says the same throughout one as it says by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.boards.periods.calendar import Calendar
from services.boards.periods.stretches import Stretches
from services.runtime.clock import milliseconds_of
from tests.properties import examples
from tests.unit.boards.test_calendar import RULES, ZONES

FROM = datetime(2026, 11, 1, tzinfo=UTC)
LIMITED = (
    "all",
    "range:2026-11-05/2026-11-20",
    "range:2026-11-05T10:30:00+07:00/2026-11-05T22:00:00Z",
    "every:14:2026-11-09",
)
DAY_SECONDS = 86_400
calendars = st.builds(
    Calendar, st.sampled_from((*RULES, *LIMITED)), st.sampled_from(ZONES), st.sampled_from((0, 0, 60, 8 * DAY_SECONDS))
).filter(lambda calendar: calendar.rule != "all" or not calendar.stops_before)
times = st.timedeltas(timedelta(0), timedelta(days=40)).map(lambda after: milliseconds_of(FROM + after))


def plain(calendar: Calendar, at: int) -> str | None:
    return calendar.name_of(at) if calendar.counts(at) else None


@examples(300)
@given(st.lists(calendars, max_size=4), st.lists(times, min_size=1, max_size=8), st.data())
def test_periods_of_a_stretch_are_those_of_each_of_its_moments(
    chosen: list[Calendar], moments: list[int], data: st.DataObject
) -> None:
    stretches = Stretches(chosen)
    for at in moments:
        found = stretches.at(at)
        assert found.starts_at <= at < found.ends_at
        earliest, latest = max(found.starts_at, moments[0] - 10**10), min(found.ends_at, moments[0] + 10**10)
        for moment in (at, earliest, latest - 1, data.draw(st.integers(earliest, latest - 1))):
            assert found.periods == tuple(plain(calendar, moment) for calendar in chosen)
            assert stretches.at(moment).periods == found.periods


def test_moments_of_one_day_share_a_stretch() -> None:
    stretches = Stretches([Calendar("daily"), Calendar("yearly"), Calendar("all")])
    first, last = (milliseconds_of(FROM + timedelta(hours=hours)) for hours in (0, 23))
    assert stretches.at(first) is stretches.at(last)
    assert stretches.at(first) is not stretches.at(last + 3_600_000)
