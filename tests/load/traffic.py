"""k6 as the load generator: its plan, and its measurements while it runs.

Its samples come line by line through a pipe and are kept as one summary a moment, so that hours of them take no more room
than minutes.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

K6: Final = Path(sys.executable).parent / "k6"
PLAN: Final = Path(__file__).with_name("plan.js")
PROTOS: Final = Path(__file__).parents[2] / "proto"
PROTO_FILES: Final = {
    "quiz": "topten/quiz/v1/quiz_service.proto",
    "leaderboard": "topten/leaderboard/v1/leaderboard_service.proto",
}
# The exit code of k6 for a crossed threshold; it ran to its end.
CROSSED: Final = 99
_DURATIONS: Final = ("http_req_duration", "grpc_req_duration")


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile of the values; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


@dataclass
class Moment:
    """One interval: latencies in milliseconds by scenario, and the number of failed and dropped requests."""

    durations: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: int = 0
    dropped: int = 0

    def of(self, kind: str) -> list[float]:
        """Return the latencies of all scenarios whose name starts with `kind`."""
        return [value for name, values in self.durations.items() if name.startswith(kind) for value in values]


@dataclass(frozen=True)
class Point:
    """A finished interval: seconds since the start, requests per second by outcome, and p50, p95, p99 in ms."""

    at: float
    counts: Mapping[str, int]
    rate: float
    failed: float
    dropped: float
    submit: tuple[float, ...]
    read: tuple[float, ...]


class Series:
    """The samples of k6's CSV output, aggregated every `interval` seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self.begun: float | None = None
        self._open: dict[int, Moment] = {}
        self.points: list[Point] = []

    def read(self, path: Path) -> None:
        """Read everything that is written to `path` until its writer closes it."""
        with path.open(newline="") as lines:
            for row in csv.DictReader(lines):
                self.add(
                    row["metric_name"], float(row["timestamp"]) / 1000, float(row["metric_value"]), row["scenario"]
                )
        self.close()

    def add(self, metric: str, at: float, value: float, scenario: str) -> None:
        """Add one sample; `at` is a Unix time."""
        if metric not in (*_DURATIONS, "errors", "dropped_iterations"):
            return
        if self.begun is None:
            self.begun = at
        # A late sample counts in the earliest interval that is still open.
        index = max(len(self.points), int((at - self.begun) / self._interval))
        moment = self._open.setdefault(index, Moment())
        if metric in _DURATIONS:
            moment.durations[scenario].append(value)
        elif metric == "errors":
            moment.failed += value != 0
        else:
            moment.dropped += int(value)
        # k6 flushes every second, so samples are slightly out of order.
        self._sum_up(index - max(1, round(2 / self._interval)))

    def close(self) -> None:
        """Close all intervals."""
        self._sum_up(None)

    def _sum_up(self, upto: int | None) -> None:
        last = max(self._open, default=-1) + 1 if upto is None else upto
        for index in range(len(self.points), last):
            moment = self._open.pop(index, None) or Moment()
            submit, read = (
                tuple(percentile(moment.of(kind), percent) for percent in (50, 95, 99)) for kind in ("submit", "read")
            )
            counts = {name: len(values) for name, values in moment.durations.items()}
            self.points.append(
                Point(
                    at=index * self._interval,
                    counts=counts,
                    rate=sum(counts.values()) / self._interval,
                    failed=moment.failed / self._interval,
                    dropped=moment.dropped / self._interval,
                    submit=submit,
                    read=read,
                )
            )


@dataclass(frozen=True)
class Traffic:
    """The summary of k6 and the intervals of the run; `begun` is a Unix time."""

    summary: Mapping[str, Any]
    begun: float
    points: Sequence[Point]

    def counted(self, metric: str) -> int:
        """Return the value of a counter; 0 if it never counted."""
        return int(self.summary["metrics"].get(metric, {}).get("values", {}).get("count", 0))

    @property
    def refused(self) -> Counter[str]:
        """Return the number of refusals by reason."""
        return Counter({p: int(n) for p, n in self._tagged("refused", "reason").items()})

    @property
    def crossed(self) -> list[str]:
        """Return the crossed thresholds, as k6 writes them."""
        return [
            f"{name}: {threshold}"
            for name, metric in self.summary["metrics"].items()
            for threshold, outcome in metric.get("thresholds", {}).items()
            if not outcome["ok"]
        ]

    def _tagged(self, metric: str, tag: str) -> dict[str, float]:
        found = {}
        for name, values in self.summary["metrics"].items():
            if name.startswith(f"{metric}{{{tag}:"):
                found[name.removeprefix(f"{metric}{{{tag}:").removesuffix("}")] = values["values"].get("count", 0)
        return found


def run(folder: Path, plan: Mapping[str, Any], players: Sequence[Mapping[str, Any]], interval: float) -> Traffic:
    """Run k6 with this plan. Raises RuntimeError if it cannot run."""
    files = {name: folder / f"{name}.json" for name in ("plan", "players", "summary")}
    samples = folder / "samples.csv"
    os.mkfifo(samples)
    whole = dict(plan) | {
        "players": str(files["players"]),
        "summary": str(files["summary"]),
        "protos": str(PROTOS),
        "protoFiles": PROTO_FILES,
    }
    for name, content in (("plan", whole), ("players", players)):
        files[name].touch(mode=0o600)
        files[name].write_text(json.dumps(content))
    series = Series(interval)
    reader = threading.Thread(target=series.read, args=(samples,), daemon=True)
    reader.start()
    log = folder / "k6.log"
    with log.open("w") as output:
        k6 = subprocess.run(
            [K6, "run", "--quiet", "--no-usage-report", "--address", "127.0.0.1:0", "--out", f"csv={samples}", PLAN],
            env={**os.environ, "PLAN": str(files["plan"]), "K6_CSV_TIME_FORMAT": "unix_milli"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if k6.returncode not in (0, CROSSED):
        raise RuntimeError(f"k6 ended with {k6.returncode}:\n{log.read_text()[-2000:]}")
    reader.join()
    if series.begun is None:
        raise RuntimeError(f"k6 has sent nothing:\n{log.read_text()[-2000:]}")
    return Traffic(json.loads(files["summary"].read_text()), series.begun, series.points)
