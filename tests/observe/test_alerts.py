"""Each alert fires for what it is for, and for nothing else: on what a running system said of itself in that fault."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observe.queries import metrics_in
from tests.observe.scrapes import Scrape, Series
from tests.observe.story import Story

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deploy/helm/topten/files/alerts").glob("*.yaml"))
RULES = [rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RUNBOOKS = (ROOT / "docs/operations.md").read_text()
# Minutes of what was said before the fault, and of the fault.
BEFORE, FAULT = 90, 20
GROWS = re.compile(r"_(total|bucket|count|sum)$")
# What has to be one's age in a fault that lasts: it was scraped in its first seconds.
AGES = {"topten_outbox_lag_seconds"}

FIRES = {
    "intruders": {("ToptenAuthFailures", "ticket"), ("ToptenFlagsSurge", "ticket"), ("ToptenRateLimited", "ticket")},
    "garbage": {("ToptenDeadLetters", "ticket")},
    "slow screens": {("ToptenFreshness", "page")},
    "redis": {("ToptenBoardsStale", "page"), ("ToptenStoreAway", "ticket")},
    "nats": {("ToptenOutboxLag", "page"), ("ToptenStoreAway", "ticket")},
    "mongo": {
        ("ToptenGraphql", "page"),
        ("ToptenSubmissions", "page"),
        ("ToptenScoresStandStill", "page"),
        ("ToptenStoreAway", "ticket"),
    },
    "score": {("ToptenProcessAbsent", "page")},
}
# What can't be brought about within a test's time is said in the place of what was.
SAID: dict[str, tuple[dict[str, float], set[tuple[str, str]]]] = {
    "a period stays open": ({"topten_period_overdue_seconds": 7200}, {("ToptenPeriodNotClosing", "ticket")}),
    "a store fills up": ({"topten_store_used_ratio": 0.9}, {("ToptenStoreFilling", "ticket")}),
    "a store is full": (
        {"topten_store_used_ratio": 0.97},
        {("ToptenStoreFilling", "ticket"), ("ToptenStoreFull", "page")},
    ),
    "a breaker is open": ({"topten_breaker_state": 2}, {("ToptenBreakerOpen", "ticket")}),
    "counting is behind": ({"topten_consumer_pending": 20_000}, {("ToptenConsumerBehind", "ticket")}),
}


def test_prometheus_takes_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", *map(str, FILES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanager_takes_the_example() -> None:
    example = ROOT / "deploy/examples/alertmanager.yaml"
    done = subprocess.run(["amtool", "check-config", str(example)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_routing_names_alerts_that_there_are() -> None:
    named = set(re.findall(r"Topten\w+", (ROOT / "deploy/examples/alertmanager.yaml").read_text()))
    assert named - {"Topten"} <= {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_who_is_woken_reads_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"
    runbook = re.search(rf"^### {rule['alert']}\n\n(.+?)(?=\n##|\Z)", RUNBOOKS, re.MULTILINE | re.DOTALL)
    assert runbook, "it has no runbook"
    assert re.match(r"Meaning: .+\n\nLook: .+\n\nAct: .+", runbook[1], re.DOTALL), runbook[1]


def test_every_runbook_is_of_an_alert() -> None:
    assert set(re.findall(r"^### (Topten\w+)$", RUNBOOKS, re.MULTILINE)) == {rule["alert"] for rule in ALERTS}


def test_every_alert_is_tried() -> None:
    tried = {alert for alerts in (*FIRES.values(), *(alerts for _, alerts in SAID.values())) for alert in alerts}
    assert {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS} - tried == {
        # Three days of what pages within minutes, told by the same expression.
        ("ToptenGraphql", "ticket"),
        ("ToptenSubmissions", "ticket"),
        ("ToptenFreshness", "ticket"),
    }


async def test_nobody_is_woken_while_all_is_well(story: Story, tmp_path: Path) -> None:
    """Players play on at the pace of the story's, an hour and a half long."""
    assert story.played.total("topten_submissions_total", outcome="accepted") > 0
    fires(tmp_path, story.played, _grown(story.played, story.start), set())


@pytest.mark.parametrize("fault", FIRES)
async def test_a_fault_fires_the_alerts_that_are_for_it(story: Story, tmp_path: Path, fault: str) -> None:
    fires(tmp_path, story.before[fault], story.during[fault], FIRES[fault])


@pytest.mark.parametrize("fault", SAID)
async def test_what_is_said_of_a_fault_fires_its_alerts(story: Story, tmp_path: Path, fault: str) -> None:
    values, alerts = SAID[fault]
    well = _grown(story.played, story.start)
    said = Scrape({series: values.get(series.name, value) for series, value in well.items()})
    assert said != well
    fires(tmp_path, story.played, said, alerts)


def fires(folder: Path, before: Scrape, during: Scrape, alerts: set[tuple[str, str]]) -> None:
    """Holds promtool to it: what was said before for 90 minutes, then what happened in the fault again each second."""
    known = set().union(*(metrics_in(rule["expr"]) for rule in RULES))
    series = [
        {"series": each.text, "values": _values(each, before, during)}
        for each in {**before, **during}
        if each.name in known
    ]
    expected = [{"labels": f'{{alertname="{name}", severity="{severity}"}}', "value": 1} for name, severity in alerts]
    query = 'group by (alertname, severity) (ALERTS{alertstate="firing"})'
    test = {
        "rule_files": [str(file) for file in FILES],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [{"expr": query, "eval_time": f"{BEFORE + FAULT}m", "exp_samples": expected}],
            }
        ],
    }
    file = folder / "test.yaml"
    file.write_text(json.dumps(test))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _values(series: Series, before: Mapping[Series, float], during: Mapping[Series, float]) -> str:
    was, now = before.get(series), during.get(series)
    if now is None:
        return f"{was}+0x{BEFORE}"
    if was is None:
        was = 0.0 if GROWS.search(series.name) else now
    growth = 60 * (now - was) if GROWS.search(series.name) else 60 if now > 1 and series.name in AGES else 0
    first = was + growth if GROWS.search(series.name) else now
    return f"{was}+0x{BEFORE} {first}+{growth}x{FAULT}"


def _grown(scrape: Scrape, since: Scrape) -> Scrape:
    """What is said a second later, if as much happens in it as has happened since then."""
    return Scrape(
        {
            series: value + max(0.0, value - since.get(series, 0.0)) if GROWS.search(series.name) else value
            for series, value in scrape.items()
        }
    )
