"""What an upgrade changes: nothing restarts without a reason, and nothing immutable is changed under the same name."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart

from tests.helm.rendering import CHART, VALUES, Manifest, component, named, of_kind, pods, render, values

# What the API server refuses to change in an object of each kind.
IMMUTABLE = {
    "Job": ("template", "selector", "completionMode"),
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy"),
    "Service": ("clusterIP",),
}
# Values that an operator changes by an upgrade; each alone.
CHANGES: dict[str, dict[str, Any]] = {
    "label": {"labels": {"cost-center": "games"}},
    "image": {"image": {"tag": "0.1.1"}},
    "setting": {"settings": {"TOPTEN_LOG_LEVEL": "debug"}},
    "pod label": {"defaults": {"podLabels": {"team": "play"}}},
    "pod annotation": {"defaults": {"podAnnotations": {"example.com/owner": "play"}}},
    "toleration": {"defaults": {"tolerations": [{"operator": "Exists"}]}},
    "resources": {"defaults": {"resources": {"requests": {"cpu": "250m"}}}},
    "user": {"defaults": {"podSecurityContext": {"runAsUser": 1000700000}}},
    "pull secret": {"imagePullSecrets": [{"name": "mine"}]},
}
WITHOUT_RESTART = ("label",)


@cache
def next_version(folder: Path) -> Chart:
    """The chart with another version and nothing else changed."""
    copy = folder / "topten"
    shutil.copytree(CHART, copy)
    about = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "99.0.0"}))
    return Chart.load(copy)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return next_version(tmp_path_factory.mktemp("newer"))


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Values over values, as Helm merges them."""
    result = dict(one)
    for key, value in other.items():
        result[key] = merged(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result


def by_name(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    """The objects by kind and name."""
    return {(one["kind"], one["metadata"]["name"]): one for one in manifests}


def replaced(before: list[Manifest], after: list[Manifest]) -> set[str]:
    """The components whose pods an upgrade replaces."""
    old, new = by_name(before), by_name(after)
    changed = set()
    for key in old.keys() & new.keys():
        if key[0] in ("Deployment", "StatefulSet") and old[key]["spec"]["template"] != new[key]["spec"]["template"]:
            changed.add(component(new[key]))
    return changed


def assert_allowed(before: list[Manifest], after: list[Manifest]) -> None:
    """No object under the same name differs in what cannot be changed."""
    old, new = by_name(before), by_name(after)
    for key in old.keys() & new.keys():
        if "helm.sh/hook" in new[key]["metadata"].get("annotations", {}):
            continue  # deleted and created again
        for part in IMMUTABLE.get(key[0], ()):
            assert old[key]["spec"].get(part) == new[key]["spec"].get(part), f"{key} cannot change {part}"


@pytest.mark.parametrize("name", VALUES)
def test_a_chart_version_alone_restarts_nothing(name: str, newer: Chart) -> None:
    before, after = render(values(name)), render(values(name), revision=2, of=newer)
    assert before != after
    assert_allowed(before, after)
    assert not replaced(before, after)
    jobs = [{one["metadata"]["name"] for one in of_kind(each, "Job")} for each in (before, after)]
    assert jobs[0] == jobs[1], "no Job runs again"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", VALUES)
def test_no_change_of_a_value_touches_what_is_immutable(name: str, change: str) -> None:
    given = merged(values(name), CHANGES[change])
    before, after = render(values(name)), render(given, revision=2)
    assert_allowed(before, after)
    if change in WITHOUT_RESTART:
        assert not replaced(before, after)
    if change != "toleration" and change != "user" and change != "pull secret":
        assert not replaced(before, after) & {"redis", "nats"}, "stores restart for themselves only"


def test_every_object_but_no_pod_has_the_labels_of_the_release() -> None:
    manifests = render(CHANGES["label"])
    assert all(one["metadata"]["labels"]["cost-center"] == "games" for one in manifests)
    templates = [pod for owner, pod in pods(manifests) if owner["kind"] != "Pod"]
    assert len(templates) == 10
    assert all("cost-center" not in pod["metadata"]["labels"] for pod in templates)
    assert all("helm.sh/chart" not in pod["metadata"]["labels"] for pod in templates)


def test_a_url_that_is_removed_leaves_its_secret() -> None:
    """A key of stringData that is removed stays in the data of the object."""
    given = values("external")
    secret = named(render(given), "Secret", "stores")
    assert set(secret["data"]) == {"mongo-url", "redis-url", "nats-url"}
    given["stores"]["redis"] = {"trial": True, "url": ""}
    assert set(named(render(given, revision=2), "Secret", "stores")["data"]) == {"mongo-url", "nats-url"}
    for name in VALUES:
        for one in of_kind(render(values(name)), "Secret"):
            assert "stringData" not in one or "helm.sh/hook" in one["metadata"]["annotations"]
