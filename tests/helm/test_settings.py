"""What the chart sets is what the processes read: no name that none knows, no secret in clear, no secret forgotten."""

from __future__ import annotations

import re

import pytest

from services.local.settings import PROCESSES
from services.runtime.config import load, table
from services.runtime.values import parse_value
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
)

ROWS = {process: {row.name: row for row in table(settings)} for process, settings in PROCESSES.items()}
ALL = {name: row for rows in ROWS.values() for name, row in rows.items()}
# What a process is told by the chart alone: where it listens, whom it calls, and what is secret. The rest has a default
# and is set by `settings`, by its name.
WIRED = re.compile(
    r"TOPTEN_[A-Z]+_(GRPC|HTTP|OPS)_ADDRESS|TOPTEN_UPSTREAM_\w+|TOPTEN_AUTH_\w+_URL|TOPTEN_SHUTDOWN_GRACE"
)


def _process(manifests: list[Manifest], name: str) -> tuple[Manifest, Manifest]:
    pod = named(manifests, "Deployment", name)["spec"]["template"]
    return pod, containers(pod)[0]


def _files(manifests: list[Manifest], pod: Manifest) -> dict[str, str]:
    """Path to content of every secret file of a pod."""
    secrets = {one["metadata"]["name"]: one["stringData"] for one in of_kind(manifests, "Secret")}
    sources = next(volume for volume in pod["spec"]["volumes"] if volume["name"] == "secrets")["projected"]["sources"]
    return {
        f"/run/topten/{item['path']}": secrets[source["secret"]["name"]][item["key"]]
        for source in sources
        for item in source["secret"]["items"]
    }


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("given", ["trial", "minimal", "external"])
def test_each_process_starts_with_what_it_is_given(given: str, name: str) -> None:
    """The rendered environment is loaded as the process loads it, so that one wrong name or value fails here."""
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
def test_every_variable_exists_and_secrets_are_files_of_secrets(name: str) -> None:
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
def test_no_address_and_no_secret_of_a_process_is_forgotten(name: str) -> None:
    """A setting that comes later and that only the chart can give fails this test until the chart gives it."""
    _, container = _process(rendered("production"), name)
    given = {one if one in ALL else one.removesuffix("_FILE") for one in environment(container)}
    topology_calls = {variable for variable in given if variable.startswith("TOPTEN_UPSTREAM_")}
    for variable, row in ROWS[name].items():
        if variable.startswith("TOPTEN_UPSTREAM_") and variable not in topology_calls:
            continue  # test_network holds it to what the process opens
        if variable.startswith("TOPTEN_AUTH_") and name == "identity":
            continue  # it has its own keys and buys no tokens
        if row.required or row.secret or WIRED.fullmatch(variable):
            assert variable in given, f"the chart does not set {variable} for {name}"


def test_no_secret_of_the_values_stands_outside_of_a_secret() -> None:
    for manifest in rendered("external"):
        if manifest["kind"] != "Secret":
            assert "secret@" not in str(manifest)
            assert ":secret" not in str(manifest)


def test_settings_of_the_chart_differ_from_defaults_for_a_reason() -> None:
    """A value that repeats the default would hide a better default that comes later; partitions are read by KEDA, too."""
    for variable, text in named(rendered("trial"), "ConfigMap", "settings")["data"].items():
        assert text != ALL[variable].default or variable == "TOPTEN_QUIZ_PARTITIONS", variable
    assert parse_value(ALL["TOPTEN_QUIZ_PARTITIONS"].default, int) == 4
    assert "\n  TOPTEN_QUIZ_PARTITIONS" in (CHART / "values.yaml").read_text()


def test_a_store_that_is_away_restarts_no_pod_and_takes_none_out_of_service() -> None:
    """Readiness is the process's own, see `services/runtime/store_watch.py`; liveness even less."""
    for name in PROCESSES:
        _, container = _process(rendered("trial"), name)
        probes = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")}
        assert probes == {
            "startup": {"path": "/readyz", "port": "ops"},
            "readiness": {"path": "/readyz", "port": "ops"},
            "liveness": {"path": "/livez", "port": "ops"},
        }
