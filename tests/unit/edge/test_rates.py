"""Rates as text, and the counters that hold them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import EdgeConfig
from edge.rates import gcra
from edge.rates.rates import Rate, Rates, parse_optional_rates, parse_rates
from services.runtime.config.settings import ProcessConfig


def test_a_dash_alone_is_no_limit_at_all() -> None:
    assert parse_optional_rates("-") == parse_rates("-,-") == Rates(None, None)
    assert EdgeConfig(rate_write=parse_optional_rates("-")).rates["write"] == Rates(None, None)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("60/m,600/m", Rates(Rate(60, 60), Rate(600, 60))),
        ("5/s,-", Rates(Rate(5, 1), None)),
        ("-,1/h", Rates(None, Rate(1, 3600))),
        ("", None),
    ],
)
def test_rates_survive_the_way_to_text_and_back(text: str, rates: Rates | None) -> None:
    assert parse_optional_rates(text) == rates
    assert str(rates or "") == text


@pytest.mark.parametrize("text", ["60/m", "60,60", "0/m,-", "60/d,-", "-1/m,-", "60/m,600/m,6/m", "many,-", "1/m;1/m"])
def test_an_invalid_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="two rates such as"):
        parse_rates(text)


def test_the_default_rate_follows_the_environment() -> None:
    assert EdgeConfig().rates["submit"] == parse_rates("6000/m,60000/m")
    production = EdgeConfig(process=ProcessConfig(environment="production"), rate_write=parse_rates("-,-"))
    assert production.rates["submit"] == parse_rates("60/m,1200/m")
    assert production.rates["write"] == Rates(None, None)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 8)), max_size=50), st.integers(1, 6))
def test_a_counter_never_lets_more_through_than_its_rate(steps: list[tuple[float, int]], burst: int) -> None:
    """A second for one, and `burst` at once; steps are pauses and counts."""
    now = free_at = 0.0
    passed = 0
    for pause, count in steps:
        now += pause
        free_at, result = gcra.count(free_at, now, interval=1.0, burst=burst, count=count)
        if result.is_refused:
            assert count > result.remaining
            retried = gcra.count(free_at, now + result.retry_after + 1e-6, interval=1.0, burst=burst, count=count)[1]
            assert retried.is_refused == (count > burst)
        else:
            passed += count
        assert passed <= burst + now + 1e-6
