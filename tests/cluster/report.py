"""The report of a run, as Markdown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from helm_python import helm_sdk_version

from tests.cluster.life import Outcome
from tests.cluster.tools import DEFINITIONS, PROGRAMS, version
from tests.helm.rendering import CHART, ROOT

PAGE: Final = ROOT / "docs" / "operator" / "cluster-report.md"
NOT_RUN: Final = """\
There is no controller, scheduler or node: no pod was placed and no container started. So this report says nothing of the
image, of placement, probes, DNS or network policies in effect, of `helm test`, of rolls, kills and rollbacks under load, or
of other versions of Kubernetes. Hooks that are Jobs are reported as complete by the test."""
ABOUT: Final = """\
Every object is first created in a dry run that refuses unknown fields, and a pod of every template in a namespace that
enforces the Pod Security Standard `restricted`. An upgrade of the chart's version or of a label alone must change no pod
template and no Job, one of a setting only the five processes, and a rollback must restore all. Helm 3 must render what Helm 4
renders, for an install and for an upgrade, and a release of Helm 3 is handed to Helm 4, which must replace no pod."""


def markdown(outcomes: list[Outcome], tree: str, seconds: float) -> str:
    """The page."""
    failed = [one for one in outcomes if one.failure]
    names = {"helm": "Helm"}
    versions = [f"- {names.get(name, name)} {version(name)}" for name in PROGRAMS]
    versions.append(f"- Helm {helm_sdk_version()}, as a library")
    versions += [f"- definitions of {module.replace('@', ' ')}" for module in DEFINITIONS]
    lines = [
        "# The chart on a real API server",
        "",
        f"Written by `make cluster`; do not edit. {datetime.now(UTC):%Y-%m-%d}, chart {tree}",
        f"(`git rev-parse --short=10 HEAD:{CHART.relative_to(ROOT)}`),",
        f"{len(outcomes)} releases in {seconds:.0f} s: {len(outcomes) - len(failed)} passed, {len(failed)} failed.",
        "",
        *versions,
        "",
        ABOUT,
        "",
        "| values | Helm | objects | pods | steps (seconds) | left after the uninstall |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in outcomes:
        steps = ", ".join(f"{name} ({spent:.0f})" for name, spent in one.steps)
        left = ", ".join(f"`{name}`" for name in sorted(one.left)) or "nothing"
        lines.append(
            f"| {one.values} | {one.helm} | {one.objects} | {one.pods} | {steps} | {'-' if one.failure else left} |"
        )
    for one in failed:
        lines += ["", f"{one.values}, Helm {one.helm} **failed**:", "", "```", one.failure[:1500], "```"]
    return "\n".join([*lines, "", "## Not run", "", NOT_RUN, ""])
