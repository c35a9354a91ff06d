"""An edge of a module of tests, before a leaderboard service whose frames they decide."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.servers import unique
from tests.unit.edge.announcer import Announcer, EdgeProcess, announcing, edge_process
from tests.unit.edge.streams import HEARTBEAT
from tests.unit.runtime.issuer import Issuer


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as opened:
        yield opened


@pytest.fixture(scope="module")
async def announcer() -> AsyncIterator[Announcer]:
    async with announcing() as serving:
        yield serving


@pytest.fixture(scope="module")
async def edge(
    issuer: Issuer, announcer: Announcer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EdgeProcess]:
    log = tmp_path_factory.mktemp("edge") / "edge.log"
    settings = {"STREAM_HEARTBEAT": HEARTBEAT, "STREAM_LINGER": "200ms", "STREAM_RETRY": "100ms"}
    async with edge_process(issuer, announcer, log, **settings) as process:
        yield process


@pytest.fixture
def board() -> str:
    return f"quiz:{unique('stream-')}"
