"""A board on a big screen, over a video and within another page: with a board token alone, for hours, in a real Chromium."""

from __future__ import annotations

import base64
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page, expect

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient
from tests.browser.visitor import adjust, findings, new_context, requests_of, sign_up
from tests.deadline import eventually
from tests.players import PASSWORD, Player, endpoints, register
from tests.replicas import second_instance
from tests.servers import RunningStack, unique
from tests.system.accounts.test_groups import JOIN, PUT, ask
from tests.system.actions.test_player_actions import define, submit
from tests.system.boards.test_boards_as_data import put, until_ready
from tests.system.views.test_team_boards import ENTER

ISSUE = "mutation ($board: BoardInput) { boardToken(board: $board) { id token url } }"
REVOKE = "mutation ($id: ID!) { revokeBoardToken(id: $id) }"
FROZEN = "query ($board: BoardInput!) { leaderboard(board: $board) { stale board { frozenSince } } }"
COUNTRY = "AX"
BOARD = {"kind": "COUNTRY", "country": COUNTRY}
EMPTY = {"kind": "COUNTRY", "country": "BV"}
BIG = {"width": 1920, "height": 1080}
OFF_CENTER = """row => {
  const middle = element => { const { top, bottom } = element.getBoundingClientRect(); return (top + bottom) / 2; };
  return Math.abs(middle(row) - middle(row.querySelector('.score')));
}"""
# What is in front where the name of a row and its bar, made as tall as the row, are both.
IN_FRONT_OF_BAR = """row => {
  const bar = row.querySelector('.bar'); bar.style.blockSize = '100%';
  const { left, top, height } = row.querySelector('.name').getBoundingClientRect();
  const { className } = document.elementFromPoint(left + 5, top + height / 2);
  bar.style.blockSize = ''; return className; }"""
VIEWS = ["kiosk", "overlay", "embed"]


@pytest_asyncio.fixture(scope="module")
async def player(stack: RunningStack) -> AsyncIterator[Player]:
    """The first of ten on the board of a country of their own, with the longest name and a large score."""
    async with GraphqlClient(endpoints(stack).graphql) as client:
        for number in range(9):
            each = await register(client, country=COUNTRY)
            await adjust(stack, each.user_id, 1_000 - number)
        player = await register(client, country=COUNTRY, username=unique("Wolfgang-Amadeus-").ljust(32, "x")[:32])
        await adjust(stack, player.user_id, 999_000_000)
        yield player


async def as_moderator(stack: RunningStack, document: str, variables: dict[str, Any]) -> Any:
    account = stack.endpoints["moderator"]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(account["username"], account["password"])
        return await client.execute(document, variables, token)


async def link(stack: RunningStack, board: dict[str, Any] = BOARD) -> dict[str, str]:
    issued: dict[str, str] = (await as_moderator(stack, ISSUE, {"board": board}))["boardToken"]
    return issued


async def show(context: BrowserContext, url: str, view: str = "kiosk") -> Page:
    page = await context.new_page()
    await page.set_viewport_size(BIG)  # type: ignore[arg-type]  # a ViewportSize is a dict
    await page.goto(url.replace("view=kiosk", f"view={view}"))
    await expect(page.locator(".state")).to_have_attribute("data-state", "live")
    return page


@pytest.mark.parametrize("view", VIEWS)
async def test_a_display_needs_no_account_and_shows_names_from_afar(
    context: BrowserContext, stack: RunningStack, player: Player, view: str
) -> None:
    issued = await link(stack)
    page = await show(context, issued["url"], view)
    row = page.locator(f'li[data-user="{player.username}"]')
    await expect(row.locator(".score")).to_have_text("999,000,000")
    await expect(page.locator(".rows li")).to_have_count(10)
    sizes = "elements => elements.map(element => parseFloat(getComputedStyle(element).fontSize))"
    assert min(await page.locator(".rows .name").evaluate_all(sizes)) >= 44
    assert await page.evaluate("[document.documentElement.scrollHeight, document.documentElement.scrollWidth]") == [
        1080, 1920,
    ]  # fmt: skip
    boxes = await page.locator(".rows li").evaluate_all("rows => rows.map(row => row.getBoundingClientRect().bottom)")
    assert max(boxes) <= 1080
    assert await row.evaluate(IN_FRONT_OF_BAR) == "name"
    assert await page.get_by_label("Password").count() == 0
    assert await context.cookies() == []
    await adjust(stack, player.user_id, 35)
    await expect(row.locator(".gain")).to_have_text("+35")
    await adjust(stack, player.user_id, -35)
    if view == "kiosk":
        await expect(page.locator(".news li").first).to_have_text(f"{player.username}+35")
    await page.close()


async def test_a_token_travels_only_where_it_is_read(
    context: BrowserContext, stack: RunningStack, player: Player
) -> None:
    issued = await link(stack)
    page = await context.new_page()
    requests = requests_of(page)
    await page.goto(issued["url"])
    await expect(page.locator(".state")).to_have_text("Live")
    carrying = {each.url.split("?")[0].removeprefix(stack.http) for each in requests if issued["token"] in each.url}
    assert carrying == {"/graphql", "/api/v1/leaderboard/stream"}
    assert not any("topten-session" in each.headers for each in requests)
    assert not any(issued["token"] in str(each.headers) for each in requests)
    await page.close()


async def test_an_overlay_leaves_the_video_as_it_is(
    context: BrowserContext, stack: RunningStack, player: Player
) -> None:
    page = await show(context, (await link(stack))["url"], "overlay")
    picture = base64.b64encode(await page.screenshot(omit_background=True)).decode()
    alphas = await page.evaluate(
        """async picture => {
          const bytes = Uint8Array.from(atob(picture), each => each.charCodeAt(0));
          const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
          const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
          canvas.drawImage(bitmap, 0, 0);
          return [[1900, 20], [1900, 1060], [1000, 1060], [2, 2], [200, 300]]
            .map(([x, y]) => canvas.getImageData(x, y, 1, 1).data[3]);
        }""",
        picture,
    )
    assert alphas[:4] == [0, 0, 0, 0], "no pixel beside the board"
    assert alphas[4] > 200
    await page.close()


async def test_a_display_keeps_the_screen_on(context: BrowserContext, stack: RunningStack) -> None:
    await context.add_init_script("""
      window.asked = [];
      Object.defineProperty(navigator, 'wakeLock', { value: {
        request: async what => { asked.push(what); return { release() {} }; },
      } });
    """)
    issued = await link(stack, EMPTY)
    for view, expected in (("kiosk", ["screen"]), ("overlay", ["screen"]), ("embed", [])):
        page = await show(context, issued["url"], view)
        await page.wait_for_function("count => asked.length >= count", arg=len(expected))
        assert await page.evaluate("asked") == expected, view
        # The browser releases a lock when the page is hidden; it is asked for again when the page is back.
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await page.wait_for_function("count => asked.length >= count", arg=2 * len(expected))
        assert await page.evaluate("asked") == 2 * expected, view
        await page.close()


async def test_a_display_survives_a_restart_of_the_edge_without_a_reload(
    context: BrowserContext, stack: RunningStack, player: Player
) -> None:
    page = await show(context, (await link(stack))["url"])
    await page.evaluate("window.marker = 'the same page'")
    os.kill(stack.pid_of("edge"), signal.SIGKILL)
    await expect(page.locator(".state")).to_have_attribute("data-state", "lost")
    await expect(page.locator(".state")).to_have_attribute("data-state", "live")
    await adjust(stack, player.user_id, 7)
    await expect(page.locator(f'li[data-user="{player.username}"] .gain')).to_have_text("+7")
    assert await page.evaluate("window.marker") == "the same page"
    await adjust(stack, player.user_id, -7)
    await page.close()


async def test_an_hour_later_a_display_is_live_and_counts_its_players(
    context: BrowserContext, stack: RunningStack
) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        first, second = await register(client, country="BL"), await register(client, country="BL")
    await adjust(stack, first.user_id, 5)
    page = await context.new_page()
    await page.clock.install()
    await page.goto((await link(stack, {"kind": "COUNTRY", "country": "BL"}))["url"])
    await expect(page.locator(".board-foot")).to_contain_text("1 player")
    await adjust(stack, second.user_id, 9)
    await expect(page.locator(f'li[data-user="{second.username}"] .rank')).to_have_text("1")
    await page.clock.fast_forward("01:00:00")
    await expect(page.locator(".board-foot")).to_contain_text("2 players")
    await expect(page.locator(".state")).to_have_attribute("data-state", "live")
    await page.close()


async def test_a_link_that_has_ended_says_so_and_shows_no_scores(
    context: BrowserContext, stack: RunningStack, player: Player
) -> None:
    issued = await link(stack)
    page = await show(context, issued["url"])
    await expect(page.locator(".rows li")).to_have_count(10)
    assert (await as_moderator(stack, REVOKE, {"id": issued["id"]}))["revokeBoardToken"] is True
    await expect(page.locator(".state")).to_have_text("Ended")
    await expect(page.get_by_text("This link has ended. Ask for a new one.")).to_be_visible()
    await expect(page.locator(".rows li")).to_have_count(0)
    other = (await link(stack, EMPTY))["url"].replace("country%3ABV", f"country%3A{COUNTRY}")
    await page.goto(other)
    await expect(page.locator(".state")).to_have_text("Ended")
    await page.close()


@asynccontextmanager
async def host_page() -> AsyncIterator[tuple[int, dict[str, str]]]:
    """Serve a page with a frame that shows `src`; return its port and `src`. It has two origins: 127.0.0.1 and localhost."""
    frame = {"src": ""}

    async def page(_request: web.Request) -> web.Response:
        body = f'<!doctype html><title>host</title><iframe src="{frame["src"]}" width="400" height="600"></iframe>'
        return web.Response(text=body, content_type="text/html")

    application = web.Application()
    application.router.add_get("/", page)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1], frame
    await runner.cleanup()


async def test_pages_of_configured_origins_alone_may_embed_a_board_and_nothing_else(
    context: BrowserContext, stack: RunningStack, player: Player
) -> None:
    url = (await link(stack))["url"]
    async with host_page() as (port, frame), aiohttp.ClientSession() as session:
        friend, foe = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        with second_instance(stack, "edge", EDGE_EMBED_ORIGINS=f"https://www.example,{friend}") as edge:
            own = f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}"
            framed_by = {
                f"{own}/b/all?view=embed": f"https://www.example {friend}",
                f"{own}/b/all?view=kiosk": "'none'",
                f"{own}/b/all": "'none'",
                f"{own}/?view=embed": "'none'",
                f"{own}/graphql?view=embed": "'none'",
                f"{stack.http}/b/all?view=embed": "'none'",
            }
            for address, expected in framed_by.items():
                async with session.get(address) as response:
                    assert f"frame-ancestors {expected};" in response.headers["Content-Security-Policy"], address
                    assert ("X-Frame-Options" in response.headers) == (expected == "'none'"), address
            page = await context.new_page()
            frame["src"] = url.replace(stack.http, own).replace("view=kiosk", "view=embed")
            await page.goto(friend)
            await expect(page.frame_locator("iframe").locator(".rows li")).to_have_count(10)
            await expect(page.frame_locator("iframe").locator(".state")).to_have_text("Live")
            async with page.expect_console_message(lambda each: "frame-ancestors" in each.text):
                await page.goto(foe)
            assert own not in page.frames[1].url
            await page.close()


@pytest.mark.parametrize(
    ("scheme", "forced"), [("light", "none"), ("dark", "none"), ("dark", "active")], ids=["light", "dark", "forced"]
)
async def test_no_display_has_an_accessibility_finding(
    browser: Browser,
    stack: RunningStack,
    player: Player,
    scheme: Literal["light", "dark"],
    forced: Literal["active", "none"],
) -> None:
    # The page's Content-Security-Policy would refuse axe-core.
    context = await new_context(
        browser, stack, bypass_csp=True, color_scheme=scheme, forced_colors=forced, reduced_motion="reduce"
    )
    found = {}
    for board in (BOARD, EMPTY):
        issued = await link(stack, board)
        for view in VIEWS:
            page = await show(context, issued["url"], view)
            found[view, board["country"]] = await findings(page)
            await page.close()
    await context.close()
    assert {each: list_ for each, list_ in found.items() if list_} == {}


@pytest.mark.parametrize("size", [(320, 480), (400, 600), (800, 600), (1080, 1920)])
async def test_a_display_fits_every_frame(
    context: BrowserContext, stack: RunningStack, player: Player, size: tuple[int, int]
) -> None:
    width, height = size
    url = (await link(stack))["url"]
    for view in VIEWS:
        page = await show(context, url, view)
        await page.set_viewport_size({"width": width, "height": height})
        await expect(page.locator(".rows li")).to_have_count(10)
        inside = await page.locator(".rows li .score").evaluate_all(
            """scores => scores.every(score => {
              const { left, right, top, bottom } = score.getBoundingClientRect();
              return left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight;
            })"""
        )
        assert inside, view
        name = page.locator(f'li[data-user="{player.username}"] .name')
        assert (await name.evaluate("name => name.getBoundingClientRect().width")) > 0.15 * width, view
        # What has just changed stands on the line of its row.
        await adjust(stack, player.user_id, 1)
        row = page.locator(f'li[data-user="{player.username}"]')
        await expect(row.locator(".gain")).to_have_text("+1")
        assert await row.evaluate(OFF_CENTER) < 2, view
        await page.close()


async def test_a_display_of_a_signed_in_player_needs_no_token_unless_it_is_embedded(page: Page) -> None:
    await sign_up(page, unique("kiosk"))
    await page.goto("/b/all?view=kiosk")
    await expect(page.locator(".state")).to_have_text("Live")
    await expect(page.locator("header")).to_be_hidden()
    await expect(page.locator(".play-at")).to_contain_text(re.compile(r"127\.0\.0\.1:\d+"))
    await page.goto("/b/all?view=embed")
    await expect(page.get_by_text("This link has ended. Ask for a new one.")).to_be_visible()
    await expect(page.locator(".rows li")).to_have_count(0)


async def test_frozen_board_says_so_on_the_page_and_on_every_display(
    context: BrowserContext, stack: RunningStack, player: Player
) -> None:
    """Everything happened after its freeze, so nobody is on it."""
    name, now = unique("cup-")[:32], datetime.now(UTC).replace(microsecond=0)
    starts_at, ends_at = now - timedelta(hours=2), now + timedelta(hours=1)
    definition = {
        "name": name,
        "period": f"range:{starts_at.isoformat()}/{ends_at.isoformat()}",
        "freezesBefore": 10_000,
    }
    board = {"kind": "CUSTOM", "name": name}
    async with GraphqlClient(endpoints(stack).graphql) as client:
        admin = await register(client)
        await grant_role(endpoints(stack), admin.username, "admin")
        token = await client.login(admin.username, PASSWORD)
        await put(client, token, **definition)
        await until_ready(client, token, name)

        async def is_frozen() -> bool:
            page = (await client.execute(FROZEN, {"board": board}, token))["leaderboard"]
            return bool(page["board"]["frozenSince"]) and not page["stale"]

        await eventually(is_frozen, "the board says that it is frozen")
    issued = await link(stack, board)
    for view in VIEWS:
        page = await show(context, issued["url"], view)
        await expect(page.locator(".frozen")).to_be_visible()
        await expect(page.locator(".frozen")).to_contain_text(str(starts_at.year))
        await expect(page.locator(".rows li")).to_have_count(0)
        await page.set_viewport_size({"width": 320, "height": 640})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
        await page.close()


async def test_board_of_teams_speaks_of_teams_and_marks_the_players_own(
    page: Page, context: BrowserContext, stack: RunningStack
) -> None:
    name, board_name = unique("team-page-"), unique("teams-")[:32]
    board = {"kind": "CUSTOM", "name": board_name}
    await page.goto("/")
    await sign_up(page, name)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        admin = await register(client)
        await grant_role(endpoints(stack), admin.username, "admin")
        token = await client.login(admin.username, PASSWORD)
        walk = await define(client, token, "perUnit")
        await put(client, token, name=board_name, sources=[f"action:{walk}"], segment="teams:sum")
        await until_ready(client, token, board_name)
        owners = [await register(client, country=COUNTRY) for _ in range(2)]
        codes = []
        for owner, title, quantity in zip(
            owners, ("The long-distance runners of the north", "Üben"), (5, 3), strict=True
        ):
            await submit(owner, walk, quantity=quantity, wait="COUNTED")
            group = (await ask(owner, PUT, input={"title": title}))["group"]
            await ask(owner, ENTER, id=group["groupId"], board=board_name)
            codes.append(group["inviteCode"])
        await page.goto(f"/b/custom:{board_name}")
        await expect(page.locator(".board-foot")).to_contain_text("2 teams")
        await expect(page.locator(".own-place")).to_have_text("None of your groups is a team with points here.")
        visitor = Player(client, name, "", await client.login(name, PASSWORD), "")
        await ask(visitor, JOIN, code=codes[1])
    # The stream tells of the player's new standing, and the page asks whose it is.
    await expect(page.locator(".rows li.own .name").first).to_have_text("Üben")
    await expect(page.locator(".rows li.own .you").first).to_have_text("Your team")
    await expect(page.locator(".own-place")).to_contain_text("Your team · 2nd")
    await expect(page.locator(".rows .country")).to_have_count(0)
    for view in VIEWS:
        display = await show(context, (await link(stack, board))["url"], view)
        await expect(display.locator(".rows li").first).to_contain_text("The long-distance runners of the north")
        await expect(display.locator(".rows .country, .rows li.own")).to_have_count(0)
        assert await findings(display) == []
        await display.close()
