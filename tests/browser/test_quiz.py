"""A quiz in a real Chromium: every state has an address, and an answer is handed in exactly once."""

from __future__ import annotations

import re

from playwright.async_api import BrowserContext, Page, Route, expect
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from tests.browser.test_quality import MAX_SHIFT, OBSERVE_SHIFTS
from tests.browser.visitor import QUIZ, adjust, answer, play, points_of_result, requests_of, short_quiz, sign_up
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints, register
from tests.servers import RunningStack, unique


def number_in(text: str) -> int:
    return int(re.sub(r"\D", "", text))


async def test_reload_and_back_keep_question_and_answers(page: Page, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    await sign_up(page, unique("back"))
    await page.goto(f"/q/{quiz_id}/1")
    await page.locator(".option").nth(1).click()
    await page.get_by_role("button", name="Next").click()
    await expect(page.get_by_role("heading", name="Question 2?")).to_be_visible()
    await expect(page).to_have_title(re.compile(f"About {quiz_id}"))
    await page.reload()
    await expect(page.get_by_role("heading", name="Question 2?")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("heading", name="Question 1?")).to_be_visible()
    await expect(page.get_by_role("radio", name="That")).to_be_checked()
    await page.reload()
    await expect(page.get_by_role("radio", name="That")).to_be_checked()


async def test_the_review_names_what_is_not_answered(page: Page, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    await sign_up(page, unique("gaps"))
    await page.goto(f"/q/{quiz_id}")
    await expect(page.get_by_role("link", name="Host a room")).to_be_visible()  # as the operator allows players
    await page.goto(f"/q/{quiz_id}/1")
    await page.get_by_role("button", name="Next").click()
    await page.locator(".option").first.click()
    await page.get_by_role("button", name="Review").click()
    await expect(page.get_by_text("Not answered yet: question 1.")).to_be_visible()
    await page.get_by_role("link", name="Change question 1").click()
    await page.locator(".option").first.click()
    await page.goto(f"/q/{quiz_id}/review")
    await expect(page.get_by_text("You have answered every question.")).to_be_visible()
    await page.get_by_role("button", name="Hand in").click()
    assert await points_of_result(page) == 20
    await page.reload()
    assert await points_of_result(page) == 20, "a result has an address"


async def test_the_keyboard_alone_plays_a_whole_quiz(page: Page, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    await sign_up(page, unique("keys"))
    await page.goto(f"/q/{quiz_id}")
    await page.get_by_role("link", name="Start").focus()
    await page.keyboard.press("Enter")
    for number in (1, 2):
        await expect(page.get_by_role("heading", name=f"Question {number}?")).to_be_visible()
        await page.keyboard.press("1")
        await expect(page.get_by_role("radio", name="This")).to_be_checked()
        await page.keyboard.press("Enter")
    await expect(page.get_by_text("You have answered every question.")).to_be_visible()
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent") == "Hand in":
            break
    await page.keyboard.press("Enter")
    assert await points_of_result(page) == 20


async def test_attempts_are_shown_before_the_start(page: Page, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack, max_attempts=2)
    await sign_up(page, unique("limit"))
    await page.goto(f"/q/{quiz_id}")
    await expect(page.get_by_text("2 of 2 attempts left")).to_be_visible()
    await play(page, quiz_id)
    await page.get_by_role("link", name="Play again").click()
    await expect(page.get_by_text("1 of 2 attempts left")).to_be_visible()
    await play(page, quiz_id)
    await page.get_by_role("link", name="Play again").click()
    await expect(page.get_by_text("All 2 attempts used")).to_be_visible()
    await expect(page.get_by_role("link", name="Start")).to_have_count(0)


async def test_the_result_says_what_was_right_and_why_and_the_old_and_the_new_rank(
    page: Page, stack: RunningStack
) -> None:
    definition = quiz_definition(unique("told-"), counting=quiz_pb2.COUNTING_SUM)
    definition.feedback = quiz_pb2.FEEDBACK_ANSWERS
    definition.questions[1].explanation = "This is written first."
    await import_quiz(endpoints(stack), definition)
    told: list[str] = []

    async def note(route: Route) -> None:
        response = await route.fetch()
        told.append(await response.text())
        await route.fulfill(response=response)

    await sign_up(page, unique("told"))
    await page.route("**/graphql", note)
    await answer(page, definition.quiz_id, options=(1, 2))
    assert any("Question 2?" in text for text in told)
    assert not any("This is written first." in text for text in told), "no key before the answers"
    await page.unroute("**/graphql", note)
    await page.get_by_role("button", name="Hand in").click()
    await points_of_result(page)
    right, wrong = await page.locator(".outcome").all()
    await expect(right.locator(".verdict")).to_have_text("Right · 10 points")
    await expect(wrong.get_by_role("heading")).to_have_text("Question 2?")
    await expect(wrong.locator(".verdict")).to_have_text("Wrong · 0 points")
    assert await wrong.locator(":is(dt, dd)").all_inner_texts() == [
        *("You", "That"), *("Right", "This"), *("Why", "This is written first."),
    ]  # fmt: skip
    said = page.locator(".rank-change")
    await expect(said).to_have_text(re.compile(r"^You are \d+(st|nd|rd|th)\.$"))
    rank = number_in(await said.inner_text())
    async with GraphqlClient(endpoints(stack).graphql) as client:
        other = await register(client)
        await adjust(stack, other.user_id, 15)

        async def is_ahead() -> bool:
            return bool((await client.execute("{ me { score } }", {}, other.access_token))["me"]["score"] == 15)

        await eventually(is_ahead, "the other is ahead")
    await play(page, definition.quiz_id)
    await expect(said).to_have_text(re.compile(r"^You went from \d+(st|nd|rd|th) to \d+(st|nd|rd|th)\.$"))
    before, _, after = (await said.inner_text()).partition(" to ")
    assert number_in(before) == rank + 1
    assert number_in(after) <= rank


async def test_an_answer_waits_for_the_network(page: Page, context: BrowserContext, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    await sign_up(page, unique("offline"))
    await answer(page, quiz_id)
    await context.set_offline(True)
    await page.get_by_role("button", name="Hand in").click()
    await expect(page.get_by_text("Your answers are safe on this device.")).to_be_visible()
    await context.set_offline(False)
    assert await points_of_result(page) == 20


async def test_answers_handed_in_before_the_page_was_closed_are_handed_in_from_any_screen(
    page: Page, context: BrowserContext, stack: RunningStack
) -> None:
    quiz_id = await short_quiz(stack)
    await sign_up(page, name := unique("closed"))
    await answer(page, quiz_id)

    async def lose(route: Route) -> None:
        await (route.abort() if "submitQuizAction(" in (route.request.post_data or "") else route.continue_())

    await page.route("**/graphql", lose)
    await page.get_by_role("button", name="Hand in").click()
    await expect(page.get_by_text("Your answers are safe on this device.")).to_be_visible()
    await page.goto("about:blank")
    another = await context.new_page()
    await another.goto(f"/b/quiz:{quiz_id}")
    await expect(another.locator(f'li[data-user="{name}"] .score')).to_have_text("20")


async def test_a_slow_network_delays_and_breaks_nothing(context: BrowserContext, stack: RunningStack) -> None:
    """The "Slow 3G" of browsers' tools: 400 ms of latency, 50 KB/s."""
    quiz_id = await short_quiz(stack)
    await context.add_init_script(OBSERVE_SHIFTS)
    page = await context.new_page()
    slow = {"offline": False, "latency": 400, "downloadThroughput": 51_200, "uploadThroughput": 51_200}
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send("Network.emulateNetworkConditions", slow)
    requests = requests_of(page)
    await page.goto("/")
    await sign_up(page, unique("slow"))
    await expect(page.locator(f"[data-quiz={QUIZ}]")).to_be_visible()
    await answer(page, quiz_id)
    await page.get_by_role("button", name="Hand in").dblclick()
    assert await points_of_result(page) == 20
    await expect(page.locator(".state")).to_have_text("Live")
    assert len([each for each in requests if "submitQuizAction(" in (each.post_data or "")]) == 1
    assert len([each for each in requests if "register(" in (each.post_data or "")]) == 1
    assert await page.evaluate("shift") < MAX_SHIFT


async def test_a_clock_that_is_wrong_does_not_keep_a_player_from_playing(
    context: BrowserContext, stack: RunningStack
) -> None:
    await context.add_init_script("const now = Date.now; Date.now = () => now() + 20 * 60 * 1000;")
    page = await context.new_page()
    await page.goto("/")
    await sign_up(page, unique("clock"))
    assert await play(page, await short_quiz(stack)) == 20


async def test_the_first_quiz_is_in_sight_on_a_phone(page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await sign_up(page, unique("phone"))
    box = await page.locator("[data-quiz]").first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 844
    await expect(page.locator(f"[data-quiz={QUIZ}]")).to_be_attached()
