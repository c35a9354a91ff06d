"""What is watched: each store by itself, noticed when it goes and when it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.runtime.store_watch import StoreWatch


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.store_watch.EVERY_SECONDS", 0.01)
    monkeypatch.setattr("services.runtime.store_watch.ANSWER_SECONDS", 0.05)


class Store:
    """Answers, fails or hangs."""

    def __init__(self) -> None:
        self.fails = False
        self.hangs = False

    async def ping(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise OSError("10.0.0.7 password=hunter2")


@asynccontextmanager
async def watched(watch: StoreWatch) -> AsyncIterator[None]:
    await watch.start()
    yield
    await watch.stop()


async def says(store: str, *, up: bool) -> None:
    async with asyncio.timeout(10):
        while REGISTRY.get_sample_value("topten_store_up", {"store": store}) != up:
            await asyncio.sleep(0.005)


async def test_a_store_that_fails_or_hangs_is_away_until_it_answers_and_others_are_not() -> None:
    first, second = Store(), Store()
    async with watched(StoreWatch(first=first.ping, second=second.ping)):
        await says("first", up=True)
        first.fails = True
        await says("first", up=False)
        await says("second", up=True)
        first.fails = False
        await says("first", up=True)
        first.hangs = True
        await says("first", up=False)
        await says("second", up=True)


async def test_going_and_coming_back_are_a_line_each_without_what_a_driver_says() -> None:
    store = Store()
    store.fails = True
    with capture_logs() as lines:
        async with watched(StoreWatch(third=store.ping)):
            await says("third", up=False)
            store.fails = False
            await says("third", up=True)
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "a store does not answer"),
        ("info", "a store answers again"),
    ]
    assert "hunter2" not in str(lines)
