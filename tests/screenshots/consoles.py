"""The screens of authors, moderators and operators."""

from __future__ import annotations

from playwright.async_api import Browser, expect

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient
from tests.browser.visitor import FOUR_RIGHT, QUIZ, new_context, sign_up
from tests.deadline import eventually
from tests.players import endpoints, register
from tests.screenshots.camera import ALL, Camera
from tests.servers import RunningStack

GIFT = """::Primes:: Which is a prime? { =7 ~9 ~8 #Seven has no divisors but 1 and itself. }

::Sky:: <b>The sky</b> is green. {F}

::Sum:: What is 2 + 2? { #4 }

::Essay:: Who are you? {}
"""
DESKTOP = ["desktop"]
START = "query ($id: ID!) { quiz(id: $id) { id } }"


async def consoles(browser: Browser, stack: RunningStack, camera: Camera) -> None:
    """Write a quiz from a file, look into a flag, and look after the system."""
    async with GraphqlClient(endpoints(stack).graphql) as client:
        hasty = await register(client, username="Hasty-Hare", country="FR")
        await client.execute(START, {"id": QUIZ}, hasty.access_token)
        await hasty.submit(QUIZ, FOUR_RIGHT)
    context = await new_context(browser, stack, bypass_csp=True)
    page = await context.new_page()
    await page.goto("/")
    await sign_up(page, "Marguerite", "fr")
    await grant_role(endpoints(stack), "Marguerite", "admin")
    await context.clear_cookies(name="topten_access")  # a role is in the next access token

    await page.goto("/author")
    await expect(page.get_by_role("button", name="New quiz")).to_be_visible()
    await camera.take(page, "author-list")
    await page.goto("/author/import")
    await page.get_by_label("Name", exact=True).fill("numbers")
    await page.get_by_label("Or paste its text").fill(GIFT)
    await page.get_by_role("button", name="Check the file").click()
    await expect(page.locator(".items")).to_be_visible()
    await camera.take(page, "author-import")
    await page.get_by_role("button", name="Store 1 draft").click()
    await page.locator(".report").get_by_role("link").click()
    await expect(page.get_by_label("Title", exact=True)).to_be_visible()
    await camera.take(page, "author-quiz")
    await page.locator(".question-list a").nth(1).click()
    await expect(page.locator(".preview .option").first).to_be_visible()
    await camera.take(page, "author-question", schemes=ALL)
    await page.goto(f"/author/q/{QUIZ}")
    await page.get_by_role("button", name="Versions…").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await camera.take(page, "author-versions", sizes=DESKTOP)
    await page.keyboard.press("Escape")

    async def is_flagged() -> bool:
        await page.goto("/mod")
        await expect(page.locator(".queue")).to_be_visible()
        return bool(await page.locator(".queue li", has_text="Hasty-Hare").count())

    await eventually(is_flagged, "the rule has flagged a player")
    await camera.take(page, "mod-queue")
    await page.goto(f"/mod/players/{hasty.user_id}")
    await expect(page.locator(".history li").first).to_be_visible()
    await camera.take(page, "mod-player", schemes=ALL)
    await page.get_by_role("button", name="Adjust the score").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await camera.take(page, "mod-dialog", sizes=DESKTOP)
    await page.keyboard.press("Escape")
    await page.goto("/mod/players")
    await expect(page.locator("main h1, main h2").first).to_be_visible()
    await camera.take(page, "mod-players", sizes=DESKTOP)
    await page.goto("/ops")
    await expect(page.locator(".checks li").first).to_be_visible()
    await camera.take(page, "ops", schemes=ALL)
    await context.close()
