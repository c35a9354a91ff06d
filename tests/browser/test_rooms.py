"""A live room in a real Chromium: its host, two players and a projector, each in a browser of their own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from playwright.async_api import Browser, BrowserContext, Page, expect
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from tests.browser.test_quality import MAX_SHIFT, OBSERVE_SHIFTS, SCHEMES
from tests.browser.test_question_kinds import NARROW, press, tab_to
from tests.browser.visitor import findings, new_context, short_quiz
from tests.factories import every_kind, quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints
from tests.servers import RunningStack, unique

CONTROLS = [
    "Lock the answers",
    "15 s more",
    "Skip to the answer",
    "Freeze the board",
    "Let nobody else in",
    "All players",
    "Hosts",
    "End the room",
]
LOCK = "mutation ($pin: ID!) { lockRoom(pin: $pin, locked: true) { version } }"
# In forced colors a share is its lower border.
NO_SHARE_CROSSES_TEXT = """choices => choices.every(choice => {
  const share = choice.querySelector('.share');
  const { borderBlockEndWidth: height, borderInlineEndWidth: side } = getComputedStyle(share);
  const top = share.getBoundingClientRect().bottom - parseFloat(height);
  const texts = [...choice.querySelectorAll('kbd, bdi, .you, .right, .votes')];
  return parseFloat(height) >= 4 && side === '0px' && texts.every(each => each.getBoundingClientRect().bottom <= top);
})"""
FULL_POINTS = "A right answer earns all points, however long it takes."
COUNTS = "Answers of accounts count on the leaderboards"
OPEN = "mutation ($input: OpenRoomInput!) { openRoom(input: $input) { pin } }"


@dataclass
class Visitors:
    """Opens browsers of their own; each can check a page for accessibility, which the page's policy would refuse."""

    browser: Browser
    stack: RunningStack
    contexts: list[BrowserContext]

    async def page(self, path: str, *, width: int = NARROW, height: int = 800) -> Page:
        context = await new_context(
            self.browser, self.stack, bypass_csp=True, viewport={"width": width, "height": height}
        )
        self.contexts.append(context)
        await context.add_init_script(OBSERVE_SHIFTS)
        page = await context.new_page()
        await page.goto(path)
        return page

    async def host(self, path: str) -> Page:
        """A page of the moderator, who may host."""
        page = await self.page("/", width=1280)
        account = self.stack.endpoints["moderator"]
        await page.get_by_label("Name").fill(account["username"])
        await page.get_by_label("Password").fill(account["password"])
        await page.keyboard.press("Enter")
        await expect(page.locator("#name")).to_have_text(account["username"])
        await page.goto(path)
        return page

    async def player(self, pin: str, nickname: str) -> Page:
        """A page of a guest in the lobby, who has come by keyboard alone."""
        page = await self.page(f"/j/{pin}")
        await expect(page.get_by_label("Your name in this room")).to_be_focused()
        await page.keyboard.type(nickname)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="You are in!")).to_be_visible()
        return page


@asynccontextmanager
async def visiting(browser: Browser, stack: RunningStack) -> AsyncIterator[Visitors]:
    visitors = Visitors(browser, stack, [])
    yield visitors
    for context in visitors.contexts:
        await context.close()


async def open_room(stack: RunningStack, quiz_id: str, **options: object) -> tuple[str, str]:
    """Open a room as the moderator; return its PIN and their token."""
    account = stack.endpoints["moderator"]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(account["username"], account["password"])
        pin = (await client.execute(OPEN, {"input": {"quizId": quiz_id, "options": options}}, token))["openRoom"]["pin"]
    return pin, token


async def check(*pages: Page) -> None:
    """Expect pages to be accessible in every color scheme, and as wide as their windows."""
    for page in pages:
        for scheme in SCHEMES:
            await page.emulate_media(**scheme, reduced_motion="reduce")
            assert await findings(page) == [], page.url
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url


async def marks(page: Page) -> list[tuple[str, str, str]]:
    """The number, the shape and the color of each option, in the order of the page."""
    await page.emulate_media(color_scheme="dark", contrast="no-preference", forced_colors="none")
    found = await page.locator(":is(.option, .choice) kbd").evaluate_all(
        "all => all.map(each => [each.textContent, getComputedStyle(each).clipPath, getComputedStyle(each).backgroundColor])"
    )
    return [(number, shape, color) for number, shape, color in found]


async def shown(phase: str, *pages: Page) -> None:
    for page in pages:
        await expect(page.locator(".stage")).to_have_attribute("data-phase", phase)


async def test_a_whole_room_by_keyboard_alone(browser: Browser, stack: RunningStack) -> None:
    definition = every_kind(unique("room-"))
    del definition.questions[2]
    await import_quiz(endpoints(stack), definition)
    async with visiting(browser, stack) as visitors:
        host = await visitors.host(f"/q/{definition.quiz_id}")
        await tab_to(host, host.get_by_role("link", name="Host a room"))
        await host.keyboard.press("Enter")
        await check(host)
        await expect(host.get_by_label(COUNTS)).to_have_count(0)  # its authors do not let rooms count
        await tab_to(host, host.get_by_label("Time for each question"))
        await press(host, "End")
        await tab_to(host, host.get_by_role("button", name="Open the room"))
        await host.keyboard.press("Enter")
        await host.wait_for_url(re.compile(r"/host/\d+$"))
        pin = host.url.rpartition("/")[2]
        await expect(host.get_by_role("img", name=f"QR code of the room {pin}")).to_be_visible()
        await expect(host.get_by_text(f"/j/{pin}")).to_be_visible()
        screen = await host.context.new_page()
        await screen.set_viewport_size({"width": 1920, "height": 1080})
        await screen.goto(f"/screen/{pin}")
        ada, ben = await visitors.player(pin, "Ada"), await visitors.player(pin, "Ben B.")
        for page in (host, screen):
            await expect(page.get_by_role("heading", name="2 players")).to_be_visible()
        everybody, screens = (host, screen, ada, ben), (host, screen, ada)
        await check(*screens)

        await host.bring_to_front()
        await host.keyboard.press(" ")
        await shown("QUESTION", *everybody)
        await expect(ada.locator("#announcement")).to_have_text(
            "Question 1 of 6: A single question? · 300 seconds left"
        )
        await expect(ada.get_by_role("timer")).to_contain_text(re.compile(r"\d+ seconds left"))
        marked = await marks(host)
        for values in zip(*marked, strict=True):
            assert len({*values}) == 4, "options differ in number, shape and color"
        for page in (screen, ada, ben):
            assert await marks(page) == marked, page.url
        await check(*screens)
        # The order of Tab and of a screen reader: the question, what to do about it, how to join.
        controls = await host.locator("main :is(a, button):visible").all_inner_texts()
        assert [text.split("\n")[0] for text in controls] == ["Projector", *CONTROLS]
        read = await host.locator("main").aria_snapshot()
        places = [read.index(each) for each in ("Question 1 of 6", "A single question?", "Controls", "QR code")]
        assert places == sorted(places), read
        assert await screen.locator(".choice bdi").first.evaluate("e => parseFloat(getComputedStyle(e).fontSize)") >= 44
        await press(ada, "1", "Enter")
        await expect(ada.locator(".sending")).to_have_text("Your answer is in.")
        for page in (host, screen, ben):
            await expect(page.get_by_text("1 of 2 players answered")).to_be_visible()
        # A reload returns to the seat, with what was answered and what was only chosen.
        await press(ben, "2")
        for page in (ada, ben):
            await page.reload()
        await expect(ada.locator(".choice", has_text="Option a").get_by_text("You")).to_be_visible()
        await expect(ben.get_by_role("radio", name="Option b")).to_be_checked()
        await ben.keyboard.press("Enter")
        await shown("LOCKED", *everybody)  # everybody has answered
        await host.keyboard.press(" ")
        await shown("REVEAL", *everybody)
        await expect(ada.locator(".verdict")).to_have_text("Right · 12 points")
        await expect(ben.locator("#announcement")).to_have_text("Wrong · 0 points. The right answer: Option a")
        for page in (host, screen, ben):
            await expect(page.locator(".choice[data-right=true]")).to_contain_text("Option a")
            await expect(page.locator(".choice .votes > :first-child")).to_have_text(["1", "1", "0", "0"])
            assert await marks(page) == marked, page.url
        await check(*screens)
        for page in screens:
            await page.emulate_media(forced_colors="active")
            assert await page.locator(".choice").evaluate_all(NO_SHARE_CROSSES_TEXT), page.url
        await host.keyboard.press(" ")
        await shown("BOARD", *everybody)
        await expect(ada.locator(".own-place")).to_have_text("Ada1st · 12 points")
        await host.keyboard.press("f")
        for page in everybody:
            await expect(page.get_by_text("The board is frozen until the podium.").first).to_be_visible()
        await host.keyboard.press("f")
        await expect(host.get_by_text("The board is frozen")).to_be_hidden()
        await host.keyboard.press("b")
        await shown("REVEAL", *everybody)
        await host.keyboard.press(" ")
        await shown("BOARD", *everybody)

        for name in ("multiple", "numeric", "text", "ordering", "matching"):
            await host.keyboard.press(" ")
            await expect(ada.get_by_role("heading", name=f"A {name} question?")).to_be_visible()
            assert await findings(ada) == []
            if name == "multiple":
                await press(ada, "1", "3", "Enter")
            elif name in ("numeric", "text"):
                await tab_to(ada, ada.get_by_role("textbox", name=f"A {name} question?"))
                await ada.keyboard.type("3.14" if name == "numeric" else "saigon")
                await ada.keyboard.press("Enter")
            elif name == "ordering":
                await tab_to(ada, ada.get_by_role("button", name="Move down: Option a"))
                await ada.keyboard.press("Alt+ArrowDown")
                await tab_to(ada, ada.get_by_role("button", name="Answer"))
                await ada.keyboard.press("Enter")
            else:
                await tab_to(ada, ada.get_by_role("combobox", name="Option a"))
                await ada.keyboard.press("ArrowDown")
                await tab_to(ada, ada.get_by_role("button", name="Answer"))
                await ada.keyboard.press("Enter")
            await expect(ada.locator(".sending")).to_have_text("Your answer is in.")
            await host.keyboard.press("s")
            await shown("REVEAL", *everybody)
            await expect(ben.locator(".verdict")).to_have_text("Not answered · 0 points")
            assert await findings(ada) == []
            await host.keyboard.press(" ")
            await shown("BOARD", *everybody)
        await host.keyboard.press(" ")
        await shown("PODIUM", *everybody)
        for page in everybody:
            await expect(page.locator(".step[data-rank='1']")).to_contain_text("Ada1st")
        for page in screens:  # with reduced motion
            await expect(page.locator(".step[data-rank='1']")).to_have_css("animation-name", "none")
        await check(*screens)
        await host.keyboard.press(" ")
        await shown("ENDED", *everybody)
        await expect(host.get_by_role("row", name=re.compile("^1 Ada"))).to_be_visible()
        async with host.expect_download() as download:
            await tab_to(host, host.get_by_role("button", name="Download as CSV"))
            await host.keyboard.press("Enter")
        rows = (await (await download.value).path()).read_text("utf-8-sig").splitlines()
        assert rows[0].startswith("rank,nickname,points,attempt,")
        assert rows[2].startswith("2,Ben B.,0,")
        for page in (screen, ada):
            await expect(page.locator(".rows li:not(.settled) .gain:not(:empty)")).to_have_count(0)  # faded
        await check(*screens)
        for page in (ada, ben):
            assert await page.evaluate("shift") < MAX_SHIFT


async def test_as_many_options_as_a_question_may_have_differ_in_shape(browser: Browser, stack: RunningStack) -> None:
    definition = quiz_definition(unique("room-"), questions=1)
    del definition.questions[0].question.options[:]
    options = [quiz_pb2.Option(id=name, text=f"Option {name}") for name in "abcdefghij"]
    definition.questions[0].question.options.extend(options)
    definition.rooms_count_on_boards = True
    await import_quiz(endpoints(stack), definition)
    async with visiting(browser, stack) as visitors:
        host = await visitors.host(f"/q/{definition.quiz_id}/host")
        await host.get_by_label(COUNTS).check()
        await host.get_by_role("button", name="Open the room").click()
        await host.wait_for_url(re.compile(r"/host/\d+$"))
        ada = await visitors.player(host.url.rpartition("/")[2], "Ada")
        await host.keyboard.press(" ")
        await shown("QUESTION", host, ada)
        marked = await marks(ada)
        assert [number for number, _, _ in marked] == [str(number) for number in range(1, 11)]
        assert len({shape for _, shape, _ in marked}) == 10
        assert len({color for _, _, color in marked[:5]}) == len({color for _, _, color in marked[5:]}) == 5
        await check(ada)


async def test_a_player_who_drops_out_returns_and_one_who_is_removed_does_not(
    browser: Browser, stack: RunningStack
) -> None:
    pin, _ = await open_room(stack, await short_quiz(stack), secondsPerQuestion=600)
    async with visiting(browser, stack) as visitors:
        host = await visitors.host(f"/host/{pin}")
        ada, eve = await visitors.player(pin, "Ada"), await visitors.player(pin, "Eve")
        # Eve goes on with another device, by a code.
        left, eve = eve, await visitors.page(f"/j/{pin}")
        await left.get_by_text("Go on with another device").click()
        await left.get_by_role("button", name="Show a code").click()
        code = await left.get_by_role("status").locator("strong").inner_text()
        await eve.get_by_text("Go on from another device").click()
        field = eve.get_by_label("Code from the other device")
        await field.fill("2345 6789")
        await eve.keyboard.press("Enter")
        await expect(eve.locator("#code-fault")).to_have_text(re.compile("^This code is invalid"))
        await check(left, eve)
        await field.fill(code.lower())
        await eve.keyboard.press("Enter")
        await expect(eve.locator(".own-place .name")).to_have_text("Eve")
        await host.get_by_role("button", name="Ada").click()
        await host.get_by_label("Time for each question").select_option(label="No limit")
        full_points = host.get_by_label(FULL_POINTS)
        await tab_to(host, full_points)
        await host.keyboard.press(" ")
        await expect(full_points).to_be_checked()
        await check(host)
        await host.get_by_role("button", name="Done").click()
        await expect(host.get_by_role("dialog")).to_have_count(0)
        await host.get_by_role("button", name="Ada").click()
        await expect(full_points).to_be_checked()
        await host.get_by_role("button", name="Done").click()
        await expect(host.get_by_role("dialog")).to_have_count(0)
        await host.locator("body").press(" ")
        await shown("QUESTION", ada, eve)
        await expect(left.get_by_role("alert")).to_have_text("Your seat has moved to another device.")
        await expect(eve.get_by_role("timer")).to_be_visible()
        await expect(ada.get_by_role("timer")).to_be_hidden()
        await expect(ada.get_by_text(FULL_POINTS)).to_be_visible()
        await expect(eve.get_by_text(FULL_POINTS)).to_have_count(0)

        await ada.context.set_offline(True)
        await press(ada, "1", "Enter")
        await expect(ada.locator(".sending")).to_have_text(
            "Your answer is kept here and sent as soon as the server responds."
        )
        await ada.context.set_offline(False)
        await expect(ada.locator(".sending")).to_have_text("Your answer is in.")

        for phase in ("LOCKED", "REVEAL", "BOARD"):
            await host.locator("body").press(" ")
            await shown(phase, host, ada, eve)
        # Everybody is found by a part of the name, by keyboard alone.
        await press(host, "p")
        await expect(host.get_by_label("Find a player")).to_be_focused()
        await expect(host.locator(".everybody li")).to_have_count(2)
        await host.keyboard.type("ÈV")
        await expect(host.locator(".everybody li")).to_have_text(re.compile("^Eve"))
        await check(host)
        await press(host, "Tab", "Enter")
        await check(host)
        await tab_to(host, host.get_by_role("button", name="Remove from the room"))
        await host.keyboard.press("Enter")
        await expect(eve.get_by_role("alert")).to_have_text("The host has removed you from this room.")
        await eve.reload()
        await expect(eve.get_by_role("alert")).to_have_text("The host has removed you from this room.")
        await expect(ada.locator(".rows li")).to_have_count(1)
        # Another tab of the same guest has the same seat.
        again = await ada.context.new_page()
        await again.goto(f"/j/{pin}")
        await expect(again.locator(".own-place")).to_have_text("Ada1st · 10 points")
        # A guest keeps the place as a player.
        await host.get_by_role("button", name="End the room").click()
        await host.get_by_role("dialog").get_by_role("button", name="End the room").click()
        await shown("ENDED", ada, again)
        await again.get_by_role("link", name="Create account").click()
        await again.get_by_label("Name").fill(unique("ada"))
        await again.get_by_label("Password").fill(PASSWORD)
        await again.get_by_role("button", name="Create account").click()
        await expect(again.get_by_role("heading", name="Quizzes")).to_be_visible()
        await again.goto(f"/j/{pin}")
        await expect(again.locator(".own-place")).to_have_text("Ada1st · 10 points")


async def test_a_refusal_says_why_in_words(browser: Browser, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    pin, token = await open_room(stack, quiz_id, maxPlayers=2)
    accounts_only, _ = await open_room(stack, quiz_id, nicknames="USERNAME")
    async with visiting(browser, stack) as visitors:
        await visitors.player(pin, "Ada")
        page = await visitors.page("/")
        await page.get_by_label("Join a room").fill("12")
        await page.get_by_role("button", name="Enter").click()
        await expect(page.get_by_text("A PIN has 6 or 7 digits.")).to_be_visible()
        await check(page)
        await page.get_by_label("Join a room").fill(f"{pin[:3]} {pin[3:]}")
        await page.keyboard.press("Enter")
        field = page.get_by_label("Your name in this room")
        await field.fill("АDA")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert").first).to_have_text(re.compile("^Somebody here has this name"))
        await field.fill("x" * 25)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Use 1 to 24 visible characters.")).to_be_visible()
        await check(page)
        async with GraphqlClient(endpoints(stack).graphql) as client:
            await client.execute(LOCK, {"pin": pin}, token)
        await field.fill("Bea")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="The host has closed this room to new players.")).to_be_visible()
        await check(page)
        await page.goto(f"/j/{accounts_only}")
        await page.get_by_role("button", name="Join", exact=True).click()
        await expect(page.get_by_text("Only players with an account join this room.")).to_be_visible()
        await page.goto("/j/0000000")
        await expect(page.get_by_role("heading", name="There is no room with this PIN.")).to_be_visible()
