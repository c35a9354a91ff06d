"""Calendars: every moment is in exactly one period of a zone, whatever its clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.boards.periods.calendar import Calendar
from services.runtime.clock import milliseconds_of
from tests.properties import examples

RULES = ("daily", "weekly", "monthly", "yearly", "every:3:2001-05-17", "every:1:2000-01-03", "every:14:2001-05-17")
ZONES = sorted(zone for zone in available_timezones() if zone[0].isupper() and zone != "Factory")


moments = st.datetimes(datetime(2002, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds it


@examples(400)
@given(st.sampled_from(RULES), st.sampled_from(ZONES), moments)
@example("daily", "Australia/Lord_Howe", datetime(2026, 4, 4, 15, 15, tzinfo=UTC))
@example("daily", "Pacific/Apia", datetime(2011, 12, 30, 10, 30, tzinfo=UTC))
@example("daily", "America/Sao_Paulo", datetime(2018, 11, 4, 3, 10, tzinfo=UTC))
@example("daily", "America/Havana", datetime(2026, 11, 1, 4, 30, tzinfo=UTC))
@example("daily", "Africa/Porto-Novo", datetime(2002, 1, 1, 22, 59, 59, 999500, tzinfo=UTC))
def test_moment_is_in_the_period_of_its_name_and_in_no_other(rule: str, zone: str, at: datetime) -> None:
    calendar = Calendar(rule, zone)
    name = calendar.name_of(milliseconds_of(at))
    period = calendar.period(name)
    assert period is not None
    assert period.starts_at <= at < period.ends_at
    assert calendar.name_of(milliseconds_of(period.starts_at)) == name
    assert calendar.name_of(milliseconds_of(period.ends_at) - 1) == name
    following = calendar.name_of(milliseconds_of(period.ends_at))
    assert following > name, "names sort by time"
    after = calendar.period(following)
    assert after is not None
    assert after.starts_at == period.ends_at, "nothing is between two periods"
    assert Calendar(rule, zone).latest_end(at) == period.starts_at


@examples(150)
@given(st.sampled_from(ZONES), moments)
def test_period_begins_with_the_first_moment_of_its_local_day(zone: str, at: datetime) -> None:
    period = Calendar("daily", zone).period(Calendar("daily", zone).name_of(milliseconds_of(at)))
    assert period is not None
    first, before = (
        moment.astimezone(ZoneInfo(zone)) for moment in (period.starts_at, period.starts_at - timedelta(seconds=1))
    )
    assert first.date() > before.date()


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-04-05", "Australia/Lord_Howe", 24.5),
        ("2026-10-04", "Australia/Lord_Howe", 23.5),
        ("2026-06-01", "Asia/Ho_Chi_Minh", 24),
    ],
)
def test_days_are_as_long_as_the_clocks_say(day: str, zone: str, hours: float) -> None:
    period = Calendar("daily", zone).period(day)
    assert period is not None
    assert period.ends_at - period.starts_at == timedelta(hours=hours)


def test_day_that_a_zone_skipped_does_not_exist() -> None:
    assert Calendar("daily", "Pacific/Apia").period("2011-12-30") is None
    assert (
        Calendar("daily", "Pacific/Apia").name_of(milliseconds_of(datetime(2011, 12, 30, 10, tzinfo=UTC)))
        == "2011-12-31"
    )


def test_weeks_and_months_of_utc_are_those_of_the_built_in_boards() -> None:
    at = milliseconds_of(datetime(2026, 11, 28, 12, tzinfo=UTC))
    assert Calendar("weekly").name_of(at) == "2026-W48"
    assert Calendar("monthly").name_of(at) == "2026-11"


def test_range_counts_from_its_start_to_its_end() -> None:
    calendar = Calendar("range:2026-11-28/2026-11-30", "Asia/Tokyo")
    calendar.check()
    start, end = datetime(2026, 11, 27, 15, tzinfo=UTC), datetime(2026, 11, 29, 15, tzinfo=UTC)
    assert [calendar.counts(milliseconds_of(at)) for at in (start - timedelta(milliseconds=1), start, end)] == [
        False,
        True,
        False,
    ]
    assert calendar.name_of(milliseconds_of(start)) == ""
    assert calendar.latest_end(end) == end
    assert calendar.latest_end(start) is None


def test_repeated_days_count_from_their_first() -> None:
    calendar = Calendar("every:3:2026-11-28")
    first = datetime(2026, 11, 28, tzinfo=UTC)
    assert not calendar.counts(milliseconds_of(first) - 1)
    assert calendar.counts(milliseconds_of(first))
    assert calendar.latest_end(first + timedelta(days=2)) is None
    assert calendar.latest_end(first + timedelta(days=4)) == first + timedelta(days=3)
    assert calendar.period("2026-11-29") is None
    assert calendar.name_of(milliseconds_of(first + timedelta(days=7))) == "2026-12-04"


@pytest.mark.parametrize(
    ("rule", "zone"),
    [
        ("hourly", "UTC"), ("every:0:2026-01-01", "UTC"), ("every:9999:2026-01-01", "UTC"), ("every:2:2026-02-30", "UTC"),
        ("every:2:1999-01-01", "UTC"), ("range:2026-01-02/2026-01-01", "UTC"), ("range:2026-01-02", "UTC"),
        ("range:2026-01-02T10:00:00/2026-01-03", "UTC"), ("daily", "Mars/Olympus"), ("daily", "../etc/passwd"),
        ("daily", "tzdata.zi"), ("daily", ""), ("daily", "posixrules"),
    ],
)  # fmt: skip
def test_rule_or_zone_that_does_not_exist_is_refused(rule: str, zone: str) -> None:
    with pytest.raises(ValueError, match="has "):
        Calendar(rule, zone).check()


@examples(100)
@given(st.text(max_size=60), st.text(max_size=30))
def test_any_text_is_checked_without_another_error(rule: str, zone: str) -> None:
    for each in (rule, f"every:{rule}", f"range:{rule}/{zone}"):
        try:
            Calendar(each, zone or "UTC").check()
        except ValueError as error:
            assert str(error).startswith("has ")


def test_names_of_no_period_are_none() -> None:
    for rule, names in {
        "daily": ("2026-02-30", "2026-1-1", "", "2026-W01", "1999-12-31"),
        "weekly": ("2026-W60", "2026-00"),
        "monthly": ("2026-13", "2026"),
        "yearly": ("26", "1900"),
        "all": ("", "2026"),
    }.items():
        assert [Calendar(rule).period(name) for name in names] == [None] * len(names), rule
    assert date(2026, 11, 28).isoformat() == Calendar("daily").name_of(
        milliseconds_of(datetime(2026, 11, 28, tzinfo=UTC))
    )
