"""The load plan: its profiles match the specification, and a short run gives a correct report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.load import report
from tests.load.charts import nice
from tests.load.profiles import KINDS, PROFILES, scenarios, thresholds
from tests.load.run import Plan, play
from tests.load.traffic import Series
from tests.servers import RunningStack


@pytest.mark.parametrize(
    ("name", "minutes"), [("baseline", 30), ("peak", 15), ("stress", 60), ("spike", 10), ("endurance", 240)]
)
def test_a_profile_lasts_as_long_as_is_asked_for(name: str, minutes: float) -> None:
    assert PROFILES[name].minutes == pytest.approx(minutes)


def test_a_scale_shortens_every_stage_and_no_rate() -> None:
    whole, short = (scenarios(PROFILES["spike"], 20, scale, 100) for scale in (1, 0.1))
    for name in KINDS:
        for long_stage, short_stage in zip(whole[name]["stages"], short[name]["stages"], strict=True):
            assert short_stage["target"] == long_stage["target"]
            assert int(short_stage["duration"][:-2]) * 10 == int(long_stage["duration"][:-2])


def test_samples_become_one_point_a_moment() -> None:
    series = Series(interval=1)
    for number in range(100):
        series.add("http_req_duration", 1000 + number / 20, number, "submit_graphql")
        series.add("errors", 1000 + number / 20, float(number == 30), "submit_graphql")
    series.add("dropped_iterations", 1000.5, 3, "read_grpc")  # far too late
    series.close()
    assert [point.counts for point in series.points] == [{"submit_graphql": 20}] * 5
    assert series.points[1].failed == 1
    assert sum(point.dropped for point in series.points) == 3
    assert series.points[4].submit == (90, 99, 99)


@pytest.mark.parametrize(("value", "top"), [(0, 1), (0.3, 0.4), (1, 1), (7, 8), (41, 50), (999, 1000), (1001, 2000)])
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert nice(value) == pytest.approx(top)


async def test_a_short_run_counts_everything_and_reports_it(stack: RunningStack, tmp_path: Path) -> None:
    outcome = await play(stack, Plan("spike", scale=0.01, rate=4, screens=8), tmp_path)
    assert outcome.verified == ""
    assert outcome.screens.backwards == 0
    assert outcome.screens.frames >= outcome.screens.count
    assert outcome.traffic.counted("accepted") > 0
    sent = sum(sum(point.counts.values()) for point in outcome.traffic.points)
    failed = sum(outcome.traffic.refused.values())
    assert outcome.traffic.counted("accepted") <= sent - failed
    assert set(outcome.traffic.summary["metrics"]) >= set(thresholds())
    assert all(outcome.cpu[name] > 0 for name in ("edge", "quiz", "score", "mongo"))

    page = report.write(outcome, tmp_path / "report")
    text = page.read_text()
    assert len(re.findall("<svg ", text)) == 12
    assert not re.findall(r"(?:src|href)=", text)  # the report is one file
    document = json.loads(page.with_suffix(".json").read_text())
    assert ["actions accepted", f"{outcome.traffic.counted('accepted'):,}"] in document["tables"]["What players see"]
