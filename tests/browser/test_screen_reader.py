"""A whole quiz and a whole room through the accessibility tree alone, in a real Chromium, from the first page on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext
from topten.quiz.v1 import quiz_pb2

from tests.browser.screen_reader import ScreenReader
from tests.browser.visitor import new_context
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints
from tests.servers import RunningStack, unique

Visit = Callable[[], Awaitable[ScreenReader]]


@pytest_asyncio.fixture
async def visit(browser: Browser, stack: RunningStack) -> AsyncIterator[Visit]:
    """Opens the first page in browsers of their own."""
    contexts: list[BrowserContext] = []

    async def open_one() -> ScreenReader:
        contexts.append(await new_context(browser, stack))
        page = await contexts[-1].new_page()
        await page.goto("/")
        return await ScreenReader.open(page)

    yield open_one
    for context in contexts:
        await context.close()


@pytest_asyncio.fixture
async def title(stack: RunningStack) -> str:
    """The title of a quiz of two questions, whose first option is right, at the top of the list."""
    quiz_id = unique("a-heard-")
    definition = quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM)
    definition.feedback = quiz_pb2.FEEDBACK_ANSWERS
    await import_quiz(endpoints(stack), definition)
    return f"About {quiz_id}"


async def test_a_whole_quiz_is_played_through_the_accessibility_tree(visit: Visit, title: str) -> None:
    reader = await visit()
    await reader.hear("Sign in", "button")
    await reader.fill("Name", "x")
    await reader.activate("button", "Create account")
    refused = await reader.hear("Name", "textbox")
    assert refused.states["invalid"] == "true"
    await reader.hear("Use 2 to 32 letters")
    await reader.fill("Name", unique("heard"))
    await reader.fill("Password", PASSWORD)
    await reader.activate("button", "Create account")

    await reader.hear("Quizzes", "heading")
    await reader.activate("link", title)
    await reader.hear(title, "heading")
    await reader.hear("2 questions")
    await reader.activate("link", "^Start")
    for number, option in ((1, "That"), (2, "This")):
        await reader.hear(f"Question {number}\\?", "heading")
        await reader.hear(f"Question {number} of 2", "progressbar")
        await reader.activate("radio", option, "Space")
        assert (await reader.hear(option, "radio")).states["checked"] == "true"
        await reader.activate("button", "Next" if number == 1 else "Review")
    await reader.hear("You have answered every question")
    await reader.activate("link", "Change question 1")
    await reader.hear("Question 1\\?", "heading")
    await reader.activate("radio", "This", "Space")
    await reader.activate("button", "Next")
    await reader.hear("Question 2\\?", "heading")
    assert (await reader.hear("This", "radio")).states["checked"] == "true"
    await reader.activate("button", "Review")
    await reader.activate("button", "Hand in")
    await reader.hear("^\\+20 points$", "heading")
    await reader.hear("2 of 2 correct")
    await reader.hear("^Right · 10 points$")
    await reader.hear("^You are \\d+(st|nd|rd|th) with 20 points.$")
    await reader.activate("link", "^Leaderboard$")
    await reader.activate("link", "^This week$")
    await reader.hear("This week", "heading")
    await reader.hear("^You · \\d+(st|nd|rd|th)$")


async def test_a_whole_room_is_led_and_played_through_the_accessibility_tree(
    visit: Visit, title: str, stack: RunningStack
) -> None:
    host, player = await visit(), await visit()
    account = stack.endpoints["moderator"]
    await host.fill("Name", account["username"])
    await host.fill("Password", account["password"])
    await host.press("Enter")
    await host.activate("link", title)
    await host.activate("link", "Host a room")
    await host.hear("Host a room", "heading")
    await host.activate("button", "Open the room")
    await host.hear("Waiting for players", "heading")
    pin = re.sub(r"\D", "", (await host.hear(r"^\d{3}\s\d{3,4}$")).name)

    await player.fill("Join a room", pin)
    await player.activate("button", "^Enter$")
    await player.fill("Your name in this room", "Ada")
    await player.press("Enter")
    await player.hear("You are in!", "heading")
    await host.hear("1 player", "heading")
    await host.hear("Ada", "button")
    await host.activate("button", "^Start")
    for number in (1, 2):
        for reader in (host, player):
            await reader.hear(f"Question {number}\\?", "heading")
            await reader.hear("^This$")
        await player.activate("radio", "This", "Space")
        await player.activate("button", "^Answer$")
        await player.hear("Your answer is in|No more answers")
        await host.hear("1 of 1 player answered")
        await host.activate("button", "^Show the answer")
        await player.hear("^Right · 10 points$")
        await host.activate("button", "^Show the standings")
        await player.hear("Standings", "heading")
        await player.hear(f"^{10 * number}( points)?$")
        await host.activate("button", "^Next question" if number == 1 else "^Show the podium")
    for reader in (host, player):
        await reader.hear("The podium", "heading")
        await reader.hear("Ada")
    await host.activate("button", "^End the room", "Space")
    await player.hear("That’s all")
    await host.hear("Results", "heading")
    assert (await host.hear("Question 1: 1 of 1 right", "progressbar")).value
    await host.hear("^Ada$", "cell")
    await host.hear("Download as CSV", "button")
