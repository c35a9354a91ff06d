"""What the system costs before and between actions: CPU of a start, CPU and memory while nothing happens.

    python -m tests.bench resting [SECONDS]

CPU is user and system time that the operating system charges to each process with its children, so it does not depend on
how busy the machine is as much as wall time does. The floor of a command is an interpreter that does nothing; that of the
system is what its three stores cost in the same run.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import redis.asyncio as redis
from pymongo import AsyncMongoClient

from tests.servers import RunningStack, topten

REPEATS: Final = 9
STARTS: Final = 3
SECONDS: Final = 40.0
# Longer than a process counts as working after it started.
SETTLED_SECONDS: Final = 15.0
SHOWN: Final = 16
STORES: Final = frozenset({"mongo", "nats", "redis"})
_TICK: Final = os.sysconf("SC_CLK_TCK")
_WAITED: Final = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)
_PSS: Final = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def command_seconds(command: Sequence[str]) -> float:
    """The median CPU seconds of a command over REPEATS runs."""
    return median(_command_seconds(command) for _ in range(REPEATS))


def _command_seconds(command: Sequence[str]) -> float:
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds of each process since its start, with those of its children that have ended."""
    spent = {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        spent[name] = sum(map(int, fields[11:15])) / _TICK
    return spent


def memory_mib(pids: Mapping[str, int]) -> dict[str, float]:
    """The proportional set size of each process: its own memory and its part of what it shares."""
    found = {name: _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text()) for name, pid in pids.items()}
    return {name: int(size[1]) / 1024 for name, size in found.items() if size is not None}


def wake_ups(pids: Mapping[str, int]) -> dict[str, float]:
    """How often the threads of each process have waited and been woken since its start."""
    found = {
        name: [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")] for name, pid in pids.items()
    }
    return {name: sum(int(_WAITED.findall(each)[0]) for each in threads) for name, threads in found.items()}


async def commands(stack: RunningStack) -> Counter[str]:
    """What MongoDB and Redis did since their start, by name."""
    stores = stack.endpoints["stores"]
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stores["mongo"])
    async with mongo, redis.from_url(stores["redis"]) as cache:
        status = (await mongo.admin.command("serverStatus"))["metrics"]["commands"]
        counts = Counter(
            {
                f"mongo {name}": int(each["total"])
                for name, each in status.items()
                if isinstance(each, Mapping) and "total" in each
            }
        )
        for name, each in (await cache.info("commandstats")).items():
            counts[f"redis {name.removeprefix('cmdstat_')}"] = each["calls"]
    return counts


def _pids(stack: RunningStack) -> dict[str, int]:
    assert stack.process is not None
    children = {path.stem: int(path.read_text()) for path in sorted((stack.data / "logs").glob("*.pid"))}
    up = stack.process.pid
    started = map(int, Path(f"/proc/{up}/task/{up}/children").read_text().split())
    (server,) = (pid for pid in started if b"fork_server" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return {"topten up": up, "fork server": server, **children}


def _row(name: str, unit: str, values: Mapping[str, float]) -> None:
    total = sum(values.values())
    floor = sum(value for process, value in values.items() if process in STORES)
    parts = ", ".join(f"{process} {value:.2f}" for process, value in values.items())
    print(f"| {name} | {total:.2f} {unit} | {floor:.2f} {unit} | {total / floor:.1f} | {parts} |", flush=True)


def main(seconds: float = SECONDS) -> None:
    """Measure and print one table."""
    print("| | all | floor | × | each |\n| --- | --- | --- | --- | --- |")
    program, bare = command_seconds(topten("--help")), command_seconds([sys.executable, "-c", "pass"])
    print(f"| `topten --help`, CPU | {program:.2f} s | {bare:.2f} s | {program / bare:.1f} | |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        stack = RunningStack(Path(folder) / "data")
        stack.data.mkdir()
        try:
            for number in range(STARTS + 1):
                stack.start()
                if number:
                    _row(f"warm `topten up` {number}, CPU until ready", "s", cpu_seconds(_pids(stack)))
                if number < STARTS:
                    stack.stop()
            time.sleep(SETTLED_SECONDS)
            pids = _pids(stack)
            done, woken, before = asyncio.run(commands(stack)), wake_ups(pids), cpu_seconds(pids)
            begun = time.monotonic()
            time.sleep(seconds)
            passed, after, woken_after = time.monotonic() - begun, cpu_seconds(pids), wake_ups(pids)
            _row("idle, CPU", "% of a core", {name: (after[name] - before[name]) / passed * 100 for name in pids})
            _row("idle, wake-ups", "a second", {name: (woken_after[name] - woken[name]) / passed for name in pids})
            _row("idle, PSS", "MiB", memory_mib(pids))
            counts = asyncio.run(commands(stack)) - done
            rates = [f"{name} {count / passed:.2f}" for name, count in counts.most_common(SHOWN)]
            print(f"\nCommands a second: {', '.join(rates)}", flush=True)
            stack.stop()
        finally:
            stack.kill()
