"""Questions of every kind in a real Chromium: by keyboard alone, on a narrow screen, and while the quiz is changed."""

from __future__ import annotations

import re

from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.test_quality import MAX_SHIFT, OBSERVE_SHIFTS, SCHEMES
from tests.browser.visitor import PICTURES, findings, sign_up
from tests.factories import every_kind
from tests.imports import import_quiz
from tests.players import endpoints
from tests.servers import RunningStack, unique

NARROW = 320
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="300"><circle cx="200" cy="150" r="90"/></svg>'


async def quiz_of_every_kind(stack: RunningStack) -> str:
    """Import a quiz of seven questions, the first one with a picture, and return its id."""
    definition = every_kind(unique("kinds-"))
    media = definition.questions[0].question.media
    media.url, media.alt = f"https://{PICTURES}/circle.svg", "A black circle"
    await import_quiz(endpoints(stack), definition)
    return definition.quiz_id


async def serve_pictures(context: BrowserContext) -> None:
    await context.route(
        f"https://{PICTURES}/**", lambda route: route.fulfill(body=PICTURE, content_type="image/svg+xml")
    )


async def check(page: Page) -> None:
    """Expect a screen to be accessible in every color scheme, and to fit its window."""
    for scheme in SCHEMES:
        await page.emulate_media(**scheme, reduced_motion="reduce")
        assert await findings(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW


async def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until a control has the focus."""
    for _ in range(30):
        await page.keyboard.press("Tab")
        if await target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab never reaches {target}")


async def press(page: Page, *keys: str) -> None:
    for key in keys:
        await page.keyboard.press(key)


async def test_the_keyboard_alone_answers_every_kind(context: BrowserContext, stack: RunningStack) -> None:
    quiz_id = await quiz_of_every_kind(stack)
    await context.add_init_script(OBSERVE_SHIFTS)
    await serve_pictures(context)
    page = await context.new_page()
    await page.set_viewport_size({"width": NARROW, "height": 800})
    await page.goto("/")
    await sign_up(page, unique("kinds"))
    await page.goto(f"/q/{quiz_id}/1")

    heading = page.get_by_role("heading", level=1)
    await expect(heading).to_have_text("A single question?")
    picture = page.get_by_role("img", name="A black circle")
    await expect(picture).to_have_js_property("complete", value=True)
    await expect(picture).to_have_js_property("naturalWidth", 400)
    assert await page.evaluate("shift") < MAX_SHIFT
    await check(page)
    await press(page, "1", "Enter")

    await expect(heading).to_have_text("A multiple question?")
    await check(page)
    for keys, name in ((("1", "3"), "multiple"), (("1", "2"), "weighted")):
        await expect(heading).to_have_text(f"A {name} question?")
        await press(page, *keys, "Enter")

    await expect(heading).to_have_text("A numeric question?")
    field = page.get_by_role("textbox", name="A numeric question?")
    await tab_to(page, field)
    await page.keyboard.type("three")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("This is not a number.")
    await expect(field).to_be_focused()
    await check(page)
    await page.keyboard.press("Control+A")
    await page.keyboard.type("3,14")
    await page.keyboard.press("Enter")

    await expect(heading).to_have_text("A text question?")
    await tab_to(page, page.get_by_role("textbox", name="A text question?"))
    await page.keyboard.type("saigon")
    await check(page)
    await page.keyboard.press("Enter")

    await expect(heading).to_have_text("A ordering question?")
    await tab_to(page, page.get_by_role("button", name="Move down: Option a"))
    await page.keyboard.press("Alt+ArrowDown")
    await expect(page.locator("#announcement")).to_have_text("Option a: place 2 of 4")
    await expect(page.get_by_role("button", name="Move down: Option a")).to_be_focused()
    await tab_to(page, page.get_by_role("button", name="Move up: Option d"))
    await page.keyboard.press("Enter")
    assert await page.locator(".ordering li bdi").all_inner_texts() == ["Option b", "Option a", "Option d", "Option c"]
    await check(page)
    await tab_to(page, page.get_by_role("button", name="Next"))
    await page.keyboard.press("Enter")

    await expect(heading).to_have_text("A matching question?")
    for name, target in (("a", 1), ("b", 2), ("c", 3)):
        await tab_to(page, page.get_by_label(f"Option {name}"))
        await press(page, *["ArrowDown"] * target)
    await check(page)
    await tab_to(page, page.get_by_role("button", name="Review"))
    await page.keyboard.press("Enter")

    await expect(page.get_by_text("Not answered yet: question 7.")).to_be_visible()
    await check(page)
    await tab_to(page, page.get_by_role("link", name="Change question 7"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Option c")).to_have_value("y")
    await tab_to(page, page.get_by_label("Option d"))
    await page.keyboard.press("ArrowDown")
    await tab_to(page, page.get_by_role("button", name="Review"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("You have answered every question.")).to_be_visible()
    await tab_to(page, page.get_by_role("button", name="Hand in"))
    await page.keyboard.press("Enter")

    verdicts = page.locator(".outcome .verdict")
    expected = ["Right · 12 points"] * 7
    expected[2] = "Partly right · 3 points"
    await expect(verdicts).to_have_text(expected)
    await check(page)
    # On a device without the attempt the server tells as much, but for the player's own answers.
    action_id = page.url.rpartition("/")[2]
    await page.evaluate("id => localStorage.removeItem(`topten:attempt:${id}`)", action_id)
    await page.reload()
    await expect(verdicts).to_have_text(expected)


async def test_a_changed_quiz_keeps_the_answers_that_still_fit(page: Page, stack: RunningStack) -> None:
    definition = every_kind(unique("changed-"))
    definition.attempts.max_attempts = 1
    await import_quiz(endpoints(stack), definition)
    await sign_up(page, unique("changed"))
    await page.goto(f"/q/{definition.quiz_id}/2")
    await page.get_by_role("checkbox", name="Option a").check(force=True)
    await page.goto(f"/q/{definition.quiz_id}/5")
    await page.get_by_role("textbox").fill("Saigon")
    await page.get_by_role("button", name="Next").click()
    await page.get_by_role("button", name="Keep this order").click()
    await page.get_by_role("button", name="Next").click()
    await page.get_by_role("combobox", name="Option b").select_option("Target z")
    await page.reload()
    await expect(page.get_by_label("Option b")).to_have_value("z")
    await page.go_back()
    await expect(page.get_by_text("Your order is kept.")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("textbox")).to_have_value("Saigon")

    await page.goto(f"/q/{definition.quiz_id}/review")
    await expect(page.get_by_role("button", name="Hand in")).to_be_visible()
    definition.questions[4].question.text = "Another question?"
    await import_quiz(endpoints(stack), definition)
    await page.get_by_role("button", name="Hand in").click()
    await expect(page.get_by_text("1 answer no longer fits; all others are kept. No attempt was used.")).to_be_visible()
    await page.get_by_role("link", name="Change question 5").click()
    await expect(page.get_by_text("This question was changed after you answered it.")).to_be_visible()
    await expect(page.get_by_role("textbox", name="Another question?")).to_have_value("")
    await page.get_by_role("textbox").fill("Saigon")
    await page.goto(f"/q/{definition.quiz_id}/2")
    await expect(page.get_by_role("checkbox", name="Option a")).to_be_checked()
    await page.goto(f"/q/{definition.quiz_id}/review")
    await page.get_by_role("button", name="Hand in").click()
    await expect(page).to_have_url(re.compile("/result/"))
    verdicts = await page.locator(".outcome").evaluate_all("items => items.map(item => item.dataset.verdict)")
    assert verdicts == ["UNANSWERED", "WRONG", "UNANSWERED", "UNANSWERED", "RIGHT", "WRONG", "WRONG"]
