"""Network access: the policies, the environment and the code agree with the list below.

The list is the design. Equality means that nothing is reachable without a need and nothing that is needed is blocked.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from tests.helm.rendering import (
    RELEASE,
    ROOT,
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

Edge = tuple[str, str, int]
CALLS: set[Edge] = {
    ("identity", "quiz", 50052),
    ("identity", "score", 50053),
    ("quiz", "identity", 50051),
    ("quiz", "leaderboard", 50054),
    ("score", "identity", 50051),
    ("score", "quiz", 50052),
    ("score", "leaderboard", 50054),
    ("leaderboard", "identity", 50051),
    ("edge", "identity", 50051),
    ("edge", "quiz", 50052),
    ("edge", "score", 50053),
    ("edge", "leaderboard", 50054),
    ("samples", "quiz", 50052),
}
# Public keys and service tokens.
KEYS: set[Edge] = {(caller, "identity", 9101) for caller in ("quiz", "score", "leaderboard", "edge", "samples")}
STORES: set[Edge] = {
    *((who, "mongo", 27017) for who in ("identity", "quiz", "score", "leaderboard", "setup")),
    *((who, "nats", 4222) for who in ("identity", "quiz", "score", "setup")),
    *((who, "redis", 6379) for who in ("quiz", "score", "leaderboard", "edge")),
}
BACKUP: set[Edge] = {("backup", "mongo", 27017)}
CHECK: set[Edge] = {("check", "edge", 8080)}
OPERATOR: set[Edge] = {
    ("operator", "identity", 50051),
    ("operator", "quiz", 50052),
    ("operator", "score", 50053),
    ("operator", "leaderboard", 50054),
    *(("operator", name, 9101 + at) for at, name in enumerate(("identity", "quiz", "score", "leaderboard", "edge"))),
    ("operator", "edge", 8080),
}


def _matches(peers: list[Manifest] | None, labels: dict[str, str]) -> bool:
    """Whether a pod of this namespace is among the peers; other namespaces and addresses do not match."""
    if peers is None:
        return True
    selectors = [peer["podSelector"].get("matchLabels", {}) for peer in peers if peer.keys() == {"podSelector"}]
    return any(selector.items() <= labels.items() for selector in selectors)


def _allowed(manifests: list[Manifest]) -> set[Edge]:
    """The connections between pods that the NetworkPolicies allow: egress and ingress must both match."""
    policies = of_kind(manifests, "NetworkPolicy")
    made = {component(owner): pod["metadata"]["labels"] for owner, pod in pods(manifests)}
    ports = sorted({port["port"] for one in policies for rule in _rules(one) for port in rule.get("ports", [])})

    def passes(direction: str, pod: dict[str, str], other: dict[str, str], port: int) -> bool:
        selecting = [
            one["spec"] for one in policies if one["spec"]["podSelector"]["matchLabels"].items() <= pod.items()
        ]
        applied = [spec for spec in selecting if direction in spec["policyTypes"]]
        if not applied:
            return True
        ends = "from" if direction == "Ingress" else "to"
        return any(
            _matches(rule.get(ends), other) and any(port == allowed["port"] for allowed in rule["ports"])
            for spec in applied
            for rule in spec.get(direction.lower(), [])
        )

    return {
        (source, target, port)
        for (source, out), (target, in_) in itertools.permutations(made.items(), 2)
        for port in ports
        if passes("Egress", out, in_, port) and passes("Ingress", in_, out, port)
    }


def _rules(policy: Manifest) -> list[dict[str, Any]]:
    return [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]


def _addresses(manifests: list[Manifest]) -> set[Edge]:
    """Every name:port of this release's Services in the environment and files of the pods."""
    secrets = {one["metadata"]["name"]: one["stringData"] for one in of_kind(manifests, "Secret")}
    configs = {one["metadata"]["name"]: one["data"] for one in of_kind(manifests, "ConfigMap")}
    edges: set[Edge] = set()
    for owner, pod in pods(manifests):
        texts: list[str] = []
        for container in containers(pod):
            texts += [*environment(container).values(), *container.get("command", [])]
        for volume in pod["spec"].get("volumes", []):
            for source in volume.get("projected", {}).get("sources", []):
                if "secret" in source:
                    texts += [secrets[source["secret"]["name"]][item["key"]] for item in source["secret"]["items"]]
            if "configMap" in volume:
                texts += configs[volume["configMap"]["name"]].values()
        for name, port in re.findall(rf"\b{RELEASE}-([a-z]+):(\d+)", "\n".join(texts)):
            if name != component(owner):
                edges.add((component(owner), name, int(port)))
    return edges


@pytest.mark.parametrize("optional", [False, True])
def test_policies_allow_exactly_the_listed_connections(optional: bool) -> None:
    declared = CALLS | KEYS | STORES | CHECK | (OPERATOR | BACKUP if optional else set())
    assert _allowed(render({"operator": {"enabled": optional}, "backup": {"enabled": optional}})) == declared


def test_pods_have_exactly_the_addresses_that_they_may_reach() -> None:
    # The addresses file of the `topten` command names all services, also in the Job that imports the quizzes.
    addresses = {edge for edge in _addresses(render({})) if edge[0] != "samples"}
    assert addresses == {edge for edge in CALLS | KEYS | STORES | CHECK if edge[0] != "samples"}


def test_each_process_opens_exactly_the_channels_that_it_may_use() -> None:
    for name in ("identity", "quiz", "score", "leaderboard", "edge"):
        folder = ROOT / ("edge" if name == "edge" else f"services/{name}")
        code = "\n".join(path.read_text() for path in sorted(folder.rglob("*.py")))
        scope = r"config\.upstream\." if name != "edge" else r"\"\w+\": config\."
        opened = set(re.findall(scope + r"(identity|quiz|score|leaderboard)\b", code))
        assert opened == {target for source, target, _ in CALLS if source == name}, name
        for store in ("mongo", "redis", "nats"):
            assert bool(re.search(rf"config\.{store}\b", code)) == any(edge[:2] == (name, store) for edge in STORES), (
                name,
                store,
            )


def test_every_pod_is_denied_by_default() -> None:
    """Every pod is selected, and a pod without a policy of its own may not connect."""
    for name in ("trial", "production", "external", "high-availability"):
        manifests = rendered(name)
        policies = of_kind(manifests, "NetworkPolicy")
        for owner, pod in pods(manifests):
            labels = pod["metadata"]["labels"]
            selecting = [one for one in policies if one["spec"]["podSelector"]["matchLabels"].items() <= labels.items()]
            assert {kind for one in selecting for kind in one["spec"]["policyTypes"]} == {"Ingress", "Egress"}, owner
    assert named(rendered("trial"), "NetworkPolicy", "deny")["spec"].keys() == {"podSelector", "policyTypes"}


def test_monitoring_reaches_metrics_and_clients_reach_the_public_port() -> None:
    manifests = rendered("production")
    for name in ("identity", "quiz", "score", "leaderboard", "edge"):
        rules = named(manifests, "NetworkPolicy", name)["spec"]["ingress"]
        (ops,) = (port["port"] for port in named(manifests, "Service", name)["spec"]["ports"] if port["name"] == "ops")
        scraped = [rule["from"] for rule in rules if rule["ports"][0]["port"] == ops]
        assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}} in scraped[-1]
    outside = values("production")["networkPolicy"]["clients"]
    edge = named(manifests, "NetworkPolicy", "edge")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in edge if rule["from"] == outside] == [8080]


@pytest.mark.parametrize("name", ["production", "external"])
def test_external_stores_are_reachable_on_their_ports_only(name: str) -> None:
    given = values(name)["stores"]
    for who, store in ((edge[0], edge[1]) for edge in STORES):
        if who == "setup":
            continue
        egress = named(rendered(name), "NetworkPolicy", who)["spec"]["egress"]
        ports = given[store].get("ports", {"mongo": [27017], "redis": [6379], "nats": [4222]}[store])
        rule = next(rule for rule in egress if [port["port"] for port in rule["ports"]] == ports)
        assert rule.get("to", []) == given[store].get("peers", [])


def test_score_alone_reaches_receivers_of_webhooks_and_only_if_they_are_enabled() -> None:
    def egress(manifests: list[Manifest], name: str) -> list[Manifest]:
        rules: list[Manifest] = named(manifests, "NetworkPolicy", name)["spec"]["egress"]
        return [rule for rule in rules if [port["port"] for port in rule["ports"]] == [8443]]

    for enabled in (False, True):
        manifests = render({"networkPolicy": {"webhooks": {"enabled": enabled, "ports": [8443]}}})
        for name in ("identity", "quiz", "score", "leaderboard", "edge"):
            found = egress(manifests, name)
            assert len(found) == (enabled and name == "score")
            for rule in found:
                (inside,) = (each["ipBlock"]["except"] for each in rule["to"] if each["ipBlock"]["cidr"] == "0.0.0.0/0")
                assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"} <= set(inside)
