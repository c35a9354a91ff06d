"""Every screen in a real Chromium: accessible, at any width, in another language, light, and without a jump."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Response, Route, expect

from services.cli.system.client import GraphqlClient
from tests.browser.test_ops import become_admin
from tests.browser.visitor import QUIZ, answer, findings, new_context, play, short_quiz, sign_up
from tests.contract.page_weights import MAX_BYTES, Weight, weights
from tests.players import PASSWORD, endpoints, register
from tests.servers import RunningStack, unique

MAX_SHIFT = 0.05
WIDTHS = [320, 390, 768, 1440, 1920]
AT_400_PERCENT = (320, 256)
"""What a window of 1280 by 1024 is for the page at a zoom of 400 %."""
STUCK = """() => [...document.querySelectorAll('body *')]
  .filter(each => ['fixed', 'sticky'].includes(getComputedStyle(each).position) && each.offsetHeight > innerHeight / 5)
  .map(each => each.className)"""
SCHEMES: list[dict[str, Any]] = [
    {"color_scheme": "light", "forced_colors": "none"},
    {"color_scheme": "dark", "forced_colors": "none"},
    {"color_scheme": "dark", "forced_colors": "active"},
]
# Links to where one is that look like those beside them.
UNSEEN = """() => {
  const ground = getComputedStyle(document.documentElement).backgroundColor;
  const look = ({ backgroundColor, textDecorationLine }) =>
    `${backgroundColor.endsWith(', 0)') ? ground : backgroundColor} ${textDecorationLine}`;
  const looks = element => look(getComputedStyle(element));
  return [...document.querySelectorAll('[aria-current]')].filter(link =>
    [...link.closest('nav, main').querySelectorAll('a:not([aria-current])')]
      .some(other => looks(other) === looks(link))).map(link => link.textContent);
}"""
LOADED = """() => performance.getEntriesByType('resource').filter(each => each.name.includes('/assets/'))
  .map(each => each.name.replace(/.*[/]assets[/][0-9a-f]+[/]/, ''))"""
OBSERVE_SHIFTS = """
  window.shift = 0;
  new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
"""
PSEUDO_LOCALE = """
import strings from '/assets/0000000000000000/strings/en.js';
const wrap = value => typeof value === 'string' ? `[${value} \\u05d0\\u05d1\\u05d2]`
  : typeof value === 'function' ? (...values) => wrap(value(...values))
  : Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, wrap(inner)]));
export default { ...wrap(strings), lang: 'he', dir: 'rtl', number: strings.number };
"""
# Titles and names, which nobody translates, stand in an element of their own.
ENGLISH = """() => [...document.querySelectorAll('a, button, h1, h2, label, legend')]
  .filter(each => !each.querySelector('bdi') && each.dir !== 'auto').map(each => each.textContent)
  .filter(text => /[A-Za-z]{4}/.test(text) && !text.includes('[') && text !== 'Topten')"""


Group = tuple[BrowserContext, list[str]]
"""A browser profile and addresses of screens that it may open."""


@pytest.fixture(scope="module")
def loads() -> list[Weight]:
    """What every address may load."""
    return weights()


@pytest_asyncio.fixture(scope="module")
async def finished(browser: Browser, stack: RunningStack) -> AsyncIterator[Group]:
    """A player who has a result, and the addresses of every screen."""
    # The page's Content-Security-Policy would refuse axe-core.
    context = await new_context(browser, stack, bypass_csp=True)
    page = await context.new_page()
    await page.goto("/")
    await sign_up(page, unique("axe"))
    quiz_id = await short_quiz(stack)
    await play(page, quiz_id)
    result = page.url.removeprefix(stack.http)
    await answer(page, quiz_id)
    paths = ["/", f"/q/{quiz_id}", f"/q/{quiz_id}/1", f"/q/{quiz_id}/review", result]
    addresses = ["/b/weekly", "/b/all?view=kiosk", f"/q/{quiz_id}/host", "/my-data", "/j/0000000", "/q/nowhere"]
    yield context, [*paths, *addresses]
    await context.close()


@pytest_asyncio.fixture(scope="module")
async def staffed(browser: Browser, stack: RunningStack) -> AsyncIterator[Group]:
    """An admin who hosts a room, and the addresses of rooms and consoles."""
    quiz_id = await short_quiz(stack)
    context = await new_context(browser, stack, bypass_csp=True)
    page = await context.new_page()
    await become_admin(page, stack)
    await page.goto(f"/q/{quiz_id}/host")
    await page.get_by_role("button", name="Open the room").click()
    await page.wait_for_url(re.compile(r"/host/\d+$"))
    room = page.url.rpartition("/")[2]
    await page.close()
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
    rooms = [f"/host/{room}", f"/screen/{room}", f"/j/{room}"]
    consoles = ["/author", "/author/import", f"/author/q/{quiz_id}", "/mod", "/mod/players", "/mod/blocked"]
    yield context, [*rooms, *consoles, f"/mod/players/{player.user_id}", "/ops"]
    await context.close()


async def settle(page: Page, path: str) -> None:
    await page.goto(path)
    await expect(page.locator("main")).not_to_be_empty()
    await expect(page.locator(".placeholder")).to_have_count(0)
    for state in await page.locator(".state").all():
        await expect(state).to_have_text("Live")


async def look(page: Page) -> list[Any]:
    """Return what axe-core finds on a page in every color scheme."""
    found = []
    for scheme in SCHEMES:
        await page.emulate_media(**scheme, reduced_motion="reduce")
        found += [(scheme, each) for each in await findings(page)]
    return found


@pytest.mark.parametrize("group", ["finished", "staffed"])
async def test_no_screen_has_an_accessibility_finding_or_loads_more_than_it_may(
    finished: Group, staffed: Group, loads: list[Weight], group: str
) -> None:
    context, paths = {"finished": finished, "staffed": staffed}[group]
    page = await context.new_page()
    found, more = {}, {}
    for path in paths:
        await settle(page, path)
        assert re.fullmatch(r".+ · Topten", await page.title()), path
        weight = next(each for each in loads if each.pattern.fullmatch(path.partition("?")[0]))
        more[path] = set(await page.evaluate(LOADED)) - weight.files
        found[path] = await look(page)
    await page.close()
    assert {path: each for path, each in found.items() if each} == {}
    assert {path: each for path, each in more.items() if each} == {}


def test_every_address_is_among_those_that_are_looked_at(finished: Group, staffed: Group, loads: list[Weight]) -> None:
    paths = [path.partition("?")[0] for path in (*finished[1], *staffed[1])]
    assert [each.address for each in loads if not any(map(each.pattern.fullmatch, paths))] == []


async def test_no_state_of_the_entrance_has_an_accessibility_finding(
    browser: Browser, stack: RunningStack, finished: Group
) -> None:
    page = await finished[0].new_page()
    found = {}
    await page.goto("/my-data")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Open").click()
    await expect(page.get_by_role("button", name="Download my data")).to_be_visible()
    found["own data"] = await look(page)
    await page.close()
    visitor = await new_context(browser, stack, bypass_csp=True)
    page = await visitor.new_page()
    await settle(page, "/")
    found["signed out"] = await look(page)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    found["refused"] = await look(page)
    await page.get_by_role("button", name="Watch without an account").click()
    await expect(page.locator(".state")).to_have_text("Live")
    found["guest"] = await look(page)
    await page.route("**/graphql", lambda route: route.fulfill(status=503, json={"code": "UNAVAILABLE"}))
    await page.reload()
    await expect(page.get_by_role("heading", name="Reconnecting")).to_be_visible()
    found["reconnecting"] = await look(page)
    await visitor.close()
    assert {state: each for state, each in found.items() if each} == {}


@pytest.mark.parametrize("group", ["finished", "staffed"])
async def test_every_screen_fits_every_window(finished: Group, staffed: Group, group: str) -> None:
    context, paths = {"finished": finished, "staffed": staffed}[group]
    page = await context.new_page()
    wide, covering = {}, {}
    for path in paths:
        await settle(page, path)
        for width, height in (*((width, 800) for width in WIDTHS), AT_400_PERCENT):
            await page.set_viewport_size({"width": width, "height": height})
            wide[path, width] = await page.evaluate("document.documentElement.scrollWidth") - width
        covering[path] = await page.evaluate(STUCK)
    await page.close()
    assert {where: each for where, each in wide.items() if each > 0} == {}
    assert {path: each for path, each in covering.items() if each} == {}, "at 400 % zoom"


async def test_the_selected_option_and_every_current_link_are_seen_in_forced_colors(
    finished: Group, staffed: Group
) -> None:
    hidden, seen = {}, 0
    for context, paths in (finished, staffed):
        page = await context.new_page()
        await page.emulate_media(forced_colors="active")
        for path in paths:
            await settle(page, path)
            seen += await page.locator("[aria-current]").count()
            hidden[path] = await page.evaluate(UNSEEN)
        await page.close()
    assert seen > len(hidden), "most screens mark where they are"
    assert {path: links for path, links in hidden.items() if links} == {}
    page = await finished[0].new_page()
    await page.emulate_media(forced_colors="active")
    await settle(page, next(path for path in finished[1] if path.endswith("/1")))
    style = "element => getComputedStyle(element).backgroundColor"
    options = page.locator(".option")
    assert await options.nth(0).evaluate(style) != await options.nth(1).evaluate(style)
    await page.close()


async def test_nothing_jumps_while_a_page_loads(context: BrowserContext, stack: RunningStack) -> None:
    await context.add_init_script(OBSERVE_SHIFTS)
    page = await context.new_page()
    await page.goto("/")
    await sign_up(page, unique("still"))
    for size in ({"width": 390, "height": 844}, {"width": 1440, "height": 900}):
        await page.set_viewport_size(size)  # type: ignore[arg-type]  # a ViewportSize is a dict
        for path in ("/", f"/q/{QUIZ}", f"/q/{QUIZ}/1", "/b/weekly"):
            await settle(page, path)
            assert await page.evaluate("shift") < MAX_SHIFT, (path, size)


async def test_files_are_compressed_kept_and_named_at_once(context: BrowserContext, stack: RunningStack) -> None:
    page = await context.new_page()
    responses: list[Response] = []

    def record(response: Response) -> None:
        responses.append(response)

    page.on("response", record)
    await page.goto("/")
    await expect(page.get_by_label("Name")).to_be_visible()
    files = [each for each in responses if "/assets/" in each.url]
    assert len(files) > 10
    for response in files:
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable", response.url
        assert response.headers["content-encoding"] in ("br", "gzip"), response.url
    sizes = [await response.request.sizes() for response in responses if response.ok]
    assert sum(size["responseBodySize"] for size in sizes) < MAX_BYTES
    document = await responses[0].text()
    unnamed = [each.url for each in files if each.url.removeprefix(stack.http) not in document]
    assert unnamed == [], "no file is found only when another one has been read"


async def test_a_second_language_from_right_to_left_is_one_file(
    finished: Group,
) -> None:
    context, paths = finished
    await check_translated(context, paths[:-1])


async def test_consoles_and_rooms_are_translated_too(staffed: Group) -> None:
    context, paths = staffed
    await check_translated(context, paths)


async def check_translated(context: BrowserContext, paths: list[str]) -> None:
    """Expect screens from right to left, as wide as a phone, and every control and heading in the other language."""
    page = await context.new_page()

    async def translated(route: Route) -> None:
        if "0000000000000000" in route.request.url:
            await route.continue_()
        else:
            await route.fulfill(content_type="text/javascript", body=PSEUDO_LOCALE)

    await page.route("**/strings/en.js", translated)
    await page.set_viewport_size({"width": 390, "height": 844})
    found = {}
    for path in paths:
        await page.goto(path)
        await expect(page.locator("html")).to_have_attribute("dir", "rtl")
        await expect(page.locator("main :is(h1, h2)").first).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path
        found[path] = await page.evaluate(ENGLISH)
    await page.close()
    assert {path: texts for path, texts in found.items() if texts} == {}
