"""The chart's settings fit the processes: no unknown name, no plain secret, no missing secret."""

from __future__ import annotations

import re

import pytest

from services.embedded.settings import PROCESSES
from services.runtime.config.loading import load, table
from services.runtime.config.values import parse_value
from tests.helm.rendering import (
    CHART,
    VALUES,
    Manifest,
    component,
    containers,
    environment,
    named,
    of_kind,
    pods,
    rendered,
    secret_texts,
)

ROWS = {process: {row.name: row for row in table(settings)} for process, settings in PROCESSES.items()}
ALL = {name: row for rows in ROWS.values() for name, row in rows.items()}
# Settings that only the chart can set: listen addresses, upstreams and secrets. The others have defaults and can be set by
# `settings`.
WIRED = re.compile(
    r"TOPTEN_[A-Z]+_(GRPC|HTTP|OPS)_ADDRESS|TOPTEN_UPSTREAM_\w+|TOPTEN_AUTH_\w+_URL|TOPTEN_(SHUTDOWN_GRACE|STARTUP_TIMEOUT)"
)


def _process(manifests: list[Manifest], name: str) -> tuple[Manifest, Manifest]:
    pod = named(manifests, "Deployment", name)["spec"]["template"]
    return pod, containers(pod)[0]


def _files(manifests: list[Manifest], pod: Manifest) -> dict[str, str]:
    """The secret files of a pod: path to content."""
    secrets = {one["metadata"]["name"]: secret_texts(one) for one in of_kind(manifests, "Secret")}
    sources = next(volume for volume in pod["spec"]["volumes"] if volume["name"] == "secrets")["projected"]["sources"]
    return {
        f"/run/topten/{item['path']}": secrets[source["secret"]["name"]][item["key"]]
        for source in sources
        for item in source["secret"]["items"]
    }


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("given", ["trial", "minimal", "external"])
def test_each_process_accepts_its_rendered_environment(given: str, name: str) -> None:
    """Loads the environment as the process does, so that a wrong name or value fails here."""
    manifests = rendered(given)
    pod, container = _process(manifests, name)
    settings = named(manifests, "ConfigMap", "settings")["data"]
    environ = {**settings, **environment(container)}
    files = _files(manifests, pod)
    config = load(PROCESSES[name], environ, read_file=files.__getitem__)
    assert config.process.production
    unread = set(files) - set(environ.values())
    assert not unread, "a secret is mounted that nobody reads"


@pytest.mark.parametrize("name", VALUES)
def test_every_variable_exists_and_every_secret_is_a_file(name: str) -> None:
    for owner, pod in pods(rendered(name)):
        for container in containers(pod):
            for variable in environment(container):
                if variable.startswith("TOPTEN_") and not variable.startswith("TOPTEN_LOCAL_"):
                    plain = variable if variable in ALL else variable.removesuffix("_FILE")
                    assert plain in ALL, f"{component(owner)} sets {variable}"
                    assert ALL[plain].secret == (variable != plain), f"{variable} of {component(owner)}"
    for variable, text in named(rendered(name), "ConfigMap", "settings")["data"].items():
        assert variable in ALL
        assert not ALL[variable].secret
        assert text is not None


@pytest.mark.parametrize("name", PROCESSES)
def test_every_address_and_secret_of_a_process_is_set(name: str) -> None:
    """A new setting that only the chart can set fails this test until the chart sets it."""
    _, container = _process(rendered("production"), name)
    given = {one if one in ALL else one.removesuffix("_FILE") for one in environment(container)}
    topology_calls = {variable for variable in given if variable.startswith("TOPTEN_UPSTREAM_")}
    for variable, row in ROWS[name].items():
        if variable.startswith("TOPTEN_UPSTREAM_") and variable not in topology_calls:
            continue  # test_network compares it with the channels of the process
        if variable.startswith("TOPTEN_AUTH_") and name == "identity":
            continue  # it has the keys and needs no token
        if row.required or row.secret or WIRED.fullmatch(variable):
            assert variable in given, f"the chart does not set {variable} for {name}"


def test_secret_values_are_rendered_in_secrets_only() -> None:
    for manifest in rendered("external"):
        if manifest["kind"] != "Secret":
            assert "secret@" not in str(manifest)
            assert ":secret" not in str(manifest)


def test_the_chart_repeats_no_default() -> None:
    """A repeated default would hide a later change of it; KEDA needs the number of partitions."""
    for variable, text in named(rendered("trial"), "ConfigMap", "settings")["data"].items():
        assert text != ALL[variable].default or variable == "TOPTEN_QUIZ_PARTITIONS", variable
    assert parse_value(ALL["TOPTEN_QUIZ_PARTITIONS"].default, int) == 4
    assert "\n  TOPTEN_QUIZ_PARTITIONS" in (CHART / "values.yaml").read_text()


def test_a_store_outage_restarts_no_pod_and_removes_none_from_service() -> None:
    """Readiness and liveness do not depend on stores after the start (`services/runtime/stores/watch.py`)."""
    for name in PROCESSES:
        _, container = _process(rendered("trial"), name)
        probes = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")}
        assert probes == {
            "startup": {"path": "/startedz", "port": "ops"},
            "readiness": {"path": "/readyz", "port": "ops"},
            "liveness": {"path": "/livez", "port": "ops"},
        }
