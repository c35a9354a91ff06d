"""Rooms that take a proof of work, in a real Chromium under the page's own policy."""

from __future__ import annotations

import hashlib
import re

from playwright.async_api import Browser, ConsoleMessage, Page, Worker, expect

from tests.browser.test_question_kinds import NARROW, press, tab_to
from tests.browser.test_rooms import check, open_room, visiting
from tests.browser.visitor import new_context, short_quiz
from tests.servers import RunningStack

STATUS = "Your device computes before you join…"
# Every text that the page has said as a status.
RECORD = """
  window.said = [];
  new MutationObserver(() => {
    for (const each of document.querySelectorAll('[role=status]')) said.push(each.textContent);
  }).observe(document, { subtree: true, childList: true, characterData: true });
"""
NO_WORKER = "delete window.Worker"
SEARCH = """async ([prefix, digest]) => {
  const { Search } = await import('/assets/0000000000000000/client/sha256.js');
  return new Search(prefix, digest).among(0, 20_000);
}"""


def workers_of(page: Page) -> list[str]:
    """Return a list that grows with the workers of a page, by the names of their scripts."""
    started: list[str] = []

    def record(worker: Worker) -> None:
        started.append(worker.url.rpartition("/")[2])

    page.on("worker", record)
    return started


def messages_of(page: Page) -> list[str]:
    """Return a list that grows with the messages in the console of a page."""
    messages: list[str] = []

    def record(message: ConsoleMessage) -> None:
        messages.append(message.text)

    page.on("console", record)
    return messages


async def enter(page: Page, pin: str, nickname: str) -> None:
    """Join a room by keyboard alone, and expect to be told of the computation and to get in."""
    await page.goto(f"/j/{pin}")
    await expect(page.get_by_label("Your name in this room")).to_be_focused()
    await page.keyboard.type(nickname)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="You are in!")).to_be_visible()
    assert STATUS in await page.evaluate("window.said")


async def test_players_join_a_room_whose_host_has_asked_for_a_proof_of_work(
    browser: Browser, stack: RunningStack
) -> None:
    quiz_id = await short_quiz(stack)
    async with visiting(browser, stack) as visitors:
        host = await visitors.host(f"/q/{quiz_id}/host")
        await tab_to(host, host.get_by_label("Devices do some work before they join, which slows bots down"))
        await press(host, "Space")
        await check(host)
        await tab_to(host, host.get_by_role("button", name="Open the room"))
        await host.keyboard.press("Enter")
        await host.wait_for_url(re.compile(r"/host/\d+$"))
        pin = host.url.rpartition("/")[2]
        for nickname, script in (("Ada", ""), ("Ben", NO_WORKER)):
            context = await new_context(browser, stack, viewport={"width": NARROW, "height": 800})
            visitors.contexts.append(context)
            await context.add_init_script(RECORD + script)
            page = await context.new_page()
            workers, messages = workers_of(page), messages_of(page)
            await enter(page, pin, nickname)
            assert workers == ([] if script else ["challenge-worker.js"])
            assert not [text for text in messages if "Content Security Policy" in text]
            # A reload finds the seat, and computes nothing.
            await page.reload()
            await expect(page.get_by_role("heading", name="You are in!")).to_be_visible()
            assert STATUS not in await page.evaluate("window.said")
        await expect(host.get_by_role("heading", name="2 players")).to_be_visible()


async def test_a_nickname_that_is_taken_says_so_and_the_next_one_gets_in(browser: Browser, stack: RunningStack) -> None:
    pin, _ = await open_room(stack, await short_quiz(stack), proofOfWork=True)
    async with visiting(browser, stack) as visitors:
        await visitors.player(pin, "Ada")
        page = await visitors.page(f"/j/{pin}")
        workers = workers_of(page)
        field = page.get_by_label("Your name in this room")
        await field.fill("ada")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert").first).to_have_text(re.compile("^Somebody here has this name"))
        await check(page)
        await field.fill("Bea")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="You are in!")).to_be_visible()
        assert len(workers) == 1, "the second name computed again"


async def test_the_page_hashes_as_the_standard_says(browser: Browser, stack: RunningStack) -> None:
    context = await new_context(browser, stack)
    page = await context.new_page()
    await page.goto("/")
    # Around the lengths at which the padding, and the number itself, reach another block.
    for length in (0, 1, 44, 50, 51, 52, 54, 55, 56, 59, 60, 63, 64, 65, 119, 128):
        for number in (0, 9, 10, 12_345):
            prefix = "s" * length
            digest = hashlib.sha256(f"{prefix}{number}".encode()).hexdigest()
            assert await page.evaluate(SEARCH, [prefix, digest]) == number
    assert await page.evaluate(SEARCH, ["s", "0" * 64]) == -1
    await context.close()
