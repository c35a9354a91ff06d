"""The one deadline of the suite: how long a test waits for a fact before it fails.

It bounds a test that has already failed, so it is far longer than any machine needs. It is never a measure of speed:
a test that needs a longer one waits for the wrong fact. `pytest --deadline-scale 3` stretches it for a slow machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

SECONDS = 60.0
POLL_SECONDS = 0.02

T = TypeVar("T")

_scale = 1.0


def set_scale(scale: float) -> None:
    """Stretch the deadline; `conftest` passes `--deadline-scale`."""
    global _scale  # noqa: PLW0603 - one suite, one deadline
    _scale = scale


def deadline_seconds() -> float:
    """The deadline in seconds, for what takes a timeout itself: `process.wait(deadline_seconds())`."""
    return SECONDS * _scale


@asynccontextmanager
async def deadline(fact: str = "") -> AsyncIterator[None]:
    """Fail with the name of the fact if the body has not ended within the deadline."""
    try:
        async with asyncio.timeout(deadline_seconds()) as timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        raise AssertionError(_message(fact)) from None


async def eventually(holds: Callable[[], Awaitable[T]], fact: str = "") -> T:
    """Poll until `holds` returns something true, and return that; fails at the deadline."""
    async with deadline(fact):
        while not (result := await holds()):
            await asyncio.sleep(POLL_SECONDS)
    return result


def poll(holds: Callable[[], T], fact: str = "") -> T:
    """`eventually` for a test without an event loop."""
    ends = time.monotonic() + deadline_seconds()
    while not (result := holds()):
        assert time.monotonic() < ends, _message(fact)
        time.sleep(POLL_SECONDS)
    return result


def _message(fact: str) -> str:
    return f"not within {deadline_seconds():g} s: {fact or 'the fact that this test waits for'}"
