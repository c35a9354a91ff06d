"""Every query of every dashboard asks for what a running system says, and Prometheus takes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from promql_parser import parse

from tests.observe.queries import metrics_in
from tests.observe.story import Story

FILES = sorted((Path(__file__).parents[2] / "deploy/helm/topten/files/dashboards").glob("*.json"))
# Said only once somebody was blocked.
RARE = {"topten_blocks_total"}


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_grafana_finds_it_again_and_asks_the_prometheus_that_is_chosen(file: Path) -> None:
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
    spots = [tuple(panel["gridPos"][key] for key in "xy") for panel in dashboard["panels"]]
    assert len(set(spots)) == len(spots)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_every_query_asks_for_what_is_said(story: Story, file: Path) -> None:
    for query in queries(json.loads(file.read_text())):
        parse(query)
        assert metrics_in(query), query
        assert metrics_in(query) <= story.end.names | RARE, query


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_every_label_that_is_named_is_one_of_the_metric(story: Story, file: Path) -> None:
    """Beside those that Prometheus adds."""
    said: dict[str, set[str]] = {}
    for series in story.end:
        said.setdefault(series.name, {"instance"}).update(key for key, _ in series.labels)
    for query in queries(json.loads(file.read_text())):
        known = set().union(*(said.get(name, {"by"}) for name in metrics_in(query)))
        grouped = {word.strip() for part in query.split("by (")[1:] for word in part.partition(")")[0].split(",")}
        assert grouped <= known, query
