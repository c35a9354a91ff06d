"""A change of a player's score by others is said once, in words, in a real Chromium."""

from __future__ import annotations

import re

from playwright.async_api import Browser, Page, Response, expect
from topten.quiz.v1 import quiz_pb2

from services.cli.quizzes.quiz_rejudge import rejudge_quiz
from tests.browser.test_quality import MAX_SHIFT, OBSERVE_SHIFTS, look
from tests.browser.visitor import adjust, new_context, play, short_quiz, sign_up
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints
from tests.servers import RunningStack, unique

OWN_ID = "async () => (await (await fetch('/graphql', { method: 'POST', headers: { 'Content-Type': 'application/json', "
OWN_ID += (
    "'Topten-Session': 'cookie' }, body: JSON.stringify({ query: '{ me { userId } }' }) })).json()).data.me.userId"
)


def is_about_notices(response: Response) -> bool:
    return "{ notices {" in (response.request.post_data or "")


async def visit_without_notices(page: Page, path: str) -> None:
    async with page.expect_response(is_about_notices) as told:
        await page.goto(path)
    assert (await (await told.value).json())["data"]["notices"]["notices"] == []
    await expect(page.locator("#notices")).to_be_empty()


async def test_a_change_is_told_on_every_device_until_it_is_seen_on_one(browser: Browser, stack: RunningStack) -> None:
    """The open page says it at once, another device with its next visit; once seen, it goes from both. Nothing jumps."""
    quiz_id, name = await short_quiz(stack), unique("told")
    one, other = [await new_context(browser, stack, bypass_csp=True) for _ in range(2)]
    try:
        await one.add_init_script(OBSERVE_SHIFTS)
        page = await one.new_page()
        await page.goto("/")
        await sign_up(page, name)
        await play(page, quiz_id, options=(2, 1))
        await visit_without_notices(page, "/")
        await expect(page.locator(".state")).to_have_text("Live")
        definition = quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM)
        definition.questions[0].correct_option = "b"
        await import_quiz(endpoints(stack), definition)
        await rejudge_quiz(endpoints(stack), quiz_id, "Question 1 had the wrong key", dry_run=False)
        status = page.get_by_role("status").and_(page.locator("#notices"))
        await expect(status).to_contain_text(f"The author corrected \u2068About {quiz_id}\u2069: 10 → 20 points.")
        await expect(status).to_contain_text("Question 1 had the wrong key")
        assert await page.evaluate("shift") < MAX_SHIFT
        assert await look(page) == []
        second = await other.new_page()
        await second.clock.install()
        await second.goto("/")
        await second.get_by_label("Name").fill(name)
        await second.get_by_label("Password").fill(PASSWORD)
        await second.get_by_role("button", name="Sign in").click()
        await expect(second.locator("#notices li")).to_have_count(1)
        await adjust(stack, await second.evaluate(OWN_ID), -5)
        for each in (page, second):
            await expect(each.locator("#notices li").first).to_contain_text(
                "A moderator adjusted your score: 20 → 15 points."
            )
            await expect(each.locator("#notices li")).to_have_count(2)
        # Points of the player's own change nothing about it.
        kept = await page.locator("#notices section").element_handle()
        async with page.expect_response(is_about_notices):
            await play(second, quiz_id)
        await expect(page.locator(".own-points")).to_have_text("25 points")
        assert await page.evaluate("kept => kept.isConnected", kept)
        # A quiz is played without it, and it is there again afterwards.
        await page.goto(f"/q/{quiz_id}")
        await expect(page.get_by_role("link", name="Start")).to_be_visible()
        await expect(page.locator("#notices")).to_be_empty()
        for each in (page, second):
            await each.goto("/b/weekly")
            await expect(each.locator("#notices li")).to_have_count(2)
        await page.set_viewport_size({"width": 320, "height": 640})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
        async with page.expect_response(lambda each: "markNoticesSeen" in (each.request.post_data or "")):
            await page.get_by_role("region", name="Changes of your score").get_by_role("button", name="Got it").click()
        await expect(page.locator("#notices")).to_be_empty()
        await expect(page.locator("main")).to_be_focused()
        await second.clock.fast_forward(10_000)
        await expect(second.locator("#notices")).to_be_empty()
        await visit_without_notices(page, "/b/all")
        await visit_without_notices(second, "/")
        await expect(second.locator("#name")).to_have_text(re.compile(name))
    finally:
        await one.close()
        await other.close()
