import asyncio
from datetime import timedelta

import pytest

from services.runtime.process import periodic
from services.runtime.process.activity import Activity
from services.runtime.process.periodic import Periodic
from tests.deadline import deadline

SOON = timedelta(milliseconds=1)
AGES = 3600.0


async def test_a_step_runs_again_after_a_retryable_failure() -> None:
    runs = 0
    thrice = asyncio.Event()

    async def step() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ConnectionError
        if runs == 3:
            thrice.set()

    loop = Periodic("step", step, every=SOON, retry_on=(OSError,))
    await loop.start()
    await thrice.wait()
    await loop.stop()
    stopped_at = runs
    await asyncio.sleep(0)
    assert runs == stopped_at


async def test_a_failure_ends_the_rest_of_other_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    resting = Activity(working_seconds=0.0)
    monkeypatch.setattr(periodic, "PROCESS", resting)

    async def step() -> None:
        raise ConnectionError

    pause = asyncio.ensure_future(resting.rest(AGES))
    await asyncio.sleep(0)
    loop = Periodic("step", step, every=SOON, retry_on=(OSError,))
    await loop.start()
    async with deadline("the pause has ended"):
        assert await pause
    await loop.stop()


async def test_stopping_cancels_a_running_step() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def step() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    loop = Periodic("step", step, every=SOON)
    await loop.start()
    await begun.wait()
    await loop.stop()
    assert ended.is_set()


async def test_a_loop_that_never_started_can_be_stopped() -> None:
    async def step() -> None:
        pytest.fail("it must not run")

    await Periodic("step", step, every=SOON).stop()
