"""The chart renders what Kubernetes takes, and refuses what contradicts itself."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import tomllib
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from helm_python import HelmError, HelmValuesError

from services.local.credentials import new_service_secrets
from services.local.settings import PROCESSES
from tests.helm.rendering import (
    CHART,
    RELEASE,
    ROOT,
    VALUES,
    component,
    containers,
    named,
    notes,
    of_kind,
    pods,
    render,
    rendered,
    values,
)

# The oldest that the chart supports, one between, and the newest that schemas exist of.
VERSIONS = ("1.30", "1.34", "1.37")
# What comes with a cluster; the rest is of operators and has no schema there.
CUSTOM = {
    "gateway.networking.k8s.io/v1": {"HTTPRoute", "GRPCRoute"},
    "keda.sh/v1alpha1": {"ScaledObject"},
    "monitoring.coreos.com/v1": {"ServiceMonitor", "PrometheusRule"},
}
NEITHER = "name a server"
CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"stores": {"redis": {"url": "redis://mine"}}}, "trial is true and a server is named"),
    ({"stores": {"nats": {"trial": False}}}, NEITHER),
    (
        {"stores": {"mongo": {"trial": False, "url": "mongodb://a", "existingSecret": "b"}}},
        "both url and existingSecret",
    ),
    ({"settings": {"TOPTEN_SHUTDOWN_GRACE": "5s"}}, "sets this one itself"),
    ({"settings": {"TOPTEN_MONGO_URL": "mongodb://in-clear"}}, "sets this one itself"),
    ({"components": {"edge": {"extraEnv": [{"name": "TOPTEN_EDGE_HTTP_ADDRESS", "value": "x"}]}}}, "is set already"),
    ({"components": {"edge": {"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}}}, "above"),
    ({"keda": {"enabled": True}, "components": {"score": {"autoscaling": {"enabled": True}}}}, "switch one off"),
    ({"keda": {"enabled": True, "minReplicas": 9}}, "above"),
    ({"keda": {"enabled": True}, "stores": {"nats": {"trial": False, "url": "nats://a"}}}, "natsMonitoringEndpoint"),
    ({"setup": {"hook": True}}, "no trial stores yet"),
    ({"gateway": {"enabled": True}}, "parentRefs"),
    ({"gateway": {"grpc": {"enabled": True}}}, "needs gateway.enabled"),
    (
        {"gateway": {"enabled": True, "parentRefs": [{"name": "g"}]}, "ingress": {"enabled": True, "host": "h"}},
        "one way in",
    ),
    ({"ingress": {"enabled": True}}, "ingress.host"),
]
MISSPELT: list[dict[str, Any]] = [
    {"replicas": 2},
    {"defaults": {"replica": 2}},
    {"components": {"edge": {"resource": {}}}},
    {"components": {"lobby": {}}},
    {"stores": {"mongo": {"uri": "x"}}},
    {"settings": {"EDGE_RATE_QUERY": "1/s"}},
    {"settings": {"TOPTEN_QUIZ_PARTITIONS": 4}},
    {"image": {"digest": "latest"}},
    {"defaults": {"replicas": -1}},
]


@pytest.mark.parametrize("name", VALUES)
def test_helm_finds_nothing_to_say_about_the_chart(name: str) -> None:
    report = helm_python.lint(CHART, values(name), strict=True, kube_version="v1.34.0")
    assert report["errors"] == []
    assert [found for found in report["messages"] if found["severity"] >= 2] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", VALUES)
def test_every_object_is_what_kubernetes_knows(name: str, version: str) -> None:
    for manifest in rendered(name):
        if manifest["apiVersion"] in CUSTOM:
            assert manifest["kind"] in CUSTOM[manifest["apiVersion"]]
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", VALUES)
def test_no_object_is_there_twice_and_no_variable_is_set_twice(name: str) -> None:
    keys = [(one["kind"], one["metadata"]["name"]) for one in rendered(name)]
    assert len(keys) == len(set(keys))
    for _, pod in pods(rendered(name)):
        for container in containers(pod):
            variables = [entry["name"] for entry in container.get("env", [])]
            assert len(variables) == len(set(variables)), container["name"]


@pytest.mark.parametrize(("given", "said"), CONTRADICTIONS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_contradiction_is_refused_with_what_to_change(given: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        render(given)


@pytest.mark.parametrize("given", MISSPELT, ids=json.dumps)
def test_a_key_that_nothing_reads_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        render_checked(given)


def render_checked(given: dict[str, Any]) -> None:
    """What an install does first."""
    from tests.helm.rendering import chart

    chart().validate_schema(given)


@pytest.mark.parametrize("name", VALUES)
def test_the_committed_values_fit_the_schema(name: str) -> None:
    render_checked(values(name))


def test_readme_and_schema_are_made_from_the_values() -> None:
    generated = runpy.run_path(str(ROOT / "deploy" / "helm" / "generate.py"))["files"]()
    for path, content in generated.items():
        assert path.read_text() == content, "make them anew: make chart"


def test_the_chart_installs_this_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project["version"]


def test_every_pod_is_restricted() -> None:
    """The Pod Security Standard `restricted`, a read-only root, no token, no injected variables."""
    for name in VALUES:
        for owner, pod in pods(rendered(name)):
            spec = pod["spec"]
            assert spec["automountServiceAccountToken"] is False, owner["metadata"]["name"]
            assert spec["enableServiceLinks"] is False, owner["metadata"]["name"]
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
            for container in containers(pod):
                context = container["securityContext"]
                assert context["allowPrivilegeEscalation"] is False
                assert context["readOnlyRootFilesystem"] is True
                assert context["capabilities"] == {"drop": ["ALL"]}
                assert {"requests", "limits"} <= container["resources"].keys()


def test_an_upgrade_leaves_what_was_generated_and_what_cant_change() -> None:
    """The seam for later versions of the chart: what this one installs has to upgrade by whatever comes after."""
    for name in VALUES:
        first, second = rendered(name), render(values(name), revision=2)
        for before, after in zip(first, second, strict=True):
            if before["kind"] == "Secret" and "helm.sh/hook" in before["metadata"].get("annotations", {}):
                assert before["metadata"]["annotations"]["helm.sh/hook"] == "pre-install"
            else:
                assert before == after, "an upgrade without a change would restart pods or fail"


def test_generated_secrets_are_random_and_whole() -> None:
    first, second = (
        named(render({}), "Secret", "secrets")["stringData"],
        named(render({}), "Secret", "secrets")["stringData"],
    )
    assert all(first[key] != second[key] for key in first)
    made = new_service_secrets()
    assert made.keys() == first.keys(), "`topten secrets` makes what the chart names"
    for secret in (first, made):
        clients = json.loads(secret["identity-service-clients"])
        assert {f"client-{name}": client["secret_sha256"] for name, client in clients.items()} == {
            key: hashlib.sha256(text.encode()).hexdigest() for key, text in secret.items() if key.startswith("client-")
        }


@pytest.mark.parametrize("name", ["production", "high-availability", "external"])
def test_stores_for_trial_are_gone_where_others_are_named(name: str) -> None:
    assert not of_kind(rendered(name), "StatefulSet")
    assert not [one for one in rendered(name) if "topten.io/trial" in one["metadata"].get("labels", {})]


def test_stores_for_trial_say_so() -> None:
    stores = of_kind(rendered("trial"), "StatefulSet")
    assert {component(one) for one in stores} == {"mongo", "redis", "nats"}
    assert all("trial" in one["metadata"]["annotations"]["topten.io/trial"] for one in stores)
    assert "FOR TRIAL" in notes({})
    assert "FOR TRIAL" not in notes(values("production"))


def test_where_an_autoscaler_decides_no_number_of_pods_is_given() -> None:
    manifests = rendered("production")
    scaled = {
        one["spec"]["scaleTargetRef"]["name"] for one in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    }
    assert len(scaled) == 5
    for deployment in of_kind(manifests, "Deployment"):
        assert ("replicas" not in deployment["spec"]) == (deployment["metadata"]["name"] in scaled)
    (lag,) = of_kind(manifests, "ScaledObject")
    consumers = [trigger["metadata"]["consumer"] for trigger in lag["spec"]["triggers"]]
    assert consumers == [f"score-{partition}" for partition in range(8)]


def test_every_process_has_time_to_drain() -> None:
    for name in VALUES:
        for deployment in of_kind(rendered(name), "Deployment"):
            spec = deployment["spec"]["template"]["spec"]
            process = spec["containers"][0]
            if component(deployment) == "operator":
                continue
            grace = int(
                {e["name"]: e.get("value", "") for e in process["env"]}["TOPTEN_SHUTDOWN_GRACE"].removesuffix("s")
            )
            pause = process["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert spec["terminationGracePeriodSeconds"] >= pause + grace + 5


def test_the_ways_in_fit_a_stream_and_grpc() -> None:
    manifests = rendered("production")
    (http,), (grpc,) = of_kind(manifests, "HTTPRoute"), of_kind(manifests, "GRPCRoute")
    stream, rest = http["spec"]["rules"]
    assert stream["matches"] == [{"path": {"type": "Exact", "value": "/api/v1/leaderboard/stream"}}]
    assert stream["timeouts"] == {"request": "0s"}
    assert rest["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in of_kind(manifests, "Service")}
    for route in (http, grpc):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                assert backend["port"] in [port["port"] for port in services[backend["name"]]]
    methods = {rule["matches"][0]["method"]["service"] for rule in grpc["spec"]["rules"]}
    assert methods == {
        f"topten.{name}.v1.{name.title()}Service" for name in ("identity", "quiz", "score", "leaderboard")
    }


def test_services_of_grpc_are_headless_so_that_callers_take_turns() -> None:
    for service in of_kind(rendered("production"), "Service"):
        grpc = [port for port in service["spec"]["ports"] if port["name"] == "grpc"]
        assert (service["spec"].get("clusterIP") == "None") == bool(grpc)


def test_what_lies_in_files_is_installed(tmp_path: Any) -> None:
    manifests = rendered("production")
    rules = of_kind(manifests, "PrometheusRule")
    assert len(rules) == len(list((CHART / "files" / "alerts").glob("*.yaml")))
    runbooks = values("production")["monitoring"]["prometheusRule"]["runbooks"]
    for rule in rules:
        file = CHART / "files" / "alerts" / f"{rule['metadata']['name'].removeprefix(f'{RELEASE}-')}.yaml"
        own = yaml.safe_load(file.read_text().replace("docs/operations.md#", f"{runbooks}#"))
        assert rule["spec"] == own
        links = [
            each["annotations"]["runbook_url"] for group in own["groups"] for each in group["rules"] if "alert" in each
        ]
        assert all(link.startswith("https://git.example/topten/docs/operations.md#topten") for link in links)
    dashboards = [one for one in of_kind(manifests, "ConfigMap") if "dashboard" in one["metadata"]["name"]]
    assert len(dashboards) == len(list((CHART / "files" / "dashboards").glob("*.json")))
    for dashboard in dashboards:
        (text,) = dashboard["data"].values()
        assert json.loads(text)["title"]


def test_prometheus_scrapes_each_process_on_the_port_that_has_its_metrics() -> None:
    """By every field: the operator's own schema is not at hand, and it ignores what it does not know."""
    manifests = rendered("production")
    monitors = of_kind(manifests, "ServiceMonitor")
    assert len(monitors) == len(PROCESSES)
    for name in PROCESSES:
        service = named(manifests, "Service", name)
        monitor = named(manifests, "ServiceMonitor", name)["spec"]
        selected = monitor["selector"]["matchLabels"]
        assert monitor == {
            "jobLabel": "app.kubernetes.io/component",
            "selector": {"matchLabels": selected},
            "endpoints": [{"port": "ops", "path": "/metrics", "interval": "15s"}],
        }
        chosen = [one for one in of_kind(manifests, "Service") if selected.items() <= one["metadata"]["labels"].items()]
        assert chosen == [service]
        assert service["metadata"]["labels"]["app.kubernetes.io/component"] == name
        assert "ops" in [port["name"] for port in service["spec"]["ports"]]


def test_the_setup_job_runs_with_and_without_hooks() -> None:
    plain = [one for one in of_kind(rendered("trial"), "Job") if component(one) == "setup"]
    hooked = [one for one in of_kind(rendered("production"), "Job") if component(one) == "setup"]
    assert len(plain) == len(hooked) == 1
    assert "annotations" not in plain[0]["metadata"]
    assert hooked[0]["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # A hook runs before the release's own objects are there.
    own = {one["metadata"]["name"] for one in rendered("production")}
    assert not own & set(references(hooked[0]["spec"]))
    assert plain[0]["spec"]["template"]["spec"]["containers"][0]["command"] == ["topten", "setup"]


def references(node: Any) -> list[str]:
    """The names of ConfigMaps, Secrets and accounts that a pod needs."""
    if isinstance(node, list):
        return [name for item in node for name in references(item)]
    if not isinstance(node, dict):
        return []
    found = [
        node[key]["name"]
        for key in ("configMap", "secret", "configMapRef", "secretKeyRef")
        if "name" in node.get(key, {})
    ]
    return [
        *found,
        *references(list(node.values())),
        *([node["serviceAccountName"]] if "serviceAccountName" in node else []),
    ]


def test_mutual_tls_reaches_whoever_serves_or_calls_grpc() -> None:
    for owner, pod in pods(rendered("production")):
        part = component(owner)
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        if part in ("setup", "check"):
            assert "tls" not in mounted, f"{part} speaks no gRPC"
            continue
        secrets = {volume["name"]: volume.get("secret", {}).get("secretName") for volume in pod["spec"]["volumes"]}
        assert secrets["tls"] == "topten-tls"
        assert mounted["tls"] == "/run/topten-tls"
    endpoints = json.loads(named(rendered("production"), "ConfigMap", "endpoints")["data"]["endpoints.json"])
    assert set(endpoints["tls"]) == {"cert_file", "key_file", "ca_file"}
    assert "tls" not in json.loads(named(rendered("trial"), "ConfigMap", "endpoints")["data"]["endpoints.json"])


def test_what_the_notes_say_to_paste_names_what_is_there() -> None:
    for name in ("trial", "production"):
        given = {**values(name), "operator": {"enabled": True}}
        there = {(one["kind"].lower(), one["metadata"]["name"]) for one in render(given)}
        pasted = [line for line in notes(given).splitlines() if line.startswith(("kubectl ", "helm "))]
        assert len(pasted) == 4
        for line in pasted:
            for kind, object_name in re.findall(r"\b(deployment|service)/(\S+)", line):
                assert (kind, object_name) in there, line
            assert "--namespace play" in line
            assert "{{" not in line
