"""One edge per module of tests, in front of a scripted leaderboard service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.servers import unique
from tests.unit.edge.edge_process import EdgeProcess, edge_process
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard, scripted_leaderboard
from tests.unit.runtime.issuer import Issuer


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
async def leaderboard() -> AsyncIterator[ScriptedLeaderboard]:
    async with scripted_leaderboard() as leaderboard:
        yield leaderboard


@pytest.fixture(scope="module")
async def edge(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EdgeProcess]:
    log = tmp_path_factory.mktemp("edge") / "edge.log"
    settings = {"STREAM_HEARTBEAT": "200ms", "STREAM_LINGER": "200ms", "STREAM_RETRY": "100ms"}
    async with edge_process(issuer, leaderboard, log, **settings) as edge:
        yield edge


@pytest.fixture
def board() -> str:
    return f"quiz:{unique('stream-')}"
