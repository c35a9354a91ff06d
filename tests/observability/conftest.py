"""One system for all tests of observability, and its metrics before, during and after faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.observability.collector import API_KEY, Collector, collecting
from tests.observability.scenario import Scenario, play_scenario
from tests.servers import RunningStack, running_stack

SETTINGS = {
    "TOPTEN_LEADERBOARD_TICK": "100ms",
    "TOPTEN_QUIZ_PARTITIONS": "0",  # two workers on one consumer conflict
    "TOPTEN_SCORE_ACK_WAIT": "3s",
    "TOPTEN_SCORE_FOLD_INTERVAL": "500ms",
    "TOPTEN_SCORE_RULE_ACTIONS": "12",
    "TOPTEN_EDGE_RATE_LOGIN": "5/m,6000/m",
    "TOPTEN_MONGO_TIMEOUT": "1s",
}


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """The collector to which the system sends its traces."""
    with collecting() as opened:
        yield opened


@pytest.fixture(scope="package")
def observed(collector: Collector) -> Iterator[RunningStack]:
    """A whole system that traces every action. A test that disturbs it waits until it has recovered."""
    traced = {
        "TOPTEN_TRACE_ENDPOINT": collector.address,
        "TOPTEN_TRACE_SAMPLE_RATIO": "1",
        "TOPTEN_TRACE_HEADERS": f"api-key={API_KEY}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with running_stack(SETTINGS | traced) as system:
        yield system


@pytest_asyncio.fixture(scope="package")
async def scenario(observed: RunningStack) -> AsyncIterator[Scenario]:
    """The scenario, played once."""
    yield await play_scenario(observed)
