"""The report of a run, as Markdown."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from typing import Final

from helm_python import helm_sdk_version

from tests.cluster.life import Outcome
from tests.cluster.node import images
from tests.cluster.node.traffic import GIVE_UP_SECONDS, PLAYERS, WATCHERS
from tests.cluster.node.week import GAP_SECONDS, Week
from tests.cluster.processes import run
from tests.cluster.tools import DEFINITIONS, NODE_PROGRAMS, PROGRAMS, version
from tests.helm.rendering import CHART, ROOT

PAGE: Final = ROOT / "docs" / "operator" / "cluster-report.md"
API: Final = """\
There are no controllers and no node here: hooks that are Jobs are reported as complete by the test. Every object is first
created in a dry run that refuses unknown fields, and a pod of every template in a namespace that enforces the Pod Security
Standard `restricted`. An upgrade of the chart's version or of a label alone must change no pod template and no Job, one of a
setting only the five processes, and a rollback must restore all. Helm 3 must render what Helm 4 renders, for an install and
for an upgrade, and a release of Helm 3 is handed to Helm 4, which must replace no pod."""
NODE: Final = f"""\
One node in namespaces of its own: etcd, API server, controllers, scheduler, containerd, runc, kubelet and kube-proxy are what
clusters run. DNS and network policies are the test's own small programs, the image's base is Debian's Python instead of the
official one, and the stores are those of the embedded wheels instead of the official images. Volumes are folders. The
namespace enforces `restricted`.

`trial` has two pods of each component, as the production checklist asks, because a kill of the only one is an outage. While
it is disturbed, {PLAYERS} players submit and {WATCHERS} watchers hold the stream. A submission that is refused or cut off is
sent again under its action ID; it has failed if it is not accepted within {GIVE_UP_SECONDS:g} s. Watchers reconnect when the
server's `retry:` says. In the end every player must have the points that they were told, and `topten verify` must agree. A gap
is the longest time between two frames of any watcher; it should be at most {GAP_SECONDS:g} s.

"kill -9 each" kills the containers of a component one after another, the next as soon as the API server has the successor of
the one before as ready. Nothing waits for the Service: connections go to a killed container until the kubelet and the proxy
have noticed, and to its successor when the proxy knows it. What is refused meanwhile is among the errors.

Kubernetes, processes, stores and players share the CPUs with whatever else the machine does, which may make gaps longer.

`minimal` begins with the chart as it was before a label or a version could be changed without new pods, and has no players."""


def machine() -> list[str]:
    """The versions of what the node took from this machine. Raises ProgramError."""
    containerd, runc = (run(name, "--version").split() for name in ("containerd", "runc"))
    stores = ", ".join(f"{name} {number}" for name, number in images.store_versions().items())
    return [f"containerd {containerd[2]}, runc {runc[2]}, Linux {platform.release()}, {os.cpu_count()} CPUs", stores]


def markdown(
    outcomes: list[Outcome], weeks: list[Week], tree: str, seconds: float, *, excuse: str = "", node: list[str]
) -> str:
    """The page. `node` has the versions of `machine`; `excuse` says why there are no weeks."""
    failed = [(f"{one.values}, Helm {one.helm}", one.failure) for one in outcomes if one.failure]
    failed += [(f"{one.values}, on the node", one.failure) for one in weeks if one.failure]
    lines = [
        "# The chart on a real API server and a real node",
        "",
        f"Written by `make cluster`; do not edit. {datetime.now(UTC):%Y-%m-%d}, chart {tree}",
        f"(`git rev-parse --short=10 HEAD:{CHART.relative_to(ROOT)}`).",
        f"{len(outcomes) + len(weeks) - len(failed)} releases passed, {len(failed)} failed.",
        "",
        *_versions(node),
        "",
        "## On the API server",
        "",
        API,
        "",
        f"{len(outcomes)} releases in {seconds:.0f} s:",
        "",
        *_lives(outcomes),
        "",
        "## On the node",
        "",
        *([f"Not run: {excuse}."] if excuse else [NODE, "", *_weeks(weeks)]),
    ]
    for name, failure in failed:
        lines += ["", f"{name} **failed**:", "", "```", failure[:3000], "```"]
    lines += [
        "",
        "## Not run",
        "",
        "Other versions of Kubernetes, more than one node, and the official images of the stores.",
    ]
    return "\n".join([*lines, ""])


def _versions(node: list[str]) -> list[str]:
    names = {"helm": "Helm"}
    programs = [*PROGRAMS, *NODE_PROGRAMS] if node else [*PROGRAMS]
    lines = [f"{names.get(name, name)} {version(name)}" for name in programs]
    lines.append(f"Helm {helm_sdk_version()}, as a library")
    lines += [f"definitions of {module.replace('@', ' ')}" for module in DEFINITIONS]
    return [f"- {line}" for line in (*lines, *node)]


def _lives(outcomes: list[Outcome]) -> list[str]:
    lines = [
        "| values | Helm | objects | pods | steps (seconds) | left after the uninstall |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in outcomes:
        left = "-" if one.failure else _left(one.left)
        lines.append(f"| {one.values} | {one.helm} | {one.objects} | {one.pods} | {_steps(one.steps)} | {left} |")
    return lines


def _weeks(weeks: list[Week]) -> list[str]:
    lines = ["| values | pods | steps (seconds) | left after the uninstall |", "| --- | --- | --- | --- |"]
    for week in weeks:
        left = "-" if week.failure else _left(week.left)
        lines.append(f"| {week.values} | {week.pods} | {_steps(week.steps)} | {left} |")
    for week in weeks:
        if week.phases:
            lines += ["", *_phases(week)]
    return lines


def _phases(week: Week) -> list[str]:
    lines = [
        f"`{week.values}` under load; times in seconds:",
        "",
        "| what happened | time | submissions | sent again | failed | slowest | longest gap | reconnections | errors met |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in week.phases:
        errors = ", ".join(f"{count} {name}" for name, count in sorted(one.errors.items())) or "none"
        beyond = " (over)" if one.gap > GAP_SECONDS else ""
        lines.append(
            f"| {one.name} | {one.seconds:.0f} | {one.submissions} | {one.repeated} | {one.failed} | {one.slowest:.1f} "
            f"| {one.gap:.1f}{beyond} | {one.reconnections} | {errors} |"
        )
    submissions, failed = sum(one.submissions for one in week.phases), sum(one.failed for one in week.phases)
    over = sum(one.gap > GAP_SECONDS for one in week.phases)
    gaps = f"the gap was over {GAP_SECONDS:g} s in {over} of {len(week.phases)} phases"
    lines += ["", f"{failed} of {submissions} submissions failed; {gaps}."]
    return lines


def _steps(steps: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} ({spent:.0f})" for name, spent in steps)


def _left(left: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(left)) or "nothing"
