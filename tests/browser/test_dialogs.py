"""Every dialog of the page in a real Chromium: none has an accessibility finding, and a new one is missed here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from playwright.async_api import Browser, Page, expect

from edge.http.page import FOLDER
from services.cli.system.client import GraphqlClient
from tests.browser.test_mod import answer_at_once
from tests.browser.test_ops import become_admin
from tests.browser.test_quality import SCHEMES
from tests.browser.test_rooms import open_room, visiting
from tests.browser.visitor import adjust, answer, findings, new_context, short_quiz, sign_up
from tests.deadline import eventually
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack, unique

NARROW: Final = 320
BLOCK: Final = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { eventId } }"
# A dialog of its own has a heading of its own; those that `ask` opens are told apart by what their button does.
HEADED: Final = re.compile(r'"dialog",\s*\{[^}]*"aria-labelledby": "([\w-]+)"')
VERB: Final = re.compile(r"^ +verb: (.*),$", re.MULTILINE)
KEY: Final = re.compile(r"(?<![\w.])t\.([\w.]+?)(?:\.replace\b|(?![\w.]))")
WORDS: Final = """async keys => {
  const { default: strings } = await import('/assets/0000000000000000/strings/en.js');
  return keys.map(([where, key]) => [where, key.split('.').reduce((part, name) => part[name], strings).replace('…', '')]);
}"""


def headings() -> set[str]:
    """Return the headings of the dialogs in the page's scripts, but for that of acts."""
    return {each for path in FOLDER.rglob("*.js") for each in HEADED.findall(path.read_text())} - {"act"}


def acts() -> Iterator[tuple[str, str]]:
    """Yield the acts that ask something, each by the console that it is in and the name of its verb's text."""
    for path in (FOLDER / "screens").rglob("*.js"):
        code = path.read_text()
        for verb in VERB.findall(code):
            keys = KEY.findall(verb)
            if not keys:
                found = re.search(rf"const {verb} = (.*);$", code, re.MULTILINE)
                assert found, f"{path.name}: {verb}"
                keys = KEY.findall(found[1])
            yield from ((path.parent.name, key) for key in keys)


class Seen:
    """The dialogs that were looked at, and what was found in them."""

    def __init__(self) -> None:
        self.headings: set[str] = set()
        self.verbs: set[tuple[str, str]] = set()
        self.faults: list[Any] = []

    async def look(self, page: Page) -> None:
        """Look at the open dialog in every color scheme, on a narrow screen."""
        dialog = page.locator("dialog[open]")
        await expect(dialog).to_be_visible()
        heading = str(await dialog.get_attribute("aria-labelledby"))
        name = await dialog.locator("[type=submit]").first.inner_text() if heading == "act" else heading
        self.headings.add(heading)
        self.verbs.add((page.url.split("/")[3], name))
        for scheme in SCHEMES:
            await page.emulate_media(**scheme, reduced_motion="reduce")
            self.faults += [(name, scheme, each) for each in await findings(page, "dialog[open]")]
        right = await dialog.evaluate("dialog => Math.max(dialog.getBoundingClientRect().right, dialog.scrollWidth)")
        self.faults += [(name, "is wider than the screen", right)] if right > NARROW else []

    async def look_at_all(self, page: Page) -> None:
        """Open the dialog behind every button that asks something first, and close it by Escape."""
        buttons = page.locator("main button", has_text="…")
        for number in range(await buttons.count()):
            await buttons.nth(number).click()
            await self.look(page)
            await page.keyboard.press("Escape")
            await expect(page.locator("dialog")).to_have_count(0)


async def blocked(stack: RunningStack, player: Player) -> None:
    account = stack.endpoints["moderator"]
    token = await player.client.login(account["username"], account["password"])
    given = {"userId": player.user_id, "reason": "A test", "expiresAt": "2999-01-01T00:00:00Z"}
    await player.client.execute(BLOCK, {"input": given}, token)


async def test_no_act_of_a_console_asks_with_an_accessibility_finding(browser: Browser, stack: RunningStack) -> None:
    quiz_id, seen = await short_quiz(stack), Seen()
    context = await new_context(browser, stack, bypass_csp=True, viewport={"width": NARROW, "height": 800})
    page = await context.new_page()
    await become_admin(page, stack)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        await client.login(player.username, PASSWORD)  # a second session
        await answer_at_once(player)
        await adjust(stack, player.user_id, 5)

        async def is_shown() -> bool:
            await page.goto(f"/mod/players/{player.user_id}")
            await expect(page.locator(".history")).to_be_visible()
            rows = page.locator(".flags button, .history button")
            return await rows.count() >= 3

        await eventually(is_shown, "the player's flag, action and adjustment are on their page")
        await seen.look_at_all(page)
        await blocked(stack, player)

        async def is_blocked() -> bool:
            await page.reload()
            await expect(page.locator(".history")).to_be_visible()
            return await page.locator(".sanctions").count() == 1

        await eventually(is_blocked, "the player is blocked")
        await seen.look_at_all(page)
    await page.goto("/author")
    await page.get_by_role("button", name="New quiz").click()
    await seen.look(page)
    await page.goto(f"/author/q/{quiz_id}")
    await expect(page.get_by_role("button", name="Share…")).to_be_visible()
    await seen.look_at_all(page)
    words = {(where, verb) for where, verb in await page.evaluate(WORDS, [list(each) for each in acts()])}
    await context.close()
    assert words - seen.verbs == set()
    assert seen.faults == []


async def test_no_other_dialog_has_an_accessibility_finding(browser: Browser, stack: RunningStack) -> None:
    pin, _ = await open_room(stack, quiz_id := await short_quiz(stack))
    seen = Seen()
    async with visiting(browser, stack) as visitors:
        host = await visitors.host(f"/host/{pin}")
        await host.set_viewport_size({"width": NARROW, "height": 800})
        await visitors.player(pin, "Ada")
        await expect(host.get_by_role("heading", name="1 player")).to_be_visible()
        for name in ("Hosts", "All players"):
            await host.get_by_role("button", name=name).click()
            await expect(host.locator("dialog li"), name).to_have_count(1)
            await seen.look(host)
            if name == "Hosts":
                await host.keyboard.press("Escape")
        await host.locator("dialog li button").click()
        await seen.look(host)
        await host.keyboard.press("Escape")
        await host.get_by_role("button", name="End the room").click()
        await seen.look(host)
        await host.keyboard.press("Escape")

        page = await visitors.page("/")
        await sign_up(page, unique("ended"))
        await answer(page, quiz_id)
        await page.context.clear_cookies()
        await page.get_by_role("button", name="Hand in").click()
        await seen.look(page)
    assert headings() - seen.headings == set()
    assert seen.faults == []
