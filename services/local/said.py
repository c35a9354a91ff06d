"""What a process says of itself on its operations port: its metrics, whether it is ready, what its clock shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

ANSWER_SECONDS: Final = 4.0
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Said:
    """One process; `samples` is empty if it does not answer. `skew` is how far its clock is ahead of this one's, in seconds.

    A clock is read to the second, so a difference of one is none.
    """

    name: str
    samples: Mapping[tuple[str, Labels], float] = field(default_factory=dict)
    ready: bool = False
    skew: float = 0.0

    @property
    def answers(self) -> bool:
        """Whether it could be asked."""
        return bool(self.samples)

    @property
    def away(self) -> list[str]:
        """The stores that do not answer it."""
        return [store for store, up in by([self], "topten_store_up", "store").items() if not up]

    @property
    def version(self) -> str:
        """What runs."""
        return next((dict(labels)["version"] for (name, labels) in self.samples if name == "topten_build_info"), "")

    @property
    def uptime(self) -> float:
        """Seconds since its start, by its own clock."""
        started = total([self], "process_start_time_seconds")
        return time.time() + self.skew - started if started else 0.0


async def ask(addresses: Mapping[str, str]) -> list[Said]:
    """Every process by the address of its metrics; those without a name in the mapping take the one they say."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return list(await asyncio.gather(*(_ask(session, name, url) for name, url in addresses.items())))


def total(processes: Iterable[Said], name: str, **labels: str) -> float:
    """The sum over processes and series with these labels; 0 if nobody says anything."""
    return sum(_values(processes, name, labels))


def worst(processes: Iterable[Said], name: str, **labels: str) -> float:
    """The largest over processes and series with these labels; 0 if nobody says anything."""
    return max(_values(processes, name, labels), default=0.0)


def by(processes: Iterable[Said], name: str, label: str) -> dict[str, float]:
    """The largest value for each value of a label."""
    found: dict[str, float] = {}
    for process in processes:
        for (sample, labels), value in process.samples.items():
            if sample == name:
                key = dict(labels)[label]
                found[key] = max(value, found.get(key, value))
    return found


def quantile(processes: Iterable[Said], name: str, share: float) -> float | None:
    """Below which value so large a share of a histogram is, as Prometheus estimates it; None if it is empty."""
    buckets: dict[float, float] = {}
    for process in processes:
        for (sample, labels), value in process.samples.items():
            if sample == f"{name}_bucket":
                edge = float(dict(labels)["le"])
                buckets[edge] = buckets.get(edge, 0.0) + value
    edges = sorted(buckets)
    wanted = share * buckets[edges[-1]] if edges else 0.0
    if not wanted:
        return None
    low = before = 0.0
    for edge in edges:
        if buckets[edge] >= wanted:
            return low if edge == float("inf") else low + (edge - low) * (wanted - before) / (buckets[edge] - before)
        low, before = edge, buckets[edge]
    return low


def _values(processes: Iterable[Said], name: str, labels: Mapping[str, str]) -> Iterable[float]:
    for process in processes:
        for (sample, found), value in process.samples.items():
            if sample == name and labels.items() <= dict(found).items():
                yield value


async def _ask(session: aiohttp.ClientSession, name: str, url: str) -> Said:
    try:
        async with session.get(url) as answer:
            text = await answer.text()
            now = time.time()
            date = answer.headers.get("Date")
        async with session.get(url.removesuffix("/metrics") + "/readyz") as answer:
            ready = answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return Said(name)
    return Said(
        name=name,
        samples={
            (sample.name, frozenset(sample.labels.items())): float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        },
        ready=ready,
        skew=0.0 if date is None else parsedate_to_datetime(date).timestamp() - now + 0.5,
    )
