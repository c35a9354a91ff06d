import asyncio
from datetime import timedelta

import pytest

from services.runtime.process.periodic import Periodic

SOON = timedelta(milliseconds=1)


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
