"""An edge process in front of a scripted leaderboard service."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from edge.rates.limiter import PAUSE_SECONDS
from services.embedded.fork_server import ForkedProcess
from tests.deadline import deadline, eventually
from tests.fork_server import FORK_SERVER
from tests.servers import HOST, free_port
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard
from tests.unit.runtime.issuer import Issuer


class EdgeProcess:
    """A running `python -m edge`."""

    def __init__(self, process: ForkedProcess, http: str, ops: str, log: Path) -> None:
        self.http = http
        self.process = process
        self._ops = ops
        self._log = log

    async def metric(self, name: str, **labels: str) -> float:
        """Return the current value of a metric; 0 if it was never counted."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self._ops}/metrics") as response:
            text = await response.text()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    async def until_metric(self, name: str, value: float, **labels: str) -> None:
        """Wait until a metric has this value."""

        async def has_value() -> bool:
            return await self.metric(name, **labels) == value

        await eventually(has_value, f"{name}{labels} is {value:g}")

    async def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.terminate()
        async with deadline("the edge stops"):
            return await self.process.wait()

    @property
    def log(self) -> str:
        """What the process has logged."""
        return self._log.read_text()


async def while_redis_responds(attempt: Callable[[], Awaitable[None]], logs: Callable[[], Iterable[str]]) -> None:
    """Repeat the attempt while an edge was alone: one that Redis, or the machine, keeps waiting counts rates by itself.

    It does so for a pause after it logged it, so only an attempt that began well after the last line has failed by itself.
    """

    def lonely() -> int:
        return sum(log.count("rates counted by this process alone") for log in logs())

    async with deadline("Redis responds in time"):
        disturbed_at = time.monotonic()
        while True:
            began, before = time.monotonic(), lonely()
            try:
                return await attempt()
            except AssertionError:
                if lonely() > before:
                    disturbed_at = time.monotonic()
                elif began > disturbed_at + 2 * PAUSE_SECONDS:
                    raise


@asynccontextmanager
async def edge_process(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, log: Path, arguments: Sequence[str] = (), **settings: str
) -> AsyncIterator[EdgeProcess]:
    """Run an edge that trusts the issuer and reads the leaderboard; `settings` without their prefix TOPTEN_EDGE_."""
    http, ops = (f"{HOST}:{free_port()}" for _ in range(2))
    environ = {
        **os.environ,
        "TOPTEN_EDGE_HTTP_ADDRESS": http,
        "TOPTEN_EDGE_OPS_ADDRESS": ops,
        "TOPTEN_AUTH_JWKS_URL": issuer.jwks_url,
        "TOPTEN_AUTH_TOKEN_URL": issuer.token_url,
        "TOPTEN_AUTH_CLIENT_ID": "edge",
        "TOPTEN_AUTH_CLIENT_SECRET": "a secret of the test",
        "TOPTEN_UPSTREAM_LEADERBOARD": leaderboard.address,
        "TOPTEN_UPSTREAM_QUIZ": leaderboard.address,
        "TOPTEN_UPSTREAM_SCORE": leaderboard.address,
        **{f"TOPTEN_EDGE_{name}": value for name, value in settings.items()},
    }
    with log.open("wb") as output:
        process = FORK_SERVER.spawn(["edge", *arguments], environ, output)
    edge = EdgeProcess(process, f"http://{http}", ops, log)

    async def is_live() -> bool:
        assert process.poll() is None, edge.log
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{edge.http}/livez"):
                return True
        except aiohttp.ClientError:
            return False

    try:
        await eventually(is_live, "the edge is live")
        yield edge
    finally:
        try:
            await edge.stop()
        finally:
            process.kill()
