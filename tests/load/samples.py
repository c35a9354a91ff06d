"""Samples during a run: CPU time and memory of each process, and the statistics of the stores."""

from __future__ import annotations

import asyncio
import os
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis.asyncio as redis
from prometheus_client.parser import text_string_to_metric_families
from pymongo import AsyncMongoClient

from tests.load.streams import Screens
from tests.servers import RunningStack

PROCESSES: Final = ("edge", "identity", "quiz", "score", "leaderboard", "mongo", "nats", "redis")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """One sample at Unix time `at`: `cpu` in cores since the last one, `memory` in bytes, latencies in ms."""

    at: float
    cpu: Mapping[str, float]
    memory: Mapping[str, int]
    pending: float
    outbox_lag: float
    mongo: Mapping[str, float]
    redis: Mapping[str, float]
    frames: float
    frame_p99: float
    screens: int


class Sampler:
    """Samples every `interval` seconds while `run` runs."""

    def __init__(self, stack: RunningStack, screens: Screens, interval: float) -> None:
        self._stack = stack
        self._screens = screens
        self._interval = interval
        self._used: dict[str, tuple[int, float, float]] = {}
        self._counted: dict[str, tuple[float, float]] = {}
        self.samples: list[Sample] = []

    async def run(self) -> None:
        """Sample until cancelled."""
        stores = self._stack.endpoints["stores"]
        mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stores["mongo"])
        async with mongo, redis.from_url(stores["redis"]) as cache:
            while True:
                await self._look(mongo, cache)
                await asyncio.sleep(self._interval)

    async def _look(self, mongo: AsyncMongoClient[dict[str, Any]], cache: redis.Redis) -> None:
        status = await mongo.admin.command("serverStatus")
        info = await cache.info()
        metrics = await asyncio.to_thread(scrape, self._stack, "score", "quiz")
        frames, late = self._screens.recent()
        first = not self.samples
        sample = Sample(
            at=time.time(),
            cpu={name: self._cpu(name) for name in PROCESSES},
            memory={name: _memory(self._stack.pid_of(name)) for name in PROCESSES},
            pending=metrics.get("topten_consumer_pending", 0.0),
            outbox_lag=metrics.get("topten_outbox_lag_seconds", 0.0),
            mongo={
                "connections": status["connections"]["current"],
                "cache": status["wiredTiger"]["cache"]["bytes currently in the cache"],
            }
            | {f"{name} ms": self._latency(name, status["opLatencies"][name]) for name in ("reads", "writes")}
            | {
                f"{name}/s": self._rate(name, sum(status["opcounters"][each] for each in members))
                for name, members in {
                    "inserts": ["insert"],
                    "updates": ["update"],
                    "reads": ["query", "getmore"],
                }.items()
            },
            redis={"ops/s": info["instantaneous_ops_per_sec"], "memory": info["used_memory"]},
            frames=0.0 if first else frames / self._interval,
            frame_p99=late,
            screens=self._screens.open,
        )
        self.samples.append(sample)

    def _cpu(self, name: str) -> float:
        pid = self._stack.pid_of(name)
        now, used = time.monotonic(), cpu_seconds(pid)
        before = self._used.get(name)
        self._used[name] = (pid, now, used)
        return 0.0 if before is None or before[0] != pid else (used - before[2]) / (now - before[1])

    def _latency(self, name: str, stats: Mapping[str, float]) -> float:
        """Return the mean latency since the last sample, in milliseconds."""
        before = self._counted.get(name, (0.0, 0.0))
        self._counted[name] = (stats["latency"], stats["ops"])
        operations = stats["ops"] - before[1]
        return (stats["latency"] - before[0]) / operations / 1000 if operations > 0 else 0.0

    def _rate(self, name: str, count: float) -> float:
        key = f"{name}/s"
        before = self._counted.get(key)
        now = time.monotonic()
        self._counted[key] = (count, now)
        return 0.0 if before is None else (count - before[0]) / (now - before[1])


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in seconds; 0 if it has ended."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def scrape(stack: RunningStack, *processes: str) -> dict[str, float]:
    """Sum the metrics of some processes by sample name; histograms by bucket: `name_bucket|le`."""
    found: dict[str, float] = {}
    for process in processes:
        with suppress(OSError), urllib.request.urlopen(stack.endpoints["metrics"][process], timeout=2) as answer:
            for family in text_string_to_metric_families(answer.read().decode()):
                for sample in family.samples:
                    key = f"{sample.name}|{sample.labels['le']}" if "le" in sample.labels else sample.name
                    found[key] = found.get(key, 0.0) + sample.value
    return found


def quantile(before: Mapping[str, float], after: Mapping[str, float], histogram: str, share: float) -> float | None:
    """Return the bound of the bucket of this quantile between two scrapes; None without observations."""
    prefix = f"{histogram}_bucket|"
    grown = {
        float(key.removeprefix(prefix)): after[key] - before.get(key, 0.0) for key in after if key.startswith(prefix)
    }
    whole = grown.get(float("inf"), 0.0)
    return next((bound for bound, count in sorted(grown.items()) if count >= share * whole), None) if whole else None


def _memory(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0
