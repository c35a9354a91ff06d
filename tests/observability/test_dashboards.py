"""Every query of every dashboard is valid and reads metrics that a running system reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from promql_parser import parse

from tests.observability.queries import metrics_in
from tests.observability.scenario import Scenario

FILES = sorted((Path(__file__).parents[2] / "deploy/helm/topten/files/dashboards").glob("*.json"))
# Reported only after a player was blocked.
RARE = {"topten_blocks_total"}


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_dashboard_has_a_stable_id_and_reads_the_selected_data_source(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    assert dashboard["uid"] == file.stem
    assert "id" not in dashboard
    assert [(each["name"], each["type"]) for each in dashboard["templating"]["list"]] == [("datasource", "datasource")]
    for panel in dashboard["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    positions = [tuple(panel["gridPos"][key] for key in "xy") for panel in dashboard["panels"]]
    assert len(set(positions)) == len(positions)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_every_query_reads_reported_metrics(scenario: Scenario, file: Path) -> None:
    for query in queries(json.loads(file.read_text())):
        parse(query)
        assert metrics_in(query), query
        assert metrics_in(query) <= scenario.end.names | RARE, query


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_every_grouping_label_belongs_to_its_metric(scenario: Scenario, file: Path) -> None:
    """Apart from those that Prometheus adds."""
    labels: dict[str, set[str]] = {}
    for series in scenario.end:
        labels.setdefault(series.name, {"instance"}).update(key for key, _ in series.labels)
    for query in queries(json.loads(file.read_text())):
        known = set().union(*(labels.get(name, {"by"}) for name in metrics_in(query)))
        grouped = {word.strip() for part in query.split("by (")[1:] for word in part.partition(")")[0].split(",")}
        assert grouped <= known, query
