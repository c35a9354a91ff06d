"""The screens of a room: its host, a projector and a player, from the lobby to the podium."""

from __future__ import annotations

import random
import re
from typing import Final

from playwright.async_api import Browser, Page, expect

from services.cli.system.client import GraphqlClient
from tests.browser.visitor import QUIZ, new_context
from tests.players import endpoints, register
from tests.screenshots.camera import ALL, Camera
from tests.servers import RunningStack

JOIN: Final = "mutation ($input: JoinRoomInput!) { joinRoom(input: $input) { accessToken } }"
ANSWER: Final = "mutation ($input: AnswerRoomQuestionInput!) { answerRoomQuestion(input: $input) { duplicate } }"
NICKNAMES: Final = (
    *("Amélie", "Björn", "Chidi", "Dilan", "Ekaterina", "Fatou", "Giulia", "Hugo", "Ίρις", "Jamal", "Kaia", "Łucja"),
    *("Maximilian-Alexander", "Nour", "Oskar", "Priya"),
)
HELPER: Final = "Benedikta"
PROJECTOR: Final = ["projector"]
PHONE: Final = ["phone"]
SEED: Final = 5
# The right options of the first questions, and how many of them each of the simulated players knows.
RIGHT: Final = "cbbc"
KNOWN: Final = (4, 2, 1, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1)


class Guests:
    """Simulated players in a room."""

    def __init__(self, client: GraphqlClient, pin: str) -> None:
        self._client = client
        self._pin = pin
        self._tokens: list[str] = []
        self._dice = random.Random(SEED)  # the same answers in every run, not a secret

    async def join(self) -> None:
        """Take their seats."""
        for nickname in NICKNAMES:
            joined = await self._client.execute(JOIN, {"input": {"pin": self._pin, "nickname": nickname}})
            self._tokens.append(joined["joinRoom"]["accessToken"])

    async def answer(self, number: int) -> None:
        """Let those answer of whom it is known what they know."""
        right = RIGHT[number - 1]
        for token, known in zip(self._tokens, KNOWN, strict=False):
            option = right if number <= known else self._dice.choice("abcd".replace(right, ""))
            given = {"pin": self._pin, "questionId": f"q{number}", "answer": {"selectedOption": option}}
            await self._client.execute(ANSWER, {"input": given}, token)


async def rooms(browser: Browser, stack: RunningStack, camera: Camera) -> None:
    """Open a room, play the first questions of it, and end it."""
    context = await new_context(browser, stack, bypass_csp=True, reduced_motion="reduce")
    host = await context.new_page()
    await host.goto("/")
    account = stack.endpoints["moderator"]
    await host.get_by_label("Name").fill(account["username"])
    await host.get_by_label("Password").fill(account["password"])
    await host.get_by_role("button", name="Sign in").click()
    await expect(host.locator("#name")).to_have_text(account["username"])
    await host.goto(f"/q/{QUIZ}/host")
    await expect(host.get_by_role("button", name="Open the room")).to_be_visible()
    await camera.take(host, "open-room")
    await host.get_by_label("Time for each question").select_option(label="2 minutes")
    await host.get_by_role("button", name="Open the room").click()
    await host.wait_for_url(re.compile(r"/host/\d+$"))
    pin = host.url.rpartition("/")[2]
    screen = await context.new_page()
    await screen.goto(f"/screen/{pin}")
    await shown("LOBBY", host, screen)
    await camera.take(screen, "projector-empty", sizes=PROJECTOR, schemes=["dark"])
    await camera.take(host, "host-empty", schemes=["dark"])

    others = await new_context(browser, stack, bypass_csp=True, reduced_motion="reduce")
    seat = await others.new_page()
    await seat.goto(f"/j/{pin}")
    await seat.get_by_label("Your name in this room").fill("Ines")
    await camera.take(seat, "join", sizes=PHONE)
    await seat.get_by_role("button", name="Join", exact=True).click()
    await expect(seat.get_by_role("heading", name="You are in!")).to_be_visible()
    async with GraphqlClient(endpoints(stack).graphql) as client:
        await register(client, username=HELPER)
        guests = Guests(client, pin)
        await guests.join()
        await play(host, screen, seat, guests, camera)
    await others.close()
    await context.close()


async def play(host: Page, screen: Page, seat: Page, guests: Guests, camera: Camera) -> None:
    """Step from the lobby to the end, and take each phase once."""
    count = len(NICKNAMES) + 1
    for page in (host, screen):
        await expect(page.get_by_role("heading", name=f"{count} players")).to_be_visible()

    async def take(phase: str) -> None:
        await camera.take(host, f"host-{phase}", schemes=ALL)
        await camera.take(screen, f"projector-{phase}", sizes=PROJECTOR, schemes=ALL)
        await camera.take(seat, f"seat-{phase}", sizes=PHONE, schemes=ALL)

    async def step(phase: str) -> None:
        await host.locator(".go").click()
        await shown(phase, host, screen, seat)

    await take("lobby")
    for number, right in enumerate(RIGHT, start=1):
        await step("QUESTION")
        is_last = number == len(RIGHT)
        await seat.get_by_role("radio").nth(ord("d" if is_last else right) - ord("a")).check(force=True)
        await seat.get_by_role("button", name="Answer").click()
        await guests.answer(number)
        await expect(screen.get_by_text(f"{len(KNOWN) + 1} of {count} players answered")).to_be_visible()
        await (take("question") if number == 1 else step("LOCKED"))
        if number == 1:
            await step("LOCKED")
        await step("REVEAL")
        await expect(seat.locator(".verdict")).to_contain_text("points")
        if number == 1:
            await take("reveal")
        await step("BOARD")
        await expect(seat.locator(".rows li")).to_have_count(10)
        if is_last:
            await take("board")
    await host.get_by_role("button", name=re.compile("Ines|Björn")).first.click()
    await expect(host.get_by_role("dialog")).to_be_visible()
    await camera.take(host, "host-dialog", schemes=["dark"])
    await host.keyboard.press("Escape")
    await expect(host.get_by_role("dialog")).to_have_count(0)
    await host.locator("[aria-keyshortcuts=h]").click()
    await host.get_by_label("Another host").fill(HELPER)
    await host.keyboard.press("Enter")
    await expect(host.get_by_role("dialog").get_by_role("listitem")).to_have_count(2)
    await camera.take(host, "host-hosts", schemes=["dark"])
    await host.keyboard.press("Escape")
    await finish(host, screen, seat)
    await take("podium")
    await step("ENDED")
    await expect(host.get_by_role("table")).to_be_visible()
    await take("end")
    await host.emulate_media(media="print")
    await camera.take(host, "host-print", sizes=["desktop"], schemes=["light"])


async def finish(host: Page, screen: Page, seat: Page) -> None:
    """Pass over the other questions, to the podium."""
    phase = "BOARD"
    while phase != "PODIUM":
        progress = await host.locator(".count").inner_text()
        await host.locator("[aria-keyshortcuts=s]" if phase == "QUESTION" else ".go").click()
        following = {"QUESTION": "REVEAL", "REVEAL": "BOARD", "BOARD": "QUESTION"}[phase]
        is_last = phase == "BOARD" and progress.startswith("Question 10 ")
        phase = "PODIUM" if is_last else following
        await shown(phase, host)
    await shown("PODIUM", host, screen, seat)


async def shown(phase: str, *pages: Page) -> None:
    for page in pages:
        await expect(page.locator(".stage")).to_have_attribute("data-phase", phase)
