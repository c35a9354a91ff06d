"""Whatever the clock of a process says, the time is MongoDB's."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.config.settings import MongoConfig
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.mongo_clock import MongoClock
from tests.servers import unique

DAY = 86_400.0
START = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


class World:
    """The real time, the clock of a process, and a monotonic one; `passed` is what has passed of it."""

    def __init__(self, error: float) -> None:
        self.passed = 0.0
        self.error = error
        self.clock = MongoClock(wall=lambda: START + self.passed + self.error, monotonic=lambda: 1000 + self.passed)

    def ping(self, to: float, back: float) -> None:
        started = self.clock.started()
        self.passed += to
        served = datetime.fromtimestamp(START + self.passed, UTC)
        self.passed += back
        self.clock.note(served.replace(microsecond=served.microsecond // 1000 * 1000, tzinfo=None), started)

    @property
    def wrong(self) -> float:
        return self.clock.now().timestamp() - START - self.passed


@given(
    error=st.sampled_from([-DAY, -60.0, -0.5, 0.0, 0.5, 60.0, DAY]),
    pings=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 30)), min_size=1, max_size=5),
    steps=st.sampled_from([0.0, -DAY, DAY]),
)
def test_the_time_is_wrong_by_no_more_than_a_ping_took(
    error: float, pings: list[tuple[float, float, float]], steps: float
) -> None:
    world = World(error)
    for to, back, pause in pings:
        world.ping(to, back)
        world.error += steps  # somebody sets the clock of the machine
        world.passed += pause
        assert abs(world.wrong) <= to + back + 0.002


def test_a_right_clock_is_used_as_it_is_and_a_slow_ping_spoils_no_precise_one() -> None:
    world = World(0.0)
    world.ping(0.5, 0.0)
    assert abs(world.wrong) <= 0.001
    wrong = World(1.0)
    wrong.ping(0.001, 0.001)
    wrong.ping(3.0, 0.0)  # it allows for the clock of the process too
    assert abs(wrong.wrong) <= 0.003


async def test_a_client_has_the_time_of_its_server(mongo_url: str) -> None:
    wrong = MongoClock(wall=lambda: time.time() + DAY)
    assert wrong.now() > datetime.now(UTC) + timedelta(hours=23)
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "sample", clock=wrong) as mongo:
        before = datetime.now(UTC) - timedelta(hours=1)
        assert before < mongo.clock.now() < before + timedelta(hours=2)
        assert abs(mongo.clock.milliseconds() / 1000 - mongo.clock.now().timestamp()) < 3600
