"""The chart, rendered by Helm's own library, as objects that a test can ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "topten"
VALUES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*.yaml"))}
RELEASE = "topten"
NAMESPACE = "play"
Manifest = dict[str, Any]


@cache
def chart() -> Chart:
    """The chart, loaded once."""
    return Chart.load(CHART)


def values(name: str) -> dict[str, Any]:
    """One of the committed sets of values."""
    loaded: dict[str, Any] = yaml.safe_load(VALUES[name].read_text()) or {}
    return loaded


def notes(given: Mapping[str, Any]) -> str:
    """What is printed after an install."""
    rendered = chart().render(dict(given), name=RELEASE, namespace=NAMESPACE)
    return next(text for path, text in rendered.items() if path.endswith("NOTES.txt"))


def render(given: Mapping[str, Any], *, revision: int = 1) -> list[Manifest]:
    """Every object of an install, or of an upgrade if the revision is above 1. Raises HelmError."""
    rendered = chart().render(
        dict(given),
        name=RELEASE,
        namespace=NAMESPACE,
        revision=revision,
        is_install=revision == 1,
        is_upgrade=revision > 1,
    )
    texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


@cache
def rendered(name: str) -> list[Manifest]:
    """The objects of one of the committed sets of values."""
    return render(values(name))


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Those of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of a kind and name."""
    (found,) = (one for one in of_kind(manifests, kind) if one["metadata"]["name"] == f"{RELEASE}-{name}")
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Every object that makes pods, with the pod that it makes: metadata and spec."""
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest, manifest
        elif manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield manifest, manifest["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    """Its containers."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def component(manifest: Manifest) -> str:
    """Which part of the system an object belongs to; empty if it belongs to all."""
    return str(manifest["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


def environment(container: Manifest) -> dict[str, str]:
    """The variables of a container that have a value."""
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
