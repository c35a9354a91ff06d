"""A running system, a real Chromium, and a page that fails its test for an error of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.visitor import PICTURES, new_context
from tests.chromium import running_chromium
from tests.deadline import deadline_seconds
from tests.servers import RunningStack, running_stack

# The browser logs what the network refuses: `me` to a visitor without a session, and what a test takes away.
EXPECTED = ("401", "503", "ERR_INTERNET_DISCONNECTED", "ERR_FAILED")


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    """A separate system, where a new player is in the top 10 with few points, and whose silence is soon noticed.

    Answers to a version of a quiz are refused as soon as it is replaced. Players may host rooms. The last week is closed,
    even if it has just ended.
    """
    settings = {
        "TOPTEN_LEADERBOARD_TICK": "100ms",
        "TOPTEN_EDGE_STREAM_HEARTBEAT": "500ms",
        "TOPTEN_QUIZ_VERSION_GRACE": "0s",
        "TOPTEN_MEDIA_HOSTS": PICTURES,
        "TOPTEN_ROOMS_PLAYERS_HOST": "true",
        "TOPTEN_SCORE_CLOSE_AFTER": "0",
    }
    with running_stack(settings) as stack:
        yield stack


@pytest_asyncio.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=deadline_seconds() * 1000)
    async with running_chromium() as chromium:
        yield chromium


@pytest_asyncio.fixture
async def context(browser: Browser, stack: RunningStack) -> AsyncIterator[BrowserContext]:
    context = await new_context(browser, stack)
    yield context
    await context.close()


@pytest_asyncio.fixture
async def page(context: BrowserContext, stack: RunningStack) -> AsyncIterator[Page]:
    """A page that fails the test for an error in its console or a request to another host."""
    page = await context.new_page()
    errors: list[str] = []

    def log_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in EXPECTED):
            errors.append(message.text)

    page.on("console", log_console)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if not request.url.startswith(stack.http) else None)
    await page.goto("/")
    yield page
    assert errors == []
