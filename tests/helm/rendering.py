"""The chart, rendered to objects by Helm's own library."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart
from yaml import CSafeLoader

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
    """A committed set of values."""
    loaded: dict[str, Any] = yaml.safe_load(VALUES[name].read_text()) or {}
    return loaded


def notes(given: Mapping[str, Any]) -> str:
    """The notes that an install prints."""
    rendered = chart().render(dict(given), name=RELEASE, namespace=NAMESPACE)
    return next(text for path, text in rendered.items() if path.endswith("NOTES.txt"))


def render(given: Mapping[str, Any], *, revision: int = 1, of: Chart | None = None) -> list[Manifest]:
    """Every object of an install, or of an upgrade if `revision` is above 1. `of` is another chart. Raises HelmError."""
    rendered = (of or chart()).render(
        dict(given),
        name=RELEASE,
        namespace=NAMESPACE,
        revision=revision,
        is_install=revision == 1,
        is_upgrade=revision > 1,
    )
    texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    # The loader in C takes a tenth of the time.
    return [document for text in texts for document in yaml.load_all(text, CSafeLoader) if document]


@cache
def rendered(name: str) -> list[Manifest]:
    """The objects of a committed set of values."""
    return render(values(name))


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """The objects of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The object of a kind and name."""
    (manifest,) = (one for one in of_kind(manifests, kind) if one["metadata"]["name"] == f"{RELEASE}-{name}")
    return manifest


def pods(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Every object that creates pods, with its pod template."""
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest, manifest
        elif manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield manifest, manifest["spec"]["template"]
        elif manifest["kind"] == "CronJob":
            yield manifest, manifest["spec"]["jobTemplate"]["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    """The containers of a pod."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def component(manifest: Manifest) -> str:
    """The component of an object; empty if it belongs to all."""
    return str(manifest["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


def secret_texts(secret: Manifest) -> dict[str, str]:
    """The content of a Secret."""
    data = {key: base64.b64decode(text).decode() for key, text in secret.get("data", {}).items()}
    return {**data, **secret.get("stringData", {})}


def environment(container: Manifest) -> dict[str, str]:
    """The variables of a container that have a literal value."""
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
