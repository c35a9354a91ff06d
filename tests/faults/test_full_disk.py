"""A full disk under the stream: players play on, and everything counts once there is room again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from services.cli.system.client import GraphqlClient
from tests.deadline import deadline
from tests.players import endpoints, register, shows, stream, until
from tests.servers import RunningStack, assert_verified, running_stack

SIZE = 40 * 1024 * 1024
SETTINGS = {
    "TOPTEN_LEADERBOARD_TICK": "100ms",
    "TOPTEN_QUIZ_OUTBOX_LEASE": "1s",
    "TOPTEN_QUIZ_STREAM_MAX_BYTES": str(SIZE // 4),
}


@pytest.fixture
def stack() -> Iterator[RunningStack]:
    """A system whose stream is on its own small file system."""
    mounted: list[Path] = []

    def mount(data: Path) -> None:
        folder = data / "nats"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
        mounted.append(folder)

    with running_stack(SETTINGS, prepare=mount) as made:
        yield made
        for folder in mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Use up every free byte; returns the file that does."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


async def lag(stack: RunningStack) -> float:
    async with aiohttp.ClientSession() as session, session.get(stack.endpoints["metrics"]["quiz"]) as answer:
        for line in (await answer.text()).splitlines():
            if line.startswith("topten_outbox_lag_seconds "):
                return float(line.split()[1])
    raise AssertionError("no such metric")


async def test_actions_on_a_full_disk_count_once_there_is_room(stack: RunningStack) -> None:
    disk = stack.data / "nats"
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        await player.submit("arithmetic-sprint", [("q5", "true")])
        async with stream(stack.http, player.access_token) as events:
            await until(events, shows(player.username, 5))
            filler = fill(disk)
            for _ in range(20):
                await player.submit("arithmetic-sprint", [("q5", "true")])
            async with deadline("the outbox lags, and the supervisor reports the full disk"):
                while await lag(stack) < 1:
                    await asyncio.sleep(0.1)
                while "nats: the disk is full" not in stack.printed():
                    await asyncio.sleep(0.1)
            filler.unlink()
            await until(events, shows(player.username, 105))
        assert "nats is unhealthy and is killed" in stack.printed()
    await assert_verified(stack)
