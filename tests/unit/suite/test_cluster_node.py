"""The stand-ins of `make cluster`'s node, and what it reports."""

from __future__ import annotations

import os
import re
from dataclasses import asdict

import dns.message
import pytest

from services.embedded.preflight import report as problems_report
from tests.cluster import report
from tests.cluster.api import Object
from tests.cluster.life import LEFT
from tests.cluster.node import requirements
from tests.cluster.node.dns import Zone
from tests.cluster.node.policies import ALL, Pod, rules
from tests.cluster.node.traffic import Phase
from tests.cluster.node.week import Week
from tests.helm.rendering import NAMESPACE, ROOT, of_kind, rendered

EDGE = Pod(NAMESPACE, "10.0.0.1", {"app.kubernetes.io/name": "topten", "app.kubernetes.io/component": "edge"})
QUIZ = Pod(NAMESPACE, "10.0.0.2", {"app.kubernetes.io/name": "topten", "app.kubernetes.io/component": "quiz"})
MONGO = Pod(NAMESPACE, "10.0.0.3", {"app.kubernetes.io/name": "topten", "app.kubernetes.io/component": "mongo"})
STRANGER = Pod("elsewhere", "10.0.0.9", {})
PODS = [EDGE, QUIZ, MONGO, STRANGER]


def allowed(text: str, way: str, pod: Pod) -> set[tuple[str, str]]:
    """Peers and ports that the chain of a pod returns for."""
    words = [line.split() for line in text.splitlines() if line.startswith(f"-A {way}-{pod.address} ")]
    assert words[-1][-1] == "DROP"
    return {(line[3], line[-3]) for line in words if line[-1] == "RETURN"}


@pytest.fixture(scope="module")
def enforced() -> str:
    policies: list[Object] = of_kind(rendered("trial"), "NetworkPolicy")
    for policy in policies:
        policy["metadata"].setdefault("namespace", NAMESPACE)
    for pod in PODS[:3]:
        pod.labels["app.kubernetes.io/instance"] = "topten"  # type: ignore[index]  # read-only elsewhere
    return rules(PODS, policies, {NAMESPACE: {}, "elsewhere": {}})


def test_policies_of_the_chart_become_rules_for_its_pods_alone(enforced: str) -> None:
    assert ("10.0.0.1", "50052") in allowed(enforced, "in", QUIZ)
    assert ("10.0.0.2", "50052") in allowed(enforced, "eg", EDGE)
    assert ("10.0.0.2", "27017") in allowed(enforced, "in", MONGO)
    assert ("10.0.0.1", "27017") not in allowed(enforced, "in", MONGO)
    assert not [peer for peer, _ in allowed(enforced, "in", QUIZ) if peer == STRANGER.address]
    assert f"-{STRANGER.address} " not in enforced


def test_replies_of_open_connections_pass_before_every_policy(enforced: str) -> None:
    first = next(line for line in enforced.splitlines() if line.startswith("-A"))
    assert first == f"-A {ALL} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"


class Listed:
    """An API server with two Services."""

    def items(self, path: str) -> list[Object]:
        named = [("edge", "10.96.0.7"), ("quiz", "None")]
        if path == "/api/v1/services":
            return [
                {"metadata": {"name": name, "namespace": "play"}, "spec": {"clusterIP": ip, "clusterIPs": [ip]}}
                for name, ip in named
            ]
        labels = {"kubernetes.io/service-name": "quiz"}
        ends = [{"addresses": [f"10.0.0.{n}"], "conditions": {"ready": n < 3}} for n in (1, 2, 3)]
        return [{"metadata": {"name": "quiz-1", "namespace": "play", "labels": labels}, "endpoints": ends}]


@pytest.mark.parametrize(
    ("name", "kind", "addresses"),
    [
        ("edge.play", "A", {"10.96.0.7"}),
        ("quiz.play", "A", {"10.0.0.1", "10.0.0.2"}),
        ("quiz.play", "AAAA", set()),
        ("quiz.elsewhere", "A", None),
    ],
)
def test_names_resolve_to_service_addresses_or_to_ready_pods(name: str, kind: str, addresses: set[str] | None) -> None:
    zone = Zone(Listed())  # type: ignore[arg-type]
    zone.read()
    reply = dns.message.from_wire(zone.reply(dns.message.make_query(f"{name}.svc.cluster.local", kind).to_wire()))
    found = {each.to_text() for answer in reply.answer for each in answer}
    assert found == (addresses or set())
    assert (reply.rcode() == 3) == (addresses is None)


def test_report_has_the_counts_and_names_a_gap_over_its_bound() -> None:
    phases = [
        Phase("restart quiz", 20.0, 100, 0, 0, 0.3, 0.9),
        Phase("kill -9 edge", 9.0, 50, 4, 1, 2.5, 3.1, 2, errors={"UNAVAILABLE": 4}),
    ]
    week = Week("trial", 13, [("install", 40.0)], phases, {"secrets/topten-secrets"})
    read = Week.read({**asdict(week), "left": sorted(week.left)})
    text = report.markdown([], [read], "0123456789", 0, node=["containerd 1"])
    assert "1 of 150 submissions failed; the gap was over 2 s in 1 of 2 phases." in text
    assert "| kill -9 edge | 9 | 50 | 4 | 1 | 2.5 | 3.1 (over) | 2 | 4 UNAVAILABLE |" in text
    assert "`secrets/topten-secrets`" in text


def test_report_says_why_there_was_no_node() -> None:
    assert "Not run: a node needs root." in report.markdown(
        [], [], "0123456789", 0, excuse="a node needs root", node=[]
    )


def test_everything_that_a_node_needs_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    lines = problems_report(requirements.missing())
    assert {"buildah", "containerd", "iptables", "mmdebstrap", "runc"} <= set(lines[-1].split())


def test_a_node_is_not_tried_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert requirements.unsuitable() == "a node needs root"


def test_what_an_uninstall_may_leave_is_what_the_page_says() -> None:
    page = (ROOT / "docs" / "operator" / "install.md").read_text()
    section = page.partition("## Uninstall")[2].partition("\n\n")[2].partition("\n\n")[0]
    assert {each.partition("/")[2] for each in LEFT} == set(re.findall(r"`(topten-[a-z-]+)`", section))
