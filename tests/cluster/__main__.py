"""`make cluster`: build what is missing, run every set of values, write the report. Exits 1 if a release failed."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import yaml

from tests.cluster import charts, report
from tests.cluster.control_plane import ControlPlane
from tests.cluster.life import Charts, Life, define
from tests.cluster.tools import ROOT, prepare
from tests.deadline import set_scale
from tests.helm.rendering import CHART, VALUES, values


def main(arguments: list[str]) -> int:
    """Run all sets of values, or those named."""
    chosen = arguments or list(VALUES)
    set_scale(3)
    tools = prepare()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="topten-cluster-") as name:
        folder = Path(name)
        made = Charts(charts.previous(folder), CHART, charts.next_version(folder))
        plane = ControlPlane(folder, tools)
        with plane.running():
            print(f"the API server is ready after {time.monotonic() - started:.0f} s", flush=True)
            define(
                plane.api, [one for path in tools.definitions for one in yaml.safe_load_all(path.read_text()) if one]
            )
            life = Life(plane, made, tools.programs["helm"])
            outcomes = []
            for each in chosen:
                for live in (life.by_helm4, life.by_helm3):
                    outcomes.append(live(each, values(each)))
                    print(f"{each}, Helm {outcomes[-1].helm}: {outcomes[-1].failure or 'passed'}", flush=True)
    text = report.markdown(outcomes, charts.tree(), time.monotonic() - started)
    if arguments:
        print(text)
    else:
        report.PAGE.write_text(text, encoding="utf-8")
        print(f"written to {report.PAGE.relative_to(ROOT)}")
    return 1 if any(one.failure for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
