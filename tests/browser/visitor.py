"""What a visitor does with the page."""

from __future__ import annotations

import re
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, Request, expect
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from tests.deadline import deadline_seconds
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.node import FOLDER
from tests.players import PASSWORD, endpoints
from tests.servers import RunningStack, unique

QUIZ = "arithmetic-sprint"
PICTURES = "pictures.example"
FOUR_RIGHT = [("q1", "c"), ("q2", "b"), ("q3", "b"), ("q4", "c")]
ADJUST = "mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { success } }"

AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
# What still fades in has the contrast of nothing that a player reads.
AT_REST = """async () => {
  const moving = () => document.getAnimations().filter((each) => each.effect.getTiming().iterations !== Infinity);
  while (moving().length) await Promise.allSettled(moving().map((each) => each.finished));
}"""


async def new_context(browser: Browser, stack: RunningStack, **options: Any) -> BrowserContext:
    """Open a browser profile of a new visitor."""
    context = await browser.new_context(base_url=stack.http, **options)
    context.set_default_timeout(deadline_seconds() * 1000)
    return context


def requests_of(page: Page) -> list[Request]:
    """Return a list that grows with the requests of a page."""
    requests: list[Request] = []

    def record(request: Request) -> None:
        requests.append(request)

    page.on("request", record)
    return requests


async def sign_up(page: Page, name: str, country: str = "vn") -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_label("Country").fill(country)
    await page.get_by_role("button", name="Create account").click()
    await expect(page.locator("#name")).to_have_text(name)


async def short_quiz(stack: RunningStack, **changes: Any) -> str:
    """Import a quiz of two questions, whose first option is right, and return its id."""
    quiz_id = unique("page-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM, **changes))
    return quiz_id


async def play(page: Page, quiz_id: str, *, options: tuple[int, ...] = (1, 1)) -> int:
    """Answer a quiz from its first page to the result, with these options in turn; return the points."""
    await answer(page, quiz_id, options=options)
    await page.get_by_role("button", name="Hand in").click()
    return await points_of_result(page)


async def answer(page: Page, quiz_id: str, *, options: tuple[int, ...] = (1, 1)) -> None:
    """Answer a quiz, and stop before handing in."""
    await page.goto(f"/q/{quiz_id}")
    await page.get_by_role("link", name="Start").click()
    for number, option in enumerate(options, start=1):
        await expect(page).to_have_url(re.compile(f"/q/{quiz_id}/{number}$"))
        await page.locator(".option").nth(option - 1).click()
        await page.locator(".question-foot button").click()
    await expect(page).to_have_url(re.compile("/review$"))


async def points_of_result(page: Page) -> int:
    heading = page.get_by_role("heading", name=re.compile(r"^\+[\d,]+ points?$"))
    return int((await heading.inner_text()).split()[0].replace(",", ""))


async def adjust(stack: RunningStack, user_id: str, delta: int) -> None:
    """Add points to a player's score, as a moderator."""
    account = stack.endpoints["moderator"]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(account["username"], account["password"])
        await client.execute(ADJUST, {"input": {"userId": user_id, "delta": delta, "reason": "a test"}}, token)


async def findings(page: Page, within: str = "html") -> list[Any]:
    """Return what axe-core finds on a page at rest, or within elements of a selector."""
    await page.evaluate(AT_REST)
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())  # not subject to the page's Content-Security-Policy, as a tag would be
    result = await page.evaluate("within => axe.run(within, { resultTypes: ['violations'] })", within)
    return [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in result["violations"]]
