"""The operator's screen in a real Chromium: what is wrong stands out, and what could not be counted can be replayed."""

from __future__ import annotations

import json
import os
import re
import signal
import uuid
from collections.abc import AsyncIterator
from typing import Literal

import nats
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient
from tests.browser.visitor import findings, new_context, requests_of, sign_up
from tests.deadline import eventually
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, unique
from tests.system.moderation.test_history import add_dead_letter, event

MAX_BYTES = 60 * 1024


async def become_admin(page: Page, stack: RunningStack) -> None:
    await page.goto("/")
    await sign_up(page, name := unique("ops"))
    await grant_role(endpoints(stack), name, "admin")
    # A role is in the next access token.
    await page.context.clear_cookies(name="topten_access")
    await page.goto("/ops")
    await expect(page.locator(".console h1")).to_be_visible()


@pytest_asyncio.fixture(scope="module")
async def admin(browser: Browser, stack: RunningStack) -> AsyncIterator[BrowserContext]:
    """An admin's browser, whose pages axe-core may enter."""
    context = await new_context(browser, stack, bypass_csp=True)
    await become_admin(await context.new_page(), stack)
    yield context
    await context.close()


@pytest_asyncio.fixture
async def ops(admin: BrowserContext) -> AsyncIterator[Page]:
    page = await admin.new_page()
    await page.goto("/ops")
    await expect(page.locator(".checks li").first).to_be_visible()
    yield page
    await page.close()


@pytest_asyncio.fixture
async def player(stack: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield await register(client)


async def test_every_process_and_step_is_named(ops: Page) -> None:
    for process in ("edge", "identity", "quiz", "score", "leaderboard"):
        await expect(ops.locator(f'[data-subject="{process}"] .fact')).to_contain_text("ready, version")
    for step in (
        "outbox",
        "stream",
        "uncounted events",
        "attempts",
        "watched boards",
        "periods",
        "indexes",
        "breakers",
        "dead letters",
    ):
        await expect(ops.locator(f'[data-subject="{step}"]')).to_be_visible()
    for store in ("mongo", "nats", "redis"):
        await expect(ops.locator(f'[data-subject="{store}"] .fact')).to_contain_text("reached by ")


async def test_a_player_gets_no_menu_entry_and_a_refusal(page: Page) -> None:
    await sign_up(page, unique("curious"))
    await expect(page.get_by_role("link", name="Play", exact=True)).to_be_visible()
    await expect(page.get_by_role("link", name="Operations", exact=True)).to_have_count(0)
    await page.goto("/ops")
    await expect(page.get_by_role("heading", name="This account may not do that.")).to_be_visible()


async def test_a_process_that_hangs_is_a_finding_with_its_runbook_and_recovers(ops: Page, stack: RunningStack) -> None:
    row = ops.locator('[data-subject="leaderboard"]')
    await expect(row.locator(".mark")).to_have_text("ok")
    pid = stack.pid_of("leaderboard")
    os.kill(pid, signal.SIGSTOP)
    try:
        await expect(row.locator(".mark")).to_have_text("wrong")
        await expect(row.locator(".fact")).to_have_text("does not respond")
        await expect(row.locator(".runbook")).to_contain_text("docs/operator/operations.md#toptenprocessabsent")
        await expect(ops.locator(".console h1")).to_have_text(re.compile(r"^\d+ findings?$"))
        await expect(ops.locator("#announcement")).to_have_text(re.compile(r"^\d+ findings?$"))
    finally:
        os.kill(pid, signal.SIGCONT)
    await expect(row.locator(".mark")).to_have_text("ok")


async def test_rates_are_told_from_the_second_read_on(ops: Page) -> None:
    fact = ops.locator('[data-subject="GraphQL"] .fact')
    await expect(fact).to_have_text(re.compile(r"^[\d,]+ errors in [\d,]+ responses, [\d,]+\.\d a second now$"))


async def test_a_paused_screen_stands_still(ops: Page) -> None:
    await ops.get_by_role("button", name="Pause").click()
    await expect(ops.locator(".console-head .hint").first).to_have_text("Paused")
    requests = requests_of(ops)
    await ops.get_by_role("button", name="Continue").click()
    await expect(ops.locator(".console-head .hint").first).to_have_text(re.compile("^Checked"))
    assert len([each for each in requests if "systemStatus" in (each.post_data or "")]) == 1


async def test_a_replayed_event_counts_and_one_that_cannot_says_why(
    ops: Page, stack: RunningStack, player: Player
) -> None:
    broker = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        stored = await broker.jetstream().publish(f"quiz.events.{unique('poison')}", b"\xff\xff no event")
    finally:
        await broker.close()
    await add_dead_letter(stack, event(event_id := str(uuid.uuid4()), player.user_id, 30))
    good = ops.locator(f'[data-letter="{event_id}"]')
    bad = ops.locator(f'[data-letter="QUIZ_EVENTS:{stored.seq}"]')

    async def are_listed() -> bool:
        await ops.reload()
        await expect(ops.locator(".dead-letters")).to_be_visible()
        return await good.count() == await bad.count() == 1

    await eventually(are_listed, "both dead letters are on the screen")
    await expect(ops.locator('[data-subject="dead letters"] .mark')).to_have_text("wrong")
    await bad.get_by_role("button").click()
    await expect(ops.locator(".dead-letters [role=status]")).to_contain_text("0 events counted. Not counted: ")
    await expect(bad).to_be_visible()
    await good.get_by_role("button").click()
    await expect(ops.locator(".dead-letters [role=status]")).to_have_text("1 event counted.")
    await expect(good).to_have_count(0)

    async def is_counted() -> bool:
        data = await player.client.execute("{ me { score } }", {}, player.access_token)
        return bool(data["me"]["score"] == 30)

    await eventually(is_counted, "the replayed event counts")


@pytest.mark.parametrize(
    ("scheme", "forced"), [("light", "none"), ("dark", "none"), ("dark", "active")], ids=["light", "dark", "forced"]
)
async def test_the_screen_has_no_accessibility_finding_with_findings_and_without(
    ops: Page, stack: RunningStack, player: Player, scheme: Literal["light", "dark"], forced: Literal["active", "none"]
) -> None:
    await ops.emulate_media(color_scheme=scheme, forced_colors=forced)
    await add_dead_letter(stack, event(event_id := str(uuid.uuid4()), player.user_id, 1))

    async def is_listed() -> bool:
        await ops.reload()
        await expect(ops.locator(".dead-letters")).to_be_visible()
        return bool(await ops.locator(f'[data-letter="{event_id}"]').count())

    await eventually(is_listed, "the dead letter is on the screen")
    assert await findings(ops) == []
    await ops.locator(f'[data-letter="{event_id}"]').get_by_role("button").click()
    await expect(ops.locator(f'[data-letter="{event_id}"]')).to_have_count(0)
    assert await findings(ops) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
async def test_the_screen_fits_its_window(ops: Page, stack: RunningStack, player: Player, width: int) -> None:
    await ops.set_viewport_size({"width": width, "height": 800})
    await add_dead_letter(stack, event(str(uuid.uuid4()), player.user_id, 1))
    await ops.reload()
    await expect(ops.locator(".letters li").first).to_be_visible()
    assert await ops.evaluate("document.documentElement.scrollWidth") <= width


async def test_the_console_weighs_what_it_may_and_players_do_not_carry_it(
    ops: Page, page: Page, stack: RunningStack
) -> None:
    sizes = """() => performance.getEntriesByType('resource').filter(each => /assets/.test(each.name))
      .map(each => [each.name.replace(/.*assets.[0-9a-f]+./, ''), each.encodedBodySize])"""
    carried = dict(await ops.evaluate(sizes))
    assert {"screens/ops.js", "console.css"} <= carried.keys()
    assert sum(carried.values()) < MAX_BYTES, json.dumps(carried)
    await expect(page.get_by_label("Password")).to_be_visible()
    assert not {"screens/ops.js", "console.css"} & dict(await page.evaluate(sizes)).keys()
