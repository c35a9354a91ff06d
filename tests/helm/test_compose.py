"""deploy/compose.yaml equals the chart: the same commands, settings, images and store configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from services.cli.app import app
from services.cli.system.client import Endpoints
from services.embedded.settings import PROCESSES
from services.runtime.config.loading import load
from tests.helm.rendering import RELEASE, ROOT, containers, environment, named, render, rendered

COMPOSE = ROOT / "deploy" / "compose.yaml"
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::\?[^}]*)?\})")


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file as Compose reads it with the output of `topten secrets`; a missing variable is an error."""
    file = tmp_path_factory.mktemp("compose") / "topten.env"
    assert CliRunner().invoke(app, ["secrets", str(file)]).exit_code == 0
    values = dict(re.findall(r"^(\w+)='(.*?)'$", file.read_text(), re.MULTILINE | re.DOTALL))

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: filled(value) for key, value in node.items()}
        if isinstance(node, list):
            return [filled(value) for value in node]
        if isinstance(node, str):
            return VARIABLE.sub(lambda match: match[1] or values[match[2]], node)
        return node

    document: dict[str, Any] = filled(yaml.safe_load(COMPOSE.read_text()))
    return document


def _of_chart(name: str) -> dict[str, str]:
    """The chart's environment of a process, with the Service names of Compose and secrets by value."""
    manifests = rendered("trial")
    container = containers(named(manifests, "Deployment", name)["spec"]["template"])[0]
    given = {**named(manifests, "ConfigMap", "settings")["data"], **environment(container)}
    return {
        variable.removesuffix("_FILE"): "secret" if variable.endswith("_FILE") else value.replace(f"{RELEASE}-", "")
        for variable, value in given.items()
    }


@pytest.mark.parametrize("name", PROCESSES)
def test_each_process_has_the_command_and_environment_of_the_chart(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    chart = _of_chart(name)
    same = {key: "secret" if chart.get(key) == "secret" else value for key, value in service["environment"].items()}
    assert same == chart
    assert (
        service["command"] == containers(named(rendered("trial"), "Deployment", name)["spec"]["template"])[0]["command"]
    )
    assert load(PROCESSES[name], service["environment"]).process.production


@pytest.mark.parametrize("name", ["mongo", "redis", "nats"])
def test_each_store_has_the_image_and_configuration_of_the_chart(compose: dict[str, Any], name: str) -> None:
    service, container = (
        compose["services"][name],
        containers(named(render({}), "StatefulSet", name)["spec"]["template"])[0],
    )
    assert service["image"] == container["image"]
    assert service["command"][-1].split("exec ")[-1] == container["command"][-1].split("exec ")[-1]
    if name != "mongo":
        (ours,) = named(rendered("trial"), "ConfigMap", name)["data"].values()
        theirs = compose["configs"][name]["content"]
        assert theirs.splitlines()[:-1] == [line for line in ours.splitlines() if not line.startswith("include")]
        assert ("requirepass " if name == "redis" else "authorization ") in theirs.splitlines()[-1]


def test_only_the_edge_is_published_and_only_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"edge": ["127.0.0.1:8080:8080"]}
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_topten_has_the_addresses(compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "endpoints.json"
    file.write_text(compose["configs"]["endpoints"]["content"])
    monkeypatch.setenv("TOPTEN_LOCAL_ENDPOINTS", str(file))
    ours = Endpoints.load(tmp_path).document
    theirs = json.loads(
        named(rendered("trial"), "ConfigMap", "endpoints")["data"]["endpoints.json"].replace(f"{RELEASE}-", "")
    )
    assert {**ours, "operator": None} == {**theirs, "operator": None}


def test_the_file_has_no_secret() -> None:
    for name, service in yaml.safe_load(COMPOSE.read_text())["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|URL$", variable) and "@" in value:
                assert "${" in value, f"{name}: {variable}"
