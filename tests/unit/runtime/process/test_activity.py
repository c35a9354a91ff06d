"""Loops that look less often at rest: none waits longer than it is told to, and work ends the pause."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from services.runtime.process.activity import Activity
from tests.deadline import deadline

AGES = 3600.0


# Imports what all processes share an hour before it begins, as one that is forked from the fork server.
FORKED = """
import time
now = time.monotonic
time.monotonic = lambda: now() - 3600
from services.runtime.process.activity import PROCESS
from services.runtime.process.lifecycle import execute
time.monotonic = now
async def main(_config):
    print(PROCESS.works_for(0))
assert not PROCESS.works_for(0)
execute(main, None)
"""


def test_a_process_works_when_it_begins_however_old_its_imports_are() -> None:
    forked = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    assert forked.stdout == "True\n"


async def test_a_working_process_does_not_rest() -> None:
    assert not await Activity().rest(AGES)


@pytest.fixture
def resting() -> Activity:
    """What has not worked for long enough."""
    return Activity(working_seconds=0.0)


async def test_work_ends_every_pause(resting: Activity) -> None:
    pauses = [asyncio.ensure_future(resting.rest(AGES)) for _ in range(3)]
    await asyncio.sleep(0)
    resting.note()
    async with deadline("all pauses have ended"):
        assert await asyncio.gather(*pauses) == [True] * 3


async def test_a_pause_ends_without_work(resting: Activity) -> None:
    async with deadline("the pause has ended"):
        assert not await resting.rest(0.001)


async def test_a_cancelled_pause_does_not_hinder_others(resting: Activity) -> None:
    cancelled, other = (asyncio.ensure_future(resting.rest(AGES)) for _ in range(2))
    await asyncio.sleep(0)
    cancelled.cancel()
    resting.note()
    async with deadline("the other pause has ended"):
        assert await other
    assert cancelled.cancelled()
