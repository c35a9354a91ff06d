"""A timed quiz in a real Chromium: what awaits is said before the start, and the time is the server's."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.browser.visitor import findings, points_of_result, sign_up
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints
from tests.servers import RunningStack, unique

IS_SAVED = 'Object.values(localStorage).some((kept) => kept.includes(\'"unsaved":[]\') && kept.includes(\'"q1":"a"\'))'


async def test_a_timed_quiz_is_resumed_anywhere_and_handed_in_when_its_time_is_up(
    page: Page, stack: RunningStack
) -> None:
    quiz_id = unique("timed-")
    definition = quiz_definition(quiz_id, max_attempts=2)
    definition.timing.limit_seconds, definition.timing.grace_seconds = 3600, 60
    await import_quiz(endpoints(stack), definition)
    await page.clock.install()
    await sign_up(page, unique("timed"))

    await page.goto(f"/q/{quiz_id}/2")  # nothing is shown before the start
    await expect(page.get_by_text("60 minutes from the start")).to_be_visible()
    await expect(page.get_by_text("2 of 2 attempts left")).to_be_visible()
    await expect(page.get_by_text("The time runs from the start")).to_be_visible()
    assert await findings(page) == []
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("heading", name="Question 1?")).to_be_visible()
    await expect(page.get_by_role("timer")).to_be_visible()
    assert await findings(page) == []
    await page.get_by_role("radio", name="This").check()
    await page.get_by_role("button", name="Next").click()
    await expect(page.get_by_role("heading", name="Question 2?")).to_be_visible()
    await page.get_by_role("button", name="Hide time").click()
    await expect(page.get_by_role("timer")).to_be_hidden()
    await page.reload()
    await expect(page.get_by_role("heading", name="Question 2?")).to_be_visible()
    await expect(page.get_by_role("button", name="Show time")).to_be_visible()

    await eventually(
        lambda: page.evaluate(IS_SAVED), "the answers are saved"
    )  # the CSP forbids a string to `wait_for_function`
    await page.evaluate("localStorage.clear()")  # another device
    await page.goto(f"/q/{quiz_id}")
    await expect(page.get_by_text("1 of 2 attempts left")).to_be_visible()
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_role("heading", name="Question 2?")).to_be_visible()
    await page.clock.fast_forward("59:30")
    await expect(page.locator("#announcement")).to_have_text("30 seconds left.")
    await page.clock.fast_forward("00:40")
    await expect(page.get_by_text("Time is up. Your answers were handed in.")).to_be_visible()
    assert await points_of_result(page) == 10
