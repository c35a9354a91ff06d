"""The chart renders valid objects and rejects contradictory values."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from helm_python import HelmError, HelmValuesError

from services.embedded.credentials import new_service_secrets
from services.embedded.settings import PROCESSES
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

# The oldest supported version, one in between, and the newest with schemas.
VERSIONS = ("1.30", "1.34", "1.37")
# Built-in API versions; operators define the others, which have no schema here.
CUSTOM = {
    "gateway.networking.k8s.io/v1": {"HTTPRoute", "GRPCRoute"},
    "keda.sh/v1alpha1": {"ScaledObject"},
    "monitoring.coreos.com/v1": {"ServiceMonitor", "PrometheusRule"},
}
NO_STORE = "set url or existingSecret"
CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"stores": {"redis": {"url": "redis://mine"}}}, "trial is true but"),
    ({"stores": {"nats": {"trial": False}}}, NO_STORE),
    (
        {"stores": {"mongo": {"trial": False, "url": "mongodb://a", "existingSecret": "b"}}},
        "url and existingSecret exclude each other",
    ),
    ({"settings": {"TOPTEN_SHUTDOWN_GRACE": "5s"}}, "the chart sets this variable"),
    ({"settings": {"TOPTEN_MONGO_URL": "mongodb://in-clear"}}, "the chart sets this variable"),
    ({"components": {"edge": {"extraEnv": [{"name": "TOPTEN_EDGE_HTTP_ADDRESS", "value": "x"}]}}}, "is already set"),
    (
        {"components": {"edge": {"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}}},
        "must not exceed",
    ),
    ({"keda": {"enabled": True}, "components": {"score": {"autoscaling": {"enabled": True}}}}, "disable one"),
    ({"keda": {"enabled": True, "minReplicas": 9}}, "must not exceed"),
    ({"keda": {"enabled": True}, "stores": {"nats": {"trial": False, "url": "nats://a"}}}, "natsMonitoringEndpoint"),
    ({"setup": {"hook": True}}, "trial stores do not exist"),
    ({"gateway": {"enabled": True}}, "parentRefs"),
    ({"gateway": {"grpc": {"enabled": True}}}, "requires gateway.enabled"),
    (
        {"gateway": {"enabled": True, "parentRefs": [{"name": "g"}]}, "ingress": {"enabled": True, "host": "h"}},
        "they exclude each other",
    ),
    ({"ingress": {"enabled": True}}, "ingress.host"),
    ({"defaults": {"rollout": {"maxSurge": 0}}}, "no pod could be replaced"),
]
UNKNOWN_KEYS: list[dict[str, Any]] = [
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
def test_helm_lint_reports_nothing(name: str) -> None:
    report = helm_python.lint(CHART, values(name), strict=True, kube_version="v1.34.0")
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] >= 2] == []


@pytest.fixture(scope="module")
def schemas() -> Iterator[None]:
    """Read each schema once; the library parses megabytes again for each object."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("all_versions", "schema_contents"):
            patch.setattr(kubernetes_validate.utils, name, cache(getattr(kubernetes_validate.utils, name)))
        yield


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", VALUES)
def test_every_object_fits_the_schema_of_kubernetes(schemas: None, name: str, version: str) -> None:
    for manifest in rendered(name):
        if manifest["apiVersion"] in CUSTOM:
            assert manifest["kind"] in CUSTOM[manifest["apiVersion"]]
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", VALUES)
def test_objects_and_variables_are_unique(name: str) -> None:
    keys = [(one["kind"], one["metadata"]["name"]) for one in rendered(name)]
    assert len(keys) == len(set(keys))
    for _, pod in pods(rendered(name)):
        for container in containers(pod):
            variables = [entry["name"] for entry in container.get("env", [])]
            assert len(variables) == len(set(variables)), container["name"]


@pytest.mark.parametrize(
    ("given", "message"), CONTRADICTIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_contradictory_values_are_rejected_with_advice(given: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmError, match=message):
        render(given)


@pytest.mark.parametrize("given", UNKNOWN_KEYS, ids=json.dumps)
def test_an_unknown_key_is_rejected(given: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        render_checked(given)


def render_checked(given: dict[str, Any]) -> None:
    """Validate values as an install does."""
    from tests.helm.rendering import chart

    chart().validate_schema(given)


@pytest.mark.parametrize("name", VALUES)
def test_committed_values_fit_the_schema(name: str) -> None:
    render_checked(values(name))


def test_readme_and_schema_are_generated_from_the_values() -> None:
    generated = runpy.run_path(str(ROOT / "deploy" / "helm" / "generate.py"))["files"]()
    for path, content in generated.items():
        assert path.read_text() == content, "run `make chart`"


def test_chart_version_equals_project_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project["version"]


def test_every_pod_fits_the_restricted_security_standard() -> None:
    """Also a read-only root file system, no service account token, no service links."""
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


def test_an_upgrade_keeps_generated_secrets_and_immutable_fields() -> None:
    """Later versions of the chart must be able to upgrade an install of this one."""
    for name in VALUES:
        first, second = rendered(name), render(values(name), revision=2)
        for before, after in zip(first, second, strict=True):
            if before["kind"] == "Secret" and "helm.sh/hook" in before["metadata"].get("annotations", {}):
                assert before["metadata"]["annotations"]["helm.sh/hook"] == "pre-install"
            else:
                assert before == after, "an upgrade without a change would restart pods or fail"


def test_generated_secrets_are_random_and_complete() -> None:
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
def test_no_trial_store_is_rendered_for_external_stores(name: str) -> None:
    assert not of_kind(rendered(name), "StatefulSet")
    assert not [one for one in rendered(name) if "topten.io/trial" in one["metadata"].get("labels", {})]


def test_the_notes_warn_about_trial_stores() -> None:
    stores = of_kind(rendered("trial"), "StatefulSet")
    assert {component(one) for one in stores} == {"mongo", "redis", "nats"}
    assert all("trial" in one["metadata"]["annotations"]["topten.io/trial"] for one in stores)
    assert "TRIAL stores" in notes({})
    assert "TRIAL stores" not in notes(values("production"))


def test_no_replica_count_is_rendered_beside_an_autoscaler() -> None:
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


def test_the_grace_period_of_every_pod_covers_its_shutdown() -> None:
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


def test_routes_have_no_timeout_for_the_stream_and_pass_grpc() -> None:
    manifests = rendered("production")
    (http,), (grpc,) = of_kind(manifests, "HTTPRoute"), of_kind(manifests, "GRPCRoute")
    stream, rest = http["spec"]["rules"]
    assert stream["matches"] == [
        {"path": {"type": "Exact", "value": "/api/v1/leaderboard/stream"}},
        {"path": {"type": "PathPrefix", "value": "/api/v1/rooms"}},
    ]
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


def test_grpc_services_are_headless() -> None:
    for service in of_kind(rendered("production"), "Service"):
        grpc = [port for port in service["spec"]["ports"] if port["name"] == "grpc"]
        assert (service["spec"].get("clusterIP") == "None") == bool(grpc)


def test_every_dashboard_and_alert_file_is_installed(tmp_path: Any) -> None:
    manifests = rendered("production")
    rules = of_kind(manifests, "PrometheusRule")
    assert len(rules) == len(list((CHART / "files" / "alerts").glob("*.yaml")))
    runbooks = values("production")["monitoring"]["prometheusRule"]["runbooks"]
    for rule in rules:
        file = CHART / "files" / "alerts" / f"{rule['metadata']['name'].removeprefix(f'{RELEASE}-')}.yaml"
        own = yaml.safe_load(file.read_text().replace("docs/operator/operations.md#", f"{runbooks}#"))
        assert rule["spec"] == own
        links = [
            each["annotations"]["runbook_url"] for group in own["groups"] for each in group["rules"] if "alert" in each
        ]
        assert all(link.startswith("https://git.example/topten/docs/operator/operations.md#topten") for link in links)
    dashboards = [one for one in of_kind(manifests, "ConfigMap") if "dashboard" in one["metadata"]["name"]]
    assert len(dashboards) == len(list((CHART / "files" / "dashboards").glob("*.json")))
    for dashboard in dashboards:
        (text,) = dashboard["data"].values()
        assert json.loads(text)["title"]


def test_each_process_is_scraped_on_its_metrics_port() -> None:
    """Checks every field, because the operator's schema is not available and unknown fields would be ignored."""
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
    # A hook runs before the release's objects exist.
    own = {one["metadata"]["name"] for one in rendered("production")}
    assert not own & set(references(hooked[0]["spec"]))
    assert plain[0]["spec"]["template"]["spec"]["containers"][0]["command"] == ["topten", "setup"]


def test_the_backup_job_writes_to_its_claim_and_keeps_the_newest_files() -> None:
    manifests = render({"backup": {"enabled": True, "keep": 3, "storageClassName": "slow"}})
    claim = named(manifests, "PersistentVolumeClaim", "backup")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"]["storageClassName"] == "slow"
    job = named(manifests, "CronJob", "backup")["spec"]
    assert (job["schedule"], job["concurrencyPolicy"]) == ("17 3 * * *", "Forbid")
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["topten", "backup", "/backups/topten-{time}.topten", "--keep", "3"]
    (mount,) = (mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/backups")
    assert {"name": mount, "persistentVolumeClaim": {"claimName": f"{RELEASE}-backup"}} in pod["volumes"]


def test_the_backup_values_of_the_guide_are_accepted() -> None:
    guide = (ROOT / "docs" / "operator" / "backup.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    given = yaml.safe_load(block)
    render_checked(given)
    assert named(render(given), "CronJob", "backup")["spec"]["schedule"] == given["backup"]["schedule"]


def test_an_encrypted_backup_goes_to_the_existing_claim() -> None:
    manifests = rendered("production")
    given = values("production")["backup"]
    assert not of_kind(manifests, "PersistentVolumeClaim")
    pod = named(manifests, "CronJob", "backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["command"][-2:] == ["--recipient", given["recipient"]]
    assert given["existingClaim"] in str(pod["volumes"])
    assert not of_kind(rendered("trial"), "CronJob"), "off by default"


def references(node: Any) -> list[str]:
    """The ConfigMaps, Secrets and service accounts that a pod needs."""
    if isinstance(node, list):
        return [name for item in node for name in references(item)]
    if not isinstance(node, dict):
        return []
    names = [
        node[key]["name"]
        for key in ("configMap", "secret", "configMapRef", "secretKeyRef")
        if "name" in node.get(key, {})
    ]
    return [
        *names,
        *references(list(node.values())),
        *([node["serviceAccountName"]] if "serviceAccountName" in node else []),
    ]


def test_every_grpc_server_and_client_gets_the_tls_files() -> None:
    for owner, pod in pods(rendered("production")):
        part = component(owner)
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        if part in ("setup", "check", "backup"):
            assert "tls" not in mounted, f"{part} speaks no gRPC"
            continue
        secrets = {volume["name"]: volume.get("secret", {}).get("secretName") for volume in pod["spec"]["volumes"]}
        assert secrets["tls"] == "topten-tls"
        assert mounted["tls"] == "/run/topten-tls"
    endpoints = json.loads(named(rendered("production"), "ConfigMap", "endpoints")["data"]["endpoints.json"])
    assert set(endpoints["tls"]) == {"cert_file", "key_file", "ca_file"}
    assert "tls" not in json.loads(named(rendered("trial"), "ConfigMap", "endpoints")["data"]["endpoints.json"])
