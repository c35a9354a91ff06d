"""`make cluster`: build what is missing, run every set of values, then a node, and write the report. Exits 1 for a failure."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from services.embedded.preflight import report as problems_report
from tests.cluster import charts, report
from tests.cluster.control_plane import ControlPlane
from tests.cluster.life import Charts, Life, Outcome, define
from tests.cluster.node import images, isolation, requirements
from tests.cluster.node.week import Week
from tests.cluster.tools import ROOT, Tools, prepare
from tests.deadline import set_scale
from tests.helm.rendering import CHART, VALUES, values
from tests.leftovers import exit_on_sigterm

NODE: Final = "node"


def main(arguments: list[str]) -> int:
    """Run all sets of values and the node, or those named."""
    chosen = arguments or [*VALUES, NODE]
    excuse = requirements.unsuitable() if NODE in chosen else "it was not asked for"
    if excuse:
        print(f"The node is skipped: {excuse}.", flush=True)
    elif problems := requirements.missing():
        print("\n".join(problems_report(problems)), file=sys.stderr)
        return 2
    set_scale(3)
    exit_on_sigterm()
    tools = prepare(node=not excuse)
    started = time.monotonic()
    outcomes = _lives(tools, [name for name in chosen if name != NODE])
    seconds = time.monotonic() - started
    weeks, node = ([], []) if excuse else (_weeks(), report.machine())
    text = report.markdown(outcomes, weeks, charts.tree(), seconds, excuse=excuse, node=node)
    if arguments:
        print(text)
    else:
        report.PAGE.write_text(text, encoding="utf-8")
        print(f"written to {report.PAGE.relative_to(ROOT)}")
    return 1 if any([*(one.failure for one in outcomes), *(one.failure for one in weeks)]) else 0


def _lives(tools: Tools, chosen: list[str]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    if not chosen:
        return outcomes
    with tempfile.TemporaryDirectory(prefix="topten-cluster-") as name:
        folder = Path(name)
        made = Charts(charts.previous(folder), CHART, charts.next_version(folder))
        plane = ControlPlane(folder, tools)
        with plane.running():
            print("the API server is ready", flush=True)
            define(plane.api, tools.definitions)
            life = Life(plane, made, tools.programs["helm"])
            for each in chosen:
                for live in (life.by_helm4, life.by_helm3):
                    outcomes.append(live(each, values(each)))
                    print(f"{each}, Helm {outcomes[-1].helm}: {outcomes[-1].failure or 'passed'}", flush=True)
    return outcomes


def _weeks() -> list[Week]:
    """Build the images here, where there is a network, and live the weeks where there is none."""
    with tempfile.TemporaryDirectory(prefix="topten-node-") as name:
        folder, layout = Path(name) / "node", Path(name) / "images"
        folder.mkdir()
        images.build(layout)
        cgroup = f"topten-{os.getpid()}"
        code = isolation.isolated("tests.cluster.node", [str(folder), str(layout), cgroup], cgroup)
        if code:
            return [Week("node", failure=f"the node ended with {code}; its messages are above")]
        return [Week.read(each) for each in json.loads((folder / "outcome.json").read_text())]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
