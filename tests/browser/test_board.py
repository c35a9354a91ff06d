"""A live board in a real Chromium: it shows what counts, says whether it is live, and names the player's own place."""

from __future__ import annotations

import os
import re
import signal
from itertools import pairwise

import aiohttp
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient
from tests.browser.test_quality import look
from tests.browser.visitor import FOUR_RIGHT, QUIZ, new_context, play, short_quiz, sign_up
from tests.deadline import eventually
from tests.players import PASSWORD, endpoints, register
from tests.servers import RunningStack, unique
from tests.system.actions.test_player_actions import define
from tests.system.boards.test_boards_as_data import put, until_ready
from tests.system.boards.test_boards_being_filled import is_known, newcomer_on, nothing_is_built

COUNT = '{ leaderboard(board: {kind: COUNTRY, country: "MC"}, first: 1) { totalCount } }'
RESET = "{ leaderboard(board: {kind: WEEKLY}, first: 1) { board { nextResetAt } } }"
# How far the countdown is from the truth at worst, in seconds, while it shows two more of them. The page's clock is wrong by
# ten minutes, and the browser's is the server's.
COUNTDOWN = """resetAt => new Promise(resolve => {
  const reset = document.querySelector('.reset');
  let shown = '', changes = 0, worst = 0;
  requestAnimationFrame(function compare() {
    if (reset.textContent !== shown) [shown, changes] = [reset.textContent, changes + 1];
    const [, days, hours, minutes, seconds] = /(?:(\\d) d )?(\\d\\d):(\\d\\d):(\\d\\d)/.exec(shown);
    const left = Number(days ?? 0) * 86400 + hours * 3600 + minutes * 60 + Number(seconds);
    worst = Math.max(worst, Math.abs((Date.parse(resetAt) - Date.now()) / 1000 - 600 - left));
    changes > 3 ? resolve(worst) : requestAnimationFrame(compare);
  });
})"""


async def open_streams(stack: RunningStack) -> float:
    """Return how many streams the edge has open."""
    async with aiohttp.ClientSession() as session, session.get(stack.endpoints["metrics"]["edge"]) as response:
        lines = (await response.text()).splitlines()
    return float(next(line for line in lines if line.startswith("topten_sse_connections ")).split()[1])


async def until_streams(stack: RunningStack, count: float) -> None:
    async def has_count() -> bool:
        return await open_streams(stack) == count

    await eventually(has_count, f"the edge has {count:g} open streams")


async def test_a_submission_updates_the_board_in_every_browser(
    page: Page, browser: Browser, stack: RunningStack
) -> None:
    name, quiz_id = unique("page"), await short_quiz(stack)
    other = await new_context(browser, stack)
    try:
        watcher = await other.new_page()
        await watcher.goto("/")
        await sign_up(watcher, unique("watch"), "is")
        await watcher.goto(f"/b/quiz:{quiz_id}")
        await sign_up(page, name)
        points = await play(page, quiz_id)
        await expect(watcher.locator(f'li[data-user="{name}"] .score')).to_have_text(str(points))
        await expect(watcher.locator(".board-foot")).to_contain_text("1 player")
        await expect(page.locator(".rank-change")).to_have_text(re.compile(r"^You are \d+(st|nd|rd|th)\.$"))
        assert await play(page, quiz_id) == points
        row = watcher.locator(f'li[data-user="{name}"]')
        await expect(row.locator(".score")).to_have_text(str(2 * points))
        await expect(row.locator(".gain")).to_have_text(f"+{points}")
        await expect(row).to_have_class(re.compile("settled"))
        await expect(row.locator(".change")).to_have_css("opacity", "0")
    finally:
        await other.close()


async def test_a_board_that_is_being_filled_says_so_and_becomes_live_by_itself(page: Page, stack: RunningStack) -> None:
    await page.set_viewport_size({"width": 320, "height": 640})
    await sign_up(page, unique("fill"))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        account, name, title = await register(client), unique("filling-")[:32], unique("Long runs ")
        await grant_role(endpoints(stack), account.username, "admin")
        admin = await client.login(account.username, PASSWORD)
        walk = await define(client, admin, "fixed")
        async with nothing_is_built(stack):
            await put(client, admin, name=name, title=title, sources=[f"action:{walk}"])
            await eventually(lambda: is_known(client, admin, name), "readers know the board")
            newcomer = await newcomer_on(client, name, walk)
            await page.goto(f"/b/custom:{name}")
            await expect(page.locator(".state")).to_have_text("Scores may be missing")
            await expect(page.locator(f'li[data-user="{newcomer.username}"] .score')).to_have_text("5")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320
            assert await look(page) == []
        await expect(page.locator(".state")).to_have_text("Live")
    # Others find it by its title.
    await page.goto("/b/all")
    await page.get_by_role("button", name="More boards").press("Enter")
    others = page.locator(".other-boards")
    await expect(others.get_by_role("link", name=title)).to_be_visible()
    assert await look(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    await page.keyboard.press("Escape")
    await expect(others).to_be_hidden()
    await page.get_by_role("button", name="More boards").press("Enter")
    await others.get_by_role("link", name=title).press("Enter")
    await expect(page).to_have_url(re.compile(f"/b/custom%3A{name}$"))
    await expect(page.get_by_role("heading", name=title)).to_be_visible()
    await expect(page.locator(".tabs [aria-current=page]")).to_have_text(title)
    await expect(page).to_have_title(f"{title} · Topten")


async def test_a_silent_server_is_not_live(page: Page, stack: RunningStack) -> None:
    await sign_up(page, unique("silent"))
    await page.goto("/b/all")
    await expect(page.locator(".state")).to_have_text("Live")
    edge = stack.pid_of("edge")
    os.kill(edge, signal.SIGSTOP)
    try:
        await expect(page.locator(".state")).to_have_text(re.compile(r"^Not live · \d+ s ago$"))
        assert await look(page) == []
    finally:
        os.kill(edge, signal.SIGCONT)
    await expect(page.locator(".state")).to_have_text("Live")


async def test_the_countdown_ends_with_the_period_whatever_the_clock_of_the_device_says(
    context: BrowserContext, stack: RunningStack
) -> None:
    # No script reaches the clock of a worker, which is the device's as well, so the page has none.
    await context.add_init_script(
        "delete globalThis.SharedWorker; const now = Date.now; Date.now = () => now() - 10 * 60 * 1000;"
    )
    page = await context.new_page()
    await page.goto("/")
    await sign_up(page, unique("countdown"))
    await page.goto("/b/weekly")
    await expect(page.locator(".reset")).to_have_text(re.compile(r"Starts again in (\d d )?\d\d:\d\d:\d\d"))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        data = await client.execute(RESET, {}, player.access_token)
    reset_at = data["leaderboard"]["board"]["nextResetAt"]

    async def is_exact() -> bool:
        return bool(await page.evaluate(COUNTDOWN, reset_at) <= 1)

    await eventually(is_exact, "a countdown that is never more than a second off")
    await expect(page.get_by_text("Equal points: the player who had them first is ahead.")).to_be_visible()


async def test_boards_have_addresses(page: Page, stack: RunningStack) -> None:
    await sign_up(page, unique("tabs"))
    await page.get_by_role("link", name="Leaderboard").click()
    for tab, path in (("This week", "weekly"), ("Vietnam", "country%3AVN"), ("All time", "all")):
        await page.get_by_role("navigation", name="Leaderboards").get_by_role("link", name=tab).click()
        await expect(page).to_have_url(re.compile(f"/b/{path}$"))
        await expect(page.locator(".tabs [aria-current=page]")).to_have_text(tab)
        await expect(page.locator(".state")).to_have_text("Live")
    await page.go_back()
    await expect(page.locator(".tabs [aria-current=page]")).to_have_text("Vietnam")
    await page.goto("/b/weekly:2020-01")
    await expect(page.locator(".state")).to_have_text("Final")
    assert await look(page) == []
    await expect(page.locator("header nav [aria-current]")).to_have_text("Leaderboard")
    await page.goto("/b/%E0%A4%A")
    await expect(page.get_by_role("heading", name="There is no such page.")).to_be_visible()
    await page.goto("/b/nonsense")
    await expect(page.get_by_text("There is no such leaderboard.")).to_be_visible()
    assert await look(page) == []


async def test_two_tabs_share_one_stream_and_end_it_together(
    page: Page, context: BrowserContext, stack: RunningStack
) -> None:
    await until_streams(stack, 0)  # those of an earlier test end a moment after it
    name = unique("share")
    await sign_up(page, name, "sm")
    await until_streams(stack, 1)
    second = await context.new_page()
    await second.goto("/")
    await expect(second.locator(".state")).to_have_text("Live")
    await expect(second.locator("#name")).to_have_text(name)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client, country="SM")
        await player.submit(QUIZ, FOUR_RIGHT)
    for tab in (page, second):
        await tab.goto("/b/country:SM")
        await expect(tab.locator(f'li[data-user="{player.username}"]')).to_be_visible()
    # One connection for both tabs; the one that was replaced may take a moment to end.
    await until_streams(stack, 1)
    await page.close()
    await second.get_by_role("link", name="All time", exact=True).click()
    await expect(second.locator(".state")).to_have_text("Live")
    await until_streams(stack, 1)
    await second.get_by_role("button", name="Sign out").click()
    await until_streams(stack, 0)


async def test_a_player_below_the_top_sees_their_place_and_those_around(page: Page, stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        quiz_id = await short_quiz(stack, points=1)
        for _ in range(10):
            ahead = await register(client, country="MC")
            await ahead.submit(QUIZ, FOUR_RIGHT)
        for _ in range(4):
            behind = await register(client, country="MC")
            await behind.submit(quiz_id, [("q1", "a")])

        async def are_counted() -> bool:
            return bool((await client.execute(COUNT, {}, behind.access_token))["leaderboard"]["totalCount"] == 14)

        await eventually(are_counted, "all are counted")
    name = unique("eleventh")
    await sign_up(page, name, "mc")
    await page.goto("/b/country:MC")
    await expect(page.get_by_text("Play a quiz to get on this board.")).to_be_visible()
    await play(page, quiz_id)
    await page.goto("/b/country:MC")
    await expect(page.locator(".own-place")).to_contain_text("You · 11th")
    # Any of the ten is next: they reached the same points at nearly the same moment.
    await expect(page.locator(".own-place")).to_contain_text("18 to \u2068player-")
    own = page.locator(f'.neighbors li[data-user="{name}"]')
    await expect(own.get_by_text("You", exact=True)).to_be_visible()
    await expect(page.locator("#announcement")).to_have_text("You are 11th with 2 points.")
    await expect(page.locator(".neighbors .rank")).to_have_text(["8", "9", "10", "11", "12", "13", "14"])
    assert await look(page) == []


async def test_a_paused_board_stands_still(page: Page, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    await sign_up(page, unique("pause"))
    await page.goto(f"/b/quiz:{quiz_id}")
    await expect(page.locator(".state")).to_have_text("Live")
    await page.get_by_role("button", name="Pause").click()
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        await player.submit(quiz_id, [("q1", "a")])

        async def is_counted() -> bool:
            return bool(await player.top({"kind": "QUIZ", "quizId": quiz_id}))

        await eventually(is_counted, "the submission is counted")
    await expect(page.locator(".state")).to_have_text("Paused")
    assert await look(page) == []
    await expect(page.locator(".rows li")).to_have_count(0)
    await page.get_by_role("button", name="Continue").click()
    await expect(page.locator(f'li[data-user="{player.username}"]')).to_be_visible()


async def test_a_board_for_moderators_is_live_for_them_and_does_not_exist_for_others(
    page: Page, browser: Browser, stack: RunningStack
) -> None:
    name, staff = unique("desk-")[:32], stack.endpoints["moderator"]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        admin = await register(client)
        await grant_role(endpoints(stack), admin.username, "admin")
        token = await client.login(admin.username, PASSWORD)
        await put(client, token, name=name, visibility="MODERATORS")
        await until_ready(client, token, name)
        other = await new_context(browser, stack)
        desk = await other.new_page()
        await desk.goto("/")
        await desk.get_by_label("Name").fill(staff["username"])
        await desk.get_by_label("Password").fill(staff["password"])
        await desk.keyboard.press("Enter")
        await expect(desk.locator("#name")).to_have_text(staff["username"])
        await desk.goto(f"/b/custom:{name}")
        await expect(desk.locator(".state")).to_have_text("Live")
        # With more points than ten players of other tests.
        player, quiz_id = await register(client), await short_quiz(stack, points=1_000)
        await player.submit(quiz_id, [("q1", "a")])
        row = desk.locator(f'li[data-user="{player.username}"]')
        await expect(row).to_be_visible()
        await sign_up(page, unique("outside"))
        await page.goto(f"/b/custom:{name}")
        await expect(page.get_by_text("There is no such leaderboard.")).to_be_visible()
        # Hidden from the browser by the end of its access token, it is back with the session's next one.
        await other.clear_cookies(name="topten_board_access")
        await desk.reload()
        await expect(row).to_be_visible()
        await expect(desk.locator(".state")).to_have_text("Live")
        await other.close()


async def test_the_podium_of_the_last_period_stands_with_the_board(page: Page) -> None:
    """A test's period ends in days: system/periods/test_closed_periods.py tests what the server says of periods."""
    first = {"rank": 1, "userId": "a", "username": "שלום", "score": 1_234, "country": None}
    last = {"closedPeriods": {"edges": [{"node": {"board": {"period": "2026-47"}}}]}}

    async def closed(route: Route) -> None:
        asked = str(route.request.post_data)
        if "closedPeriods(" in asked:
            await route.fulfill(json={"data": last})
        elif '"2026-47"' in asked and "limit: 3" in asked:
            await route.fulfill(json={"data": {"getLeaderboard": [first]}})
        else:
            await route.continue_()

    await sign_up(page, unique("podium"))
    await page.route("**/graphql", closed)
    await page.goto("/b/weekly")
    podium = page.get_by_role("region", name="Last time")
    await expect(podium.get_by_role("listitem")).to_have_text("1שלום1,234 points")
    rank, name = await podium.locator(".rank").bounding_box(), await podium.locator(".name").bounding_box()
    assert rank is not None
    assert name is not None
    assert name["x"] - rank["x"] < 60, "a name from right to left begins where the others do"
    await expect(podium.get_by_role("link", name="2026-47")).to_have_attribute("href", "/b/weekly%3A2026-47")


async def test_a_screen_reader_hears_one_summary_at_a_time(page: Page, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        first, second = await register(client), await register(client)
        await first.submit(quiz_id, [("q1", "a")])
        await sign_up(page, unique("listen"))
        await page.goto(f"/b/quiz:{quiz_id}")
        await expect(page.get_by_role("heading", name=f"About {quiz_id}")).to_be_visible()
        await expect(page.locator(f'li[data-user="{first.username}"]')).to_be_visible()
        await page.evaluate("""() => {
          window.heard = [];
          const place = document.getElementById('announcement');
          new MutationObserver(() => heard.push([performance.now(), place.textContent])).observe(place, { childList: true });
        }""")
        await second.submit(quiz_id, [("q1", "a"), ("q2", "a")])
        await expect(page.locator("#announcement")).to_have_text(f"\u2068{second.username}\u2069 leads with 20 points.")
        for _ in range(3):
            await first.submit(quiz_id, [("q1", "a"), ("q2", "a")])
        await expect(page.locator("#announcement")).to_contain_text(f"\u2068{first.username}\u2069 leads")
    moments = [moment for moment, _text in await page.evaluate("heard")]
    assert all(later - earlier >= 4_900 for earlier, later in pairwise(moments))
