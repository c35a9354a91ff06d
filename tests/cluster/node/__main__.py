"""Runs in the namespaces of tests.cluster.node.isolation: starts the cluster, lives the weeks, writes the outcome as JSON."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.cluster import charts
from tests.cluster.control_plane import ControlPlane
from tests.cluster.life import Charts, define
from tests.cluster.node import isolation, machine
from tests.cluster.node.week import Operator
from tests.cluster.tools import prepare
from tests.deadline import set_scale
from tests.helm.rendering import CHART


def main(name: str, images: str, cgroup: str) -> None:
    """Live every week in a folder, which gets `outcome.json`."""
    set_scale(5)
    started, folder = time.monotonic(), Path(name)
    isolation.own_folders(folder)
    machine.connect()
    tools = prepare(node=True)
    plane = ControlPlane(folder, tools)
    node = machine.Machine(folder, plane, tools, cgroup)
    with plane.running(), node.running(Path(images)):
        print(f"the node is ready after {time.monotonic() - started:.0f} s", flush=True)
        define(plane.api, tools.definitions)
        made = Charts(charts.previous(folder), CHART, charts.next_version(folder))
        operator = Operator(plane, node, tools, made)
        weeks = [operator.trial(), operator.minimal()]
    (folder / "outcome.json").write_text(json.dumps([asdict(week) for week in weeks], default=sorted))


if __name__ == "__main__":
    main(*sys.argv[1:])
