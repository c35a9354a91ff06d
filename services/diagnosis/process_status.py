"""The status of a process: metrics, readiness and clock. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class ProcessStatus:
    """One process; `samples` is empty if it did not respond.

    `clock_skew` is how many seconds its clock is ahead of this one's; HTTP dates have a resolution of one second.
    """

    name: str
    samples: Mapping[tuple[str, Labels], float] = field(default_factory=dict)
    ready: bool = False
    clock_skew: float = 0.0

    @property
    def responds(self) -> bool:
        """Whether it returned its metrics."""
        return bool(self.samples)

    @property
    def stores_away(self) -> list[str]:
        """The stores that it cannot reach."""
        return [store for store, up in largest_by_label([self], "topten_store_up", "store").items() if not up]

    @property
    def version(self) -> str:
        """Its version."""
        return next((dict(labels)["version"] for (name, labels) in self.samples if name == "topten_build_info"), "")

    @property
    def uptime(self) -> float:
        """Seconds since its start, by its own clock."""
        started = total([self], "process_start_time_seconds")
        return time.time() + self.clock_skew - started if started else 0.0


def total(processes: Iterable[ProcessStatus], name: str, **labels: str) -> float:
    """The sum over processes and series with these labels; 0 without any."""
    return sum(_values(processes, name, labels))


def largest(processes: Iterable[ProcessStatus], name: str) -> float:
    """The largest value over processes and series; 0 without any."""
    return max(_values(processes, name, {}), default=0.0)


def largest_by_label(processes: Iterable[ProcessStatus], name: str, label: str) -> dict[str, float]:
    """The largest value over processes for each value of a label."""
    result: dict[str, float] = {}
    for process in processes:
        for (sample, labels), value in process.samples.items():
            if sample == name:
                key = dict(labels)[label]
                result[key] = max(value, result.get(key, value))
    return result


def quantile(processes: Iterable[ProcessStatus], name: str, share: float) -> float | None:
    """Estimate the quantile of a histogram as Prometheus does (`histogram_quantile`); None if it is empty."""
    buckets: dict[float, float] = {}
    for process in processes:
        for (sample, labels), value in process.samples.items():
            if sample == f"{name}_bucket":
                bound = float(dict(labels)["le"])
                buckets[bound] = buckets.get(bound, 0.0) + value
    bounds = sorted(buckets)
    wanted = share * buckets[bounds[-1]] if bounds else 0.0
    if not wanted:
        return None
    low = before = 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            return low if bound == float("inf") else low + (bound - low) * (wanted - before) / (buckets[bound] - before)
        low, before = bound, buckets[bound]
    return low


def _values(processes: Iterable[ProcessStatus], name: str, labels: Mapping[str, str]) -> Iterable[float]:
    for process in processes:
        for (sample, sample_labels), value in process.samples.items():
            if sample == name and labels.items() <= dict(sample_labels).items():
                yield value
