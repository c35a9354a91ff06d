"""The page in a real Chromium: sign in, take a quiz, see the board move, leave no token where a script could read it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from services.local.client import GraphqlClient
from tests.players import PASSWORD, endpoints, register
from tests.servers import RunningStack, running_stack, unique

QUIZ = "arithmetic-sprint"
FOUR_RIGHT = [("q1", "c"), ("q2", "b"), ("q3", "b"), ("q4", "c")]
ARGUMENTS = [
    "--no-sandbox",  # tests may run as root in a container
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """A system of its own: a new player is on a board only while few have more points."""
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms"}) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture
async def context(browser: Browser, stack: RunningStack) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(base_url=stack.http)
    yield context
    await context.close()


@pytest_asyncio.fixture
async def page(context: BrowserContext, stack: RunningStack) -> AsyncIterator[Page]:
    """A page that fails the test for an error in its console or a request to another host."""
    page = await context.new_page()
    faults: list[str] = []

    def hears(text: str) -> None:
        # The first `me` of a visitor without a session is refused, which the browser notes by itself.
        if "401" not in text:
            faults.append(text)

    page.on("console", lambda message: hears(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(stack.http) else None)
    await page.goto("/")
    yield page
    assert faults == []


async def sign_up(page: Page, name: str, country: str = "vn") -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_label("Country").fill(country)
    await page.get_by_role("button", name="New player").click()
    await expect(page.locator("#state")).to_have_text("live")


async def answer_all(page: Page) -> int:
    """Answer every question of the open quiz by its first option; the points it earned."""
    await expect(page.locator("fieldset").first).to_be_visible()
    for box in await page.locator("fieldset").all():
        await box.locator("input").first.check()
    await page.get_by_role("button", name="Hand in").click()
    points = await page.get_by_role("heading", name=re.compile(r"\d+ points")).inner_text()
    return int(points.split()[0])


async def test_a_quiz_moves_the_board_of_everybody_who_looks(page: Page, browser: Browser, stack: RunningStack) -> None:
    name = unique("page")
    other = await browser.new_context(base_url=stack.http)
    try:
        watcher = await other.new_page()
        await watcher.goto("/")
        await sign_up(watcher, unique("watch"))
        await sign_up(page, name)
        await page.locator(f"[data-quiz={QUIZ}]").click()
        points = await answer_all(page)
        assert points > 0, "among ten questions some first option is right"
        row = page.locator(f'#entries li[data-user="{name}"]')
        await expect(row.locator(".score")).to_have_text(str(points))
        await expect(row).to_have_class(re.compile("own"))
        await expect(watcher.locator(f'#entries li[data-user="{name}"] .score')).to_have_text(str(points))
        await page.get_by_role("button", name="Play it again").click()
        assert await answer_all(page) == points
        await expect(row.locator(".score")).to_have_text(str(2 * points))
    finally:
        await other.close()


async def test_no_script_can_read_a_token(page: Page, context: BrowserContext) -> None:
    await sign_up(page, unique("cookie"))
    assert await page.evaluate("document.cookie") == ""
    assert await page.evaluate("localStorage.length + sessionStorage.length") == 0
    cookies = {cookie["name"]: cookie for cookie in await context.cookies(page.url + "graphql")}
    assert {"topten_access", "topten_refresh"} <= cookies.keys()
    assert all(cookie["httpOnly"] and cookie["sameSite"] == "Strict" for cookie in cookies.values())


async def test_a_reload_stays_signed_in_and_signing_out_ends_it(page: Page) -> None:
    name = unique("stay")
    await sign_up(page, name)
    await page.reload()
    await expect(page.locator("#name")).to_have_text(name)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("button", name="New player")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("button", name="New player")).to_be_visible()


async def test_boards_can_be_switched(page: Page, stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client, country="IS")
        await player.submit("solar-system", [])
    await sign_up(page, unique("tabs"))
    for tab, pressed in (("This week", "weekly"), ("VN", "country:VN"), ("All time", "all")):
        await page.get_by_role("button", name=tab, exact=True).click()
        await expect(page.locator(f'#tabs [data-board="{pressed}"]')).to_have_attribute("aria-pressed", "true")
        await expect(page.locator("#state")).to_have_text("live")


async def streams_of(stack: RunningStack) -> float:
    """How many streams the edge has open."""
    async with aiohttp.ClientSession() as session, session.get(stack.endpoints["metrics"]["edge"]) as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith("topten_sse_connections ")).split()[1])


async def until_streams(stack: RunningStack, count: float) -> None:
    async with asyncio.timeout(20):
        while await streams_of(stack) != count:
            await asyncio.sleep(0.05)


async def test_two_tabs_share_one_stream_and_end_it_together(
    page: Page, context: BrowserContext, stack: RunningStack
) -> None:
    before = await streams_of(stack)
    name = unique("share")
    await sign_up(page, name, "sm")
    await until_streams(stack, before + 1)
    second = await context.new_page()
    await second.goto("/")
    await expect(second.locator("#state")).to_have_text("live")
    await expect(second.locator("#name")).to_have_text(name)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client, country="SM")
        await player.submit(QUIZ, FOUR_RIGHT)
    for tab in (page, second):
        await tab.get_by_role("button", name="SM", exact=True).click()
        await expect(tab.locator(f'#entries li[data-user="{player.username}"]')).to_be_visible()
    assert await streams_of(stack) == before + 1, "one connection for both tabs"
    await page.close()
    await second.get_by_role("button", name="All time", exact=True).click()
    await expect(second.locator("#state")).to_have_text("live")
    await until_streams(stack, before + 1)
    await second.get_by_role("button", name="Sign out").click()
    await until_streams(stack, before)


async def test_who_signs_out_in_one_tab_has_signed_out_in_all(page: Page, context: BrowserContext) -> None:
    await sign_up(page, unique("both"))
    second = await context.new_page()
    await second.goto("/")
    await expect(second.locator("#state")).to_have_text("live")
    await page.get_by_role("button", name="Sign out").click()
    await expect(second.get_by_role("button", name="New player")).to_be_visible()
    name = unique("other")
    await sign_up(second, name)
    await expect(page.locator("#name")).to_have_text(name)


async def test_who_is_not_on_the_page_s_board_is_told_where_he_stands(page: Page, stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        for _ in range(10):
            ahead = await register(client, country="MC")
            await ahead.submit(QUIZ, FOUR_RIGHT)
    await sign_up(page, unique("eleventh"), "mc")
    await page.get_by_role("button", name="MC", exact=True).click()
    await expect(page.locator("#own")).to_be_hidden()
    await page.locator(f"[data-quiz={QUIZ}]").click()
    points = await answer_all(page)
    await expect(page.locator("#own")).to_have_text(f"You are number 11 with {points} points.")


@pytest.mark.parametrize("width", [320, 1280])
async def test_the_page_fits_its_window(page: Page, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 800})
    await sign_up(page, unique("fit"))
    await page.locator(f"[data-quiz={QUIZ}]").click()
    await expect(page.locator("fieldset").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
