"""What the tests of the score service share: servers that they may stop and start, and an empty system on them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.servers import RunningServer
from tests.system.score import ScoreSystem, score_servers, score_system


@pytest_asyncio.fixture(scope="module")
async def servers() -> AsyncIterator[dict[str, RunningServer]]:
    async with score_servers() as running:
        yield running


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    async with score_system(servers) as fresh:
        yield fresh
