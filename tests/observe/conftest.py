"""One system for all tests of how it is watched, and what it said of itself before, during and after faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.observe.collector import API_KEY, Collector, collecting
from tests.observe.story import Story, told
from tests.servers import RunningStack, running_stack

SETTINGS = {
    "TOPTEN_LEADERBOARD_TICK": "100ms",
    "TOPTEN_QUIZ_PARTITIONS": "0",  # two workers on one consumer come into each other's way
    "TOPTEN_SCORE_ACK_WAIT": "3s",
    "TOPTEN_SCORE_FOLD_INTERVAL": "500ms",
    "TOPTEN_SCORE_RULE_ACTIONS": "12",
    "TOPTEN_EDGE_RATE_LOGIN": "5/m,6000/m",
    "TOPTEN_MONGO_TIMEOUT": "1s",
}


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the system sends its traces."""
    with collecting() as found:
        yield found


@pytest.fixture(scope="session")
def observed(collector: Collector) -> Iterator[RunningStack]:
    """A whole system of its own, every action of which is traced. Who disturbs it mends it."""
    traced = {
        "TOPTEN_TRACE_ENDPOINT": collector.address,
        "TOPTEN_TRACE_SAMPLE_RATIO": "1",
        "TOPTEN_TRACE_HEADERS": f"api-key={API_KEY}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with running_stack(SETTINGS | traced) as system:
        yield system


@pytest_asyncio.fixture(scope="session")
async def story(observed: RunningStack) -> AsyncIterator[Story]:
    """What happens on it, told once."""
    yield await told(observed)
