"""Network policies of the pods on one node, enforced by iptables in this network namespace.

Of the API it knows what the chart uses: ports by number, and peers by labels or by addresses. Connections from the node itself
pass, as they do in any cluster; the kubelet's probes are among them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster.api import Api, ApiError, Object
from tests.cluster.processes import run

POLL_SECONDS: Final = 0.5
ALL: Final = "POLICIES"
_WAYS: Final = (("egress", "to", "-s", "-d"), ("ingress", "from", "-d", "-s"))


@dataclass(frozen=True)
class Pod:
    """What policies select by."""

    namespace: str
    address: str
    labels: Mapping[str, str]


def rules(pods: list[Pod], policies: list[Object], namespaces: Mapping[str, Mapping[str, str]]) -> str:
    """The rules as `iptables-restore` reads them."""
    chains, jumps, bodies = [ALL], [], []
    for pod in pods:
        for way, peers_key, own, other in _WAYS:
            mine = [one for one in policies if _selects(one, pod) and _has(one, way)]
            if not mine:
                continue
            chain = f"{way[:2]}-{pod.address}"
            chains.append(chain)
            jumps.append(f"-A {ALL} {own} {pod.address} -j {chain}")
            for rule in (each for one in mine for each in one["spec"].get(way) or []):
                for peer in _peers(rule.get(peers_key), pod.namespace, pods, namespaces):
                    bodies += [f"-A {chain} {other} {peer}{port} -j RETURN" for port in _ports(rule)]
            bodies.append(f"-A {chain} -j DROP")
    heads = [f":{chain} - [0:0]" for chain in chains]
    known = f"-A {ALL} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"
    return "\n".join(["*filter", *heads, known, *jumps, *bodies, "COMMIT", ""])


@contextmanager
def enforced(api: Api, bridge: str) -> Iterator[None]:
    """Enforce the policies of all namespaces, as they change."""
    run("iptables-restore", "--noflush", given=rules([], [], {}))
    run("iptables", "-w", "-I", "FORWARD", "-j", ALL)
    run("iptables", "-w", "-I", "INPUT", "-i", bridge, "-j", ALL)
    ended, thread_name = threading.Event(), "network policies"

    def loop() -> None:
        last = ""
        while not ended.wait(POLL_SECONDS):
            with suppress(ApiError, OSError):
                text = _current(api)
                if text != last:
                    run("iptables-restore", "--noflush", "-w", given=text)
                    last = text

    thread = threading.Thread(target=loop, name=thread_name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _current(api: Api) -> str:
    pods = [
        Pod(one["metadata"]["namespace"], one["status"]["podIP"], one["metadata"].get("labels", {}))
        for one in api.items("/api/v1/pods")
        if one["status"].get("podIP") and one["status"]["phase"] in ("Pending", "Running")
    ]
    names = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in api.items("/api/v1/namespaces")}
    return rules(pods, api.items("/apis/networking.k8s.io/v1/networkpolicies"), names)


def _selects(policy: Object, pod: Pod) -> bool:
    return policy["metadata"]["namespace"] == pod.namespace and _matches(policy["spec"]["podSelector"], pod.labels)


def _has(policy: Object, way: str) -> bool:
    return way.capitalize() in policy["spec"].get("policyTypes", ["Ingress"])


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for each in selector.get("matchExpressions") or []:
        value, values = labels.get(each["key"]), each.get("values", [])
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[each["operator"]]:
            return False
    return True


def _peers(
    peers: list[Object] | None, namespace: str, pods: list[Pod], namespaces: Mapping[str, Mapping[str, str]]
) -> list[str]:
    if not peers:
        return ["0.0.0.0/0"]
    found = []
    for peer in peers:
        if "ipBlock" in peer:
            if ":" not in peer["ipBlock"]["cidr"]:
                found.append(peer["ipBlock"]["cidr"])
            continue
        for pod in pods:
            if "namespaceSelector" in peer:
                near = _matches(peer["namespaceSelector"], namespaces[pod.namespace])
            else:
                near = pod.namespace == namespace
            if near and _matches(peer.get("podSelector", {}), pod.labels):
                found.append(pod.address)
    return found


def _ports(rule: Object) -> list[str]:
    ports = rule.get("ports")
    if not ports:
        return [""]
    return [f" -p {each.get('protocol', 'TCP').lower()} --dport {each['port']}" for each in ports]
