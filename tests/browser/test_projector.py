"""A full room on a projector in a real Chromium: question after question it neither jumps nor keeps what is over.

How long its tasks take is measured by `make bench ARGS=projector`, for two minutes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from playwright.async_api import Browser, CDPSession, Page, expect

from services.cli.system.client import GraphqlClient
from tests.browser.test_quality import MAX_SHIFT, OBSERVE_SHIFTS
from tests.browser.visitor import QUIZ, new_context, sign_up
from tests.players import endpoints
from tests.screenshots.rooms import ANSWER, JOIN
from tests.servers import RunningStack, unique

PLAYERS: Final = 50
OPEN: Final = "mutation ($input: OpenRoomInput!) { openRoom(input: $input) { pin } }"
NEXT: Final = """mutation ($pin: ID!) {
  nextStep(pin: $pin) { room { phase questionNumber questionCount question { id options { id } } } }
}"""
# Scripts are compiled, and caches filled, by the first questions.
WARM_UP: Final = 4
MAX_GROWTH: Final = 0.1
MAX_NODES: Final = 20


async def held(session: CDPSession) -> dict[str, float]:
    """What the page still holds after a garbage collection: elements, listeners, bytes."""
    await session.send("HeapProfiler.collectGarbage")
    metrics: list[dict[str, Any]] = (await session.send("Performance.getMetrics"))["metrics"]
    return {each["name"]: each["value"] for each in metrics}


async def shown(page: Page, phase: str) -> None:
    await expect(page.locator(".stage")).to_have_attribute("data-phase", phase)


async def test_fifty_players_on_a_projector_move_nothing_and_leave_nothing(
    browser: Browser, stack: RunningStack
) -> None:
    context = await new_context(browser, stack, viewport={"width": 1920, "height": 1080})
    await context.add_init_script(OBSERVE_SHIFTS)
    page = await context.new_page()
    await page.goto("/")
    await sign_up(page, unique("screen"))
    account = stack.endpoints["moderator"]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(account["username"], account["password"])
        opened = {"quizId": QUIZ, "options": {"secondsPerQuestion": 600, "lockWhenAllAnswered": False}}
        pin = (await client.execute(OPEN, {"input": opened}, token))["openRoom"]["pin"]
        await page.goto(f"/screen/{pin}")
        await shown(page, "LOBBY")
        session = await context.new_cdp_session(page)
        await session.send("Performance.enable")

        async def seat(number: int) -> str:
            joined = await client.execute(JOIN, {"input": {"pin": pin, "nickname": f"Player {number}"}})
            return str(joined["joinRoom"]["accessToken"])

        seats = await asyncio.gather(*map(seat, range(PLAYERS)))
        await expect(page.get_by_role("heading", name=f"{PLAYERS} players")).to_be_visible()

        async def step(phase: str) -> dict[str, Any]:
            room: dict[str, Any] = (await client.execute(NEXT, {"pin": pin}, token))["nextStep"]["room"]
            assert room["phase"] == phase
            await shown(page, phase)
            return room

        boards: list[dict[str, float]] = []
        last = False
        while not last:
            room = await step("QUESTION")
            question, number = room["question"], room["questionNumber"]
            last = number == room["questionCount"]

            async def answer(place: int, option: str, question_id: str = question["id"]) -> None:
                given = {"pin": pin, "questionId": question_id, "answer": {"selectedOption": option}}
                await client.execute(ANSWER, {"input": given}, seats[place])

            options = [each["id"] for each in question["options"]]
            given = [options[place * number // 3 % len(options)] for place in range(PLAYERS)]
            await asyncio.gather(*map(answer, range(PLAYERS), given))
            await expect(page.get_by_text(f"{PLAYERS} of {PLAYERS} players answered")).to_be_visible()
            for phase in ("LOCKED", "REVEAL", "BOARD"):
                await step(phase)
            await expect(page.locator(".rows li")).to_have_count(10)
            boards.append(await held(session))
        await step("PODIUM")
        await expect(page.locator(".step")).to_have_count(3)
        assert await page.evaluate("shift") < MAX_SHIFT
    before, after = boards[WARM_UP], boards[-1]
    assert after["JSEventListeners"] <= before["JSEventListeners"]
    assert after["Nodes"] <= before["Nodes"] + MAX_NODES
    assert after["JSHeapUsedSize"] <= (1 + MAX_GROWTH) * before["JSHeapUsedSize"]
    await context.close()
