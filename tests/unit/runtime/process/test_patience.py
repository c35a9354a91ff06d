"""Timers that may be late at rest: they fire together, each once, and on time when work comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import TypeVarTuple

import pytest

from services.runtime.config.settings import MongoConfig
from services.runtime.process.activity import TOGETHER_SECONDS, Activity
from services.runtime.process.patience import LEAST_SECONDS, PatientLoop, patience
from services.runtime.stores.mongo import open_mongo
from tests.deadline import deadline

Ts = TypeVarTuple("Ts")
AT_REST = 0.0
AGES = 3600.0


class NotingLoop(PatientLoop):
    """Notes for when a timer is set, and by which task."""

    def __init__(self, activity: Activity) -> None:
        self.moments: list[float] = []
        self.tasks: list[tuple[str, float]] = []
        super().__init__(activity)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.moments.append(when)
        task = asyncio.current_task(self) if self.is_running() else None
        self.tasks.append((task.get_name() if task else "", when))
        return super().call_at(when, callback, *args, context=context)


@pytest.fixture
def activity() -> Activity:
    return Activity(AT_REST)


@pytest.fixture
def loop(activity: Activity) -> Iterator[NotingLoop]:
    loop = NotingLoop(activity)
    yield loop
    loop.close()


def ignore() -> None:
    """Do nothing."""


def is_together(when: float) -> bool:
    return when % TOGETHER_SECONDS == 0


def test_patient_timers_fire_together_at_rest(loop: NotingLoop) -> None:
    with patience():
        for delay in (LEAST_SECONDS, 1.0, 2.3):
            due = loop.time() + delay
            when = loop.call_later(delay, ignore).when()
            assert is_together(when)
            assert due <= when <= due + TOGETHER_SECONDS + 0.1


def test_other_timers_are_on_time(loop: NotingLoop) -> None:
    with patience():
        assert not is_together(loop.call_later(LEAST_SECONDS / 2, ignore).when())
    assert not is_together(loop.call_later(1.0, ignore).when())


def test_a_patient_timer_of_a_working_process_is_on_time() -> None:
    loop = NotingLoop(Activity(AGES))
    with patience():
        assert not is_together(loop.call_later(1.0, ignore).when())
    loop.close()


def test_work_brings_late_timers_forward_and_each_fires_once(loop: NotingLoop, activity: Activity) -> None:
    fired: list[str] = []
    with patience():
        due = loop.time() + LEAST_SECONDS
        late = loop.call_later(LEAST_SECONDS, fired.append, "timer")
    activity.note()
    assert due <= loop.moments[-1] <= late.when()

    async def until_the_late_moment() -> None:
        async with deadline("both moments have passed"):
            while loop.time() <= late.when():
                await asyncio.sleep(0.05)

    loop.run_until_complete(until_the_late_moment())
    assert fired == ["timer"]


def test_a_cancelled_timer_is_forgotten(loop: NotingLoop, activity: Activity) -> None:
    with patience():
        loop.call_later(1.0, ignore).cancel()
    set_before = len(loop.moments)
    activity.note()
    assert len(loop.moments) == set_before


def test_pauses_of_loops_end_together(loop: NotingLoop, activity: Activity) -> None:
    async def rest() -> None:
        pauses = [asyncio.ensure_future(activity.rest(seconds)) for seconds in (TOGETHER_SECONDS, 14.0, 30.0)]
        await asyncio.sleep(0)
        assert all(map(is_together, loop.moments))
        activity.note()
        assert await asyncio.gather(*pauses) == [True] * len(pauses)

    loop.run_until_complete(rest())


def test_tasks_of_the_mongodb_driver_are_patient(loop: NotingLoop, mongo_url: str) -> None:
    polling = {"pymongo_kill_cursors_thread", "pymongo_server_rtt_task"}

    async def connect() -> None:
        async with open_mongo(MongoConfig(url=mongo_url), "sample") as mongo:
            await mongo.ping()
            async with deadline("each task has waited"):
                while not polling <= {task for task, _ in loop.tasks}:
                    await asyncio.sleep(0.01)

    loop.run_until_complete(connect())
    assert [task for task, when in loop.tasks if task in polling and not is_together(when)] == []
