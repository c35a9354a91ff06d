"""Accounts in a real Chromium: signing in, staying signed in, and losing nothing when a session ends."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable

from playwright.async_api import BrowserContext, Page, Request, Route, expect

from services.cli.system.client import GraphqlClient
from tests.browser.visitor import answer, points_of_result, requests_of, short_quiz, sign_up
from tests.deadline import deadline, eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints, register
from tests.servers import RunningStack, unique

KEPT = "Object.values(localStorage).map((text) => JSON.parse(text)).find((kept) => kept?.attemptId)"
SAVED = f"(({{ answers, unsaved }}) => Object.keys(answers).length - unsaved.length)({KEPT})"
ATTEMPT = f"(({{ attemptId, deadline, acceptsUntil }}) => [attemptId, deadline, acceptsUntil])({KEPT})"


def sent(requests: list[Request], mutation: str) -> list[Request]:
    return [each for each in requests if mutation in (each.post_data or "")]


async def test_no_script_can_read_a_token(page: Page, context: BrowserContext) -> None:
    await sign_up(page, unique("cookie"))
    assert await page.evaluate("document.cookie") == ""
    assert await page.evaluate("localStorage.length + sessionStorage.length") == 0
    cookies = {cookie["name"]: cookie for cookie in await context.cookies(page.url + "graphql")}
    assert {"topten_access", "topten_refresh"} <= cookies.keys()
    assert all(cookie["httpOnly"] and cookie["sameSite"] == "Strict" for cookie in cookies.values())


async def test_a_reload_stays_signed_in_and_signing_out_ends_it(page: Page) -> None:
    name = unique("stay")
    await sign_up(page, name)
    await page.reload()
    await expect(page.locator("#name")).to_have_text(name)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("button", name="Create account")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("button", name="Create account")).to_be_visible()


async def test_signing_out_in_one_tab_signs_out_in_all(page: Page, context: BrowserContext) -> None:
    await sign_up(page, unique("both"))
    second = await context.new_page()
    await second.goto("/")
    await expect(second.locator(".state")).to_have_text("Live")
    await page.get_by_role("button", name="Sign out").click()
    await expect(second.get_by_role("button", name="Create account")).to_be_visible()
    name = unique("other")
    await sign_up(second, name)
    await expect(page.locator("#name")).to_have_text(name)


async def test_enter_signs_in_and_a_double_click_registers_once(page: Page, stack: RunningStack) -> None:
    requests = requests_of(page)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
    await page.get_by_label("Name").fill(player.username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.locator("#name")).to_have_text(player.username)
    assert sent(requests, "register(") == []
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("Name").fill(name := unique("twice"))
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account").dblclick()
    await expect(page.locator("#name")).to_have_text(name)
    assert len(sent(requests, "register(")) == 1


async def test_a_fault_stands_in_words_beside_its_field(page: Page, stack: RunningStack) -> None:
    async def fault(label: str) -> str:
        field = page.get_by_label(label)
        await expect(field).to_have_attribute("aria-invalid", "true")
        described = str(await field.get_attribute("aria-describedby")).split()
        return await page.locator(f"#{described[0]}").inner_text()

    await expect(page.get_by_text("2 to 32 letters, digits, “_”, “-” or “.”")).to_be_visible()
    await page.get_by_label("Name").fill("no/slash")
    await page.get_by_label("Password").fill("short")
    await page.get_by_label("Country").fill("1")
    await page.get_by_role("button", name="Create account").click()
    assert await fault("Name") == "Use 2 to 32 letters, digits, “_”, “-” or “.”."
    assert await fault("Password") == "Use 8 to 128 characters."
    assert await fault("Country") == "Use the two letters of a country, for example VN."
    await expect(page.get_by_label("Name")).to_be_focused()
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
    await page.get_by_label("Name").fill(player.username)
    await page.get_by_label("Password").fill("another password")
    await page.get_by_label("Country").fill("")
    await page.get_by_role("button", name="Create account").click()
    await expect(page.get_by_text("This name is taken.")).to_be_visible()
    await page.get_by_role("button", name="Sign in").click()
    assert await fault("Password") == "The name or the password is wrong."
    # A name of two scripts passes the page's rule and not the server's.
    await page.get_by_label("Name").fill("аdаm")
    await page.get_by_role("button", name="Create account").click()
    assert "letters" in await fault("Name")


async def test_an_expired_session_loses_no_answer(page: Page, context: BrowserContext, stack: RunningStack) -> None:
    quiz_id, name = await short_quiz(stack), unique("expired")
    requests = requests_of(page)
    await sign_up(page, name)
    await answer(page, quiz_id)
    await context.clear_cookies()
    await page.get_by_role("button", name="Hand in").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("Name")).to_have_value(name)
    await dialog.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    assert await points_of_result(page) == 20
    submissions = [json.loads(each.post_data or "") for each in sent(requests, "submitQuizAction(")]
    assert len(submissions) >= 2
    assert len({each["variables"]["input"]["actionId"] for each in submissions}) == 1


async def test_an_expired_session_keeps_a_timed_attempt_and_its_deadline(
    page: Page, context: BrowserContext, stack: RunningStack
) -> None:
    definition = quiz_definition(quiz_id := unique("expired-"))
    definition.timing.limit_seconds, definition.timing.grace_seconds = 3600, 60
    await import_quiz(endpoints(stack), definition)
    requests = requests_of(page)
    await sign_up(page, name := unique("expired"))
    await page.goto(f"/q/{quiz_id}")
    await page.get_by_role("button", name="Start").click()
    await page.get_by_role("radio", name="This").check()

    async def saves(number: int) -> None:
        async def has_saved() -> bool:
            return bool(await page.evaluate(SAVED) == number)

        await eventually(has_saved, f"{number} answers are saved")

    await saves(1)
    started = await page.evaluate(ATTEMPT)
    await page.get_by_role("button", name="Next").click()
    await expect(page.get_by_role("heading", name="Question 2?")).to_be_visible()
    await context.clear_cookies()
    await page.get_by_role("radio", name="This").check()  # which is sent at once, and refused
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("Name")).to_have_value(name)
    await expect(page.get_by_role("timer", include_hidden=True)).to_be_visible()
    await dialog.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("heading", name="Question 2?")).to_be_visible()
    await expect(page.get_by_role("radio", name="This")).to_be_checked()
    await saves(2)
    await page.evaluate("localStorage.clear()")  # from here on the page knows what the server has
    await page.goto(f"/q/{quiz_id}")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_text("You have answered every question.")).to_be_visible()
    assert await page.evaluate(ATTEMPT) == started
    await page.get_by_role("button", name="Hand in").click()
    assert await points_of_result(page) == 20
    (submitted,) = [json.loads(each.post_data or "") for each in sent(requests, "submitQuizAction(")]
    assert [submitted["variables"]["input"]["attemptId"]] == started[:1]


async def test_a_response_to_a_player_who_has_signed_out_asks_nobody_to_sign_in(page: Page) -> None:
    await sign_up(page, unique("gone"))
    await page.goto("about:blank")  # what that page still asks for must not be held
    held: asyncio.Future[Route] = asyncio.get_running_loop().create_future()

    async def hold(route: Route) -> None:
        if "quizzes(" in (route.request.post_data or "") and not held.done():
            held.set_result(route)
        else:
            await route.continue_()

    await page.route("**/graphql", hold)
    await page.goto("/")
    async with deadline("the quizzes are asked for"):
        late = await held
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("button", name="Create account")).to_be_visible()
    refusal = {"errors": [{"message": "The token has expired.", "extensions": {"reason": "UNAUTHENTICATED"}}]}
    async with page.expect_event("requestfinished", lambda request: request is late.request):
        await late.fulfill(status=401, json=refusal)
    await sign_up(page, unique("next"))
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_server_that_is_away_is_no_sign_out(page: Page) -> None:
    name = unique("away")
    await sign_up(page, name)

    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, content_type="application/problem+json", body='{"code": "UNAVAILABLE"}')

    await page.route("**/graphql", refuse)
    await page.reload()
    await expect(page.get_by_role("heading", name="Reconnecting")).to_be_visible()
    await expect(page.get_by_label("Password")).to_have_count(0)
    await page.unroute("**/graphql", refuse)
    await expect(page.locator("#name")).to_have_text(name)


async def test_the_address_of_a_visitor_is_kept_through_the_sign_in(page: Page) -> None:
    await page.goto("/b/weekly")
    await sign_up(page, unique("deep"))
    await expect(page).to_have_url(re.compile("/b/weekly$"))
    await expect(page.get_by_role("heading", name="This week")).to_be_visible()


async def test_a_late_refusal_of_one_tab_does_not_end_the_sign_in_of_another(
    page: Page, context: BrowserContext, stack: RunningStack
) -> None:
    """One tab renews a session that has ended, slowly, while another signs in. A sign-in waits for what may remove cookies."""
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
    second = await context.new_page()
    await second.goto("/")
    await second.get_by_label("Name").fill(player.username)
    await second.get_by_label("Password").fill(PASSWORD)
    held: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
    order: list[str] = []

    async def hold(route: Route) -> None:
        if "refreshToken(" in (route.request.post_data or "") and not held.done():
            held.set_result(route)
        else:
            await route.continue_()

    def note(what: str, mutation: str) -> Callable[[Request], None]:
        return lambda request: order.append(what) if mutation in (request.post_data or "") else None

    await page.route("**/graphql", hold)
    page.on("requestfinished", note("refused", "refreshToken("))
    second.on("request", note("signing in", "login("))
    await page.reload(wait_until="commit")
    async with deadline("the first tab renews its session"):
        late = await held
    await second.keyboard.press("Enter")
    await expect(second.get_by_role("button", name="Sign in")).to_be_disabled()
    await late.continue_()
    await expect(second.locator("#name")).to_have_text(player.username)
    assert order[:2] == ["refused", "signing in"]
    assert {"topten_access", "topten_refresh"} <= {
        each["name"] for each in await context.cookies(f"{stack.http}/graphql")
    }
    await expect(page.locator("#name")).to_have_text(player.username)
