"""What an operator says of pods reaches every pod, and a trial fits a small node."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.helm.rendering import (
    RELEASE,
    Manifest,
    component,
    containers,
    environment,
    named,
    of_kind,
    pods,
    render,
    rendered,
    values,
)

UNITS = {"m": Decimal("0.001"), "Mi": Decimal(2**20), "Gi": Decimal(2**30)}
# What a cluster of one node needs itself: API server, etcd, controllers, DNS; 950m and 300 MiB with kubeadm.
SMALL_NODE = {"cpu": Decimal(2) - Decimal("0.95"), "memory": Decimal(3) * 2**30}
STORES = {"mongo", "redis", "nats"}
EVERY_POD = ("priorityClassName", "nodeSelector", "tolerations", "affinity", "dnsPolicy", "dnsConfig")


def quantity(text: str) -> Decimal:
    """A quantity of Kubernetes as a number."""
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return Decimal(text.removesuffix(unit)) * factor
    return Decimal(text)


def requested(pod: Manifest, resource: str) -> Decimal:
    """What the scheduler reserves for a pod."""
    return sum((quantity(str(one["resources"]["requests"][resource])) for one in containers(pod)), Decimal())


def test_placement_dns_and_security_reach_every_pod() -> None:
    given = values("openshift")["defaults"]
    seen = set()
    for owner, pod in pods(rendered("openshift")):
        seen.add(component(owner))
        for key in EVERY_POD:
            assert pod["spec"].get(key) == given[key], f"{key} of {owner['metadata']['name']}"
    assert seen == STORES | {"identity", "quiz", "score", "leaderboard", "edge"} | {
        "setup",
        "samples",
        "operator",
        "backup",
        "check",
    }


def test_a_component_overrides_what_every_pod_has() -> None:
    manifests = render(
        {"defaults": {"nodeSelector": {"pool": "a"}}, "components": {"edge": {"nodeSelector": {"pool": "b"}}}}
    )
    chosen = {component(owner): pod["spec"]["nodeSelector"]["pool"] for owner, pod in pods(manifests)}
    assert {name for name, pool in chosen.items() if pool == "b"} == {"edge"}


def test_labels_and_annotations_of_pods_reach_all_but_stores() -> None:
    for owner, pod in pods(rendered("openshift")):
        labelled = pod["metadata"]["labels"].get("team") == "play"
        annotated = pod["metadata"].get("annotations", {}).get("example.com/owner") == "play"
        assert labelled == annotated == (component(owner) not in STORES), owner["metadata"]["name"]
    store = named(render({"trial": {"podLabels": {"team": "play"}}}), "StatefulSet", "nats")
    assert store["spec"]["template"]["metadata"]["labels"]["team"] == "play"


def test_a_cluster_may_choose_the_user_ids() -> None:
    for owner, pod in pods(rendered("openshift")):
        context = pod["spec"]["securityContext"]
        assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}, owner["metadata"][
            "name"
        ]
    for _, pod in pods(rendered("trial")):
        assert {pod["spec"]["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {10001}


@pytest.mark.parametrize("resource", SMALL_NODE)
def test_a_trial_and_its_update_fit_a_node_with_two_cpus(resource: str) -> None:
    """All pods, the Jobs beside them, and one surging pod of every component, as in an update of all."""
    manifests = render({"operator": {"enabled": True}, "backup": {"enabled": True}})
    once = sum((requested(pod, resource) for _, pod in pods(manifests)), Decimal())
    surging = sum(
        (
            requested(one["spec"]["template"], resource) * one["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
            for one in of_kind(manifests, "Deployment")
            if one["spec"]["strategy"]["type"] == "RollingUpdate"
        ),
        Decimal(),
    )
    assert once + surging <= SMALL_NODE[resource], f"{once} and {surging}"


def test_the_process_gives_up_its_stores_before_the_kubelet_gives_up_the_process() -> None:
    manifests = render({"defaults": {"startupSeconds": 120}, "components": {"score": {"startupSeconds": 600}}})
    for name, seconds in {"quiz": 120, "score": 600, "edge": 120}.items():
        process = containers(named(manifests, "Deployment", name)["spec"]["template"])[0]
        assert environment(process)["TOPTEN_STARTUP_TIMEOUT"] == f"{seconds}s"
        probe = process["startupProbe"]
        assert probe["failureThreshold"] * probe["periodSeconds"] > seconds


def test_the_rollout_of_each_component_is_chosen() -> None:
    given = {"defaults": {"rollout": {"maxSurge": 0, "maxUnavailable": "50%"}}}
    for one in of_kind(render(given), "Deployment"):
        if component(one) != "operator":
            assert one["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": "50%"}


def test_only_the_public_port_is_reachable_from_outside() -> None:
    service = named(rendered("openshift"), "Service", "public")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["metadata"]["annotations"] == {"example.com/load-balancer": "external"}
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    edge = named(rendered("openshift"), "Deployment", "edge")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= edge.items()
    for name in ("trial", "openshift", "production"):
        for one in of_kind(rendered(name), "Service"):
            assert one["metadata"]["name"] == f"{RELEASE}-public" or one["spec"].get("type", "ClusterIP") == "ClusterIP"


def test_accounts_and_services_have_their_annotations() -> None:
    for kind, annotation in (("ServiceAccount", "example.com/identity"), ("Service", "example.com/zone-aware")):
        named_so = [one for one in of_kind(rendered("openshift"), kind) if component(one) not in STORES | {"public"}]
        assert len(named_so) == 5
        assert all(annotation in one["metadata"]["annotations"] for one in named_so)


def test_named_dns_peers_leave_the_cache_of_the_node_reachable() -> None:
    rules = [
        rule
        for policy in of_kind(rendered("openshift"), "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        if {port["port"] for port in rule.get("ports", [])} == {53}
    ]
    assert len(rules) >= 5
    assert all({"ipBlock": {"cidr": "169.254.20.10/32"}} in rule["to"] for rule in rules)
