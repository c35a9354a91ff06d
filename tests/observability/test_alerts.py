"""Each alert fires for its fault and for nothing else, on the metrics of a running system in that fault."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.queries import metrics_in
from tests.observability.scenario import Scenario
from tests.observability.scrapes import Scrape, Series

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent  # where make puts both tools
FILES = sorted((ROOT / "deploy/helm/topten/files/alerts").glob("*.yaml"))
RULES = [rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RUNBOOKS = (ROOT / "docs/operator/operations.md").read_text()
# Minutes of metrics before the fault, and during it.
BEFORE, FAULT = 90, 20
GROWS = re.compile(r"_(total|bucket|count|sum)$")
# Ages, which grow while a fault lasts; it was scraped in its first seconds.
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
# Faults that a test cannot cause in its time: the values that replace the scraped ones, and the alerts.
REPLACED: dict[str, tuple[dict[str, float], set[tuple[str, str]]]] = {
    "a period stays open": ({"topten_period_overdue_seconds": 7200}, {("ToptenPeriodNotClosing", "ticket")}),
    "a store fills up": ({"topten_store_used_ratio": 0.9}, {("ToptenStoreFilling", "ticket")}),
    "a store is full": (
        {"topten_store_used_ratio": 0.97},
        {("ToptenStoreFilling", "ticket"), ("ToptenStoreFull", "page")},
    ),
    "a breaker is open": ({"topten_breaker_state": 2}, {("ToptenBreakerOpen", "ticket")}),
    "a receiver is away": ({"topten_webhook_oldest_waiting_seconds": 7200}, {("ToptenWebhooksWaiting", "ticket")}),
    "attempts are not handed in": ({"topten_attempt_overdue_seconds": 600}, {("ToptenAttemptsOverdue", "ticket")}),
    "a room is not counted": ({"topten_room_uncounted_seconds": 600}, {("ToptenRoomNotCounted", "ticket")}),
    "counting is behind": ({"topten_consumer_pending": 20_000}, {("ToptenConsumerBehind", "ticket")}),
}


def test_prometheus_accepts_the_rules() -> None:
    done = subprocess.run(
        [BIN / "promtool", "check", "rules", *map(str, FILES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanager_accepts_the_example() -> None:
    example = ROOT / "deploy/examples/alertmanager.yaml"
    done = subprocess.run([BIN / "amtool", "check-config", str(example)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_routing_names_only_existing_alerts() -> None:
    named = set(re.findall(r"Topten\w+", (ROOT / "deploy/examples/alertmanager.yaml").read_text()))
    assert named - {"Topten"} <= {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_has_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    assert rule["annotations"]["runbook_url"] == f"docs/operator/operations.md#{rule['alert'].lower()}"
    runbook = re.search(rf"^### {rule['alert']}\n\n(.+?)(?=\n##|\Z)", RUNBOOKS, re.MULTILINE | re.DOTALL)
    assert runbook, "the runbook is missing"
    assert re.match(r"Meaning: .+\n\nLook: .+\n\nAct: .+", runbook[1], re.DOTALL), runbook[1]


def test_every_runbook_belongs_to_an_alert() -> None:
    assert set(re.findall(r"^### (Topten\w+)$", RUNBOOKS, re.MULTILINE)) == {rule["alert"] for rule in ALERTS}


def test_every_alert_is_tested() -> None:
    tested = {alert for alerts in (*FIRES.values(), *(alerts for _, alerts in REPLACED.values())) for alert in alerts}
    assert {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS} - tested == {
        # Over three days, by the expression that pages within minutes.
        ("ToptenGraphql", "ticket"),
        ("ToptenSubmissions", "ticket"),
        ("ToptenFreshness", "ticket"),
    }


async def test_no_alert_fires_while_the_system_is_healthy(scenario: Scenario, tmp_path: Path) -> None:
    """Players play at the rate of the scenario for an hour and a half."""
    assert scenario.played.total("topten_submissions_total", outcome="accepted") > 0
    fires(tmp_path, scenario.played, _grown(scenario.played, scenario.start), set())


@pytest.mark.parametrize("fault", FIRES)
async def test_fault_fires_its_alerts_and_no_others(scenario: Scenario, tmp_path: Path, fault: str) -> None:
    fires(tmp_path, scenario.before[fault], scenario.during[fault], FIRES[fault])


@pytest.mark.parametrize("fault", REPLACED)
async def test_replaced_values_fire_their_alerts_and_no_others(scenario: Scenario, tmp_path: Path, fault: str) -> None:
    values, alerts = REPLACED[fault]
    healthy = _grown(scenario.played, scenario.start)
    during = Scrape({series: values.get(series.name, value) for series, value in healthy.items()})
    assert during != healthy
    fires(tmp_path, scenario.played, during, alerts)


def fires(folder: Path, before: Scrape, during: Scrape, alerts: set[tuple[str, str]]) -> None:
    """Check with promtool that these alerts fire: 90 minutes as before, then the fault, repeated each second."""
    used = set().union(*(metrics_in(rule["expr"]) for rule in RULES))
    series = [
        {"series": each.text, "values": _values(each, before, during)}
        for each in {**before, **during}
        if each.name in used
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
    done = subprocess.run([BIN / "promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
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
    """Return the scrape of a second later, with the growth since `since` repeated."""
    return Scrape(
        {
            series: value + max(0.0, value - since.get(series, 0.0)) if GROWS.search(series.name) else value
            for series, value in scrape.items()
        }
    )
