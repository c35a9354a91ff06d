"""The page of metrics, as the five processes register them: `python -m tests.contract.metrics > …/metrics.md`."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

PROCESSES = ("identity", "quiz", "score", "leaderboard", "edge")
_LIST = """
import importlib, json, sys
from prometheus_client import REGISTRY
importlib.import_module(sys.argv[1])
labels = {id(c): list(getattr(c, "_labelnames", ())) for c in REGISTRY._collector_to_names}
found = []
for collector in list(REGISTRY._collector_to_names):
    described = collector.describe() if hasattr(collector, "describe") else collector.collect()
    for family in described:
        name = family.name + ("_total" if family.type == "counter" else "")
        names = labels[id(collector)] or list(getattr(family, "_labelnames", ()))
        found.append([name, family.type, names, family.documentation])
print(json.dumps(found))
"""
INTRODUCTION = """# Metrics

Every process serves `/metrics` on its `TOPTEN_*_OPS_ADDRESS`, in the text format of Prometheus. This page is what they
register; a test holds it so, another that each of them moves on a running system. No label's values grow with players,
quizzes or boards. What to do when one of them is wrong stands in [operations.md](../operator/operations.md).

| metric | type | labels | of | meaning |
| --- | --- | --- | --- | --- |
"""


class Family(NamedTuple):
    """A metric as it is registered."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


@cache
def registered() -> dict[Family, list[str]]:
    """Every metric and the processes that have it; those of Python itself, which each has, are left out."""
    with ThreadPoolExecutor() as pool:
        listed = dict(zip(PROCESSES, pool.map(_registered_in, PROCESSES), strict=True))
    found: dict[Family, list[str]] = {}
    for process, families in listed.items():
        for family in families:
            found.setdefault(family, []).append(process)
    return found


def page() -> str:
    """The page, as it is committed."""
    rows = []
    for family, processes in sorted(registered().items()):
        of = "all" if len(processes) == len(PROCESSES) else ", ".join(processes)
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.name}` | {family.type} | {labels} | {of} | {family.help} |\n")
    return INTRODUCTION + "".join(rows)


def _registered_in(process: str) -> list[Family]:
    module = f"{process}.__main__" if process == "edge" else f"services.{process}.__main__"
    done = subprocess.run([sys.executable, "-c", _LIST, module], capture_output=True, text=True, check=True)
    families = [Family(name, kind, tuple(labels), text) for name, kind, labels, text in json.loads(done.stdout)]
    return [family for family in families if not family.name.startswith("python_")]


if __name__ == "__main__":
    print(page(), end="")
