"""The embedded stack as it runs: its children, the settings that they really use, their logs, and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp

from services.embedded import lock
from services.embedded.external_stores import find_problem
from services.embedded.preflight import STORES, store_addresses

REQUEST_SECONDS: Final = 4.0
STOP_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.05
_FOLLOW_SECONDS: Final = 0.2
_BLOCK: Final = 64 * 1024


@dataclass(frozen=True)
class Child:
    """A store or process of the stack; `pid` is None if it does not run."""

    name: str
    pid: int | None
    state: str
    address: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it can be used."""
        return self.state == "ready"


class Setting(NamedTuple):
    """A setting as some processes use it: its value, masked if it is a secret, and where they have it from."""

    name: str
    value: str
    source: str
    processes: tuple[str, ...]


async def children(data: Path, document: Mapping[str, Any]) -> list[Child]:
    """The state of every child of the stack in `data`; `document` has its addresses, none while it starts."""
    metrics: Mapping[str, str] = document.get("metrics", {})
    urls: Mapping[str, str] = document.get("stores", {})
    # While it starts, those whose process id is written.
    stores = list(urls) or sorted(path.stem for path in (data / "logs").glob("*.pid") if path.stem in STORES)
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        processes = await asyncio.gather(*(_process(data, session, name, url) for name, url in metrics.items()))
    return [*(await asyncio.gather(*(_store(data, name, urls.get(name, "")) for name in stores))), *processes]


async def settings(metrics: Mapping[str, str], chosen: Mapping[str, Iterable[str]]) -> tuple[list[Setting], list[str]]:
    """The settings in force of the processes with these addresses of metrics, and the processes that did not respond.

    `chosen` are the variables of each process that `topten up` sets itself.
    """
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        found = await asyncio.gather(*(_settings(session, url) for url in metrics.values()))
    owners: dict[tuple[str, str, str], list[str]] = {}
    for process, rows in zip(metrics, found, strict=True):
        own = set(chosen.get(process, ()))
        for row in rows:
            source = "topten up" if row["source"] == "environment" and row["name"] in own else row["source"]
            owners.setdefault((row["name"], row["value"], source), []).append(process)
    silent = [process for process, rows in zip(metrics, found, strict=True) if not rows]
    return [Setting(*key, tuple(processes)) for key, processes in owners.items()], silent


def stop(data: Path, pid: int) -> bool:
    """Stop the stack with the process id `pid` in order, and return whether it ended within STOP_SECONDS."""
    os.kill(pid, signal.SIGTERM)
    ends = time.monotonic() + STOP_SECONDS
    while lock.holder(data) == pid:
        if time.monotonic() > ends:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def tail(file: Path, count: int) -> list[str]:
    """The last `count` lines of a log."""
    with file.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        data = b""
        while end and data.count(b"\n") <= count:
            start = max(0, end - _BLOCK)
            stream.seek(start)
            data, end = stream.read(end - start) + data, start
    return data.decode("utf-8", "replace").splitlines()[-count:] if count else []


def follow(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield the name and each new line of the logs, without an end; a log that was rotated is read from its start."""
    positions = {name: file.stat().st_size for name, file in files.items()}
    while True:
        for name, file in files.items():
            size = file.stat().st_size
            if size < positions[name]:
                positions[name] = 0
            with file.open("rb") as stream:
                stream.seek(positions[name])
                content = stream.read(size - positions[name])
            whole = content.rfind(b"\n") + 1
            positions[name] += whole
            for line in content[:whole].decode("utf-8", "replace").splitlines():
                yield name, line
        time.sleep(_FOLLOW_SECONDS)


async def _process(data: Path, session: aiohttp.ClientSession, name: str, url: str) -> Child:
    pid = _running(data / "logs" / f"{name}.pid")
    address = url.partition("://")[2].partition("/")[0]
    try:
        async with session.get(url.removesuffix("/metrics") + "/readyz") as response:
            state = "ready" if response.status == 200 else "not ready"
    except (aiohttp.ClientError, TimeoutError, OSError):
        state = "does not respond" if pid else "down"
    return Child(name, pid, state, address)


async def _store(data: Path, name: str, url: str) -> Child:
    """The state of a store; one that is named by URL has no process here."""
    pid = _running(data / "logs" / f"{name}.pid")
    if not url:
        return Child(name, pid, "down" if pid is None else "starting")
    state = "does not respond" if await find_problem(name, url) else "ready"
    return Child(name, pid, state, ",".join(f"{host}:{port}" for host, port in store_addresses(name, url)))


async def _settings(session: aiohttp.ClientSession, url: str) -> list[dict[str, str]]:
    try:
        async with session.get(url.removesuffix("/metrics") + "/config") as response:
            rows: list[dict[str, str]] = (await response.json())["settings"] if response.status == 200 else []
            return rows
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError):
        return []


def _running(file: Path) -> int | None:
    """The process id in a `.pid` file, if it runs."""
    try:
        pid = int(file.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid
