"""The screens of players and of boards on displays."""

from __future__ import annotations

import re

from playwright.async_api import Browser, Page, expect

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient
from tests.browser.visitor import QUIZ, adjust, answer, new_context, play, points_of_result, sign_up
from tests.deadline import eventually
from tests.players import PASSWORD, endpoints, register
from tests.screenshots.camera import ALL, Camera
from tests.servers import RunningStack
from tests.system.actions.test_reported_actions import action, shop
from tests.system.boards.test_boards_as_data import put, until_ready
from tests.system.views.test_metadata_on_boards import TYPE

ISSUE = "mutation { boardToken { url } }"
PLAYER = "Ottilie"  # none of the demo's players
DRIVERS = ("Tazio", "Juan-Manuel", "Ayrton", "Lella", "Graham", "Danica", "Niki", "Jacky", "Michèle", "Gilles")
CARS = ("Alfa 158", "W196", "MP4/4", "Type 72 with the wing of Monza")


async def players(browser: Browser, stack: RunningStack, camera: Camera) -> None:
    """Sign in, play, and look at the boards."""
    context = await new_context(browser, stack, bypass_csp=True)
    page = await context.new_page()
    await page.goto("/")
    await expect(page.get_by_label("Password")).to_be_visible()
    await camera.take(page, "sign-in")
    await page.get_by_label("Name").fill("!")
    await page.get_by_role("button", name="Sign in").click()
    await camera.take(page, "sign-in-faults", sizes=["phone"])
    await sign_up(page, PLAYER, "br")
    await ranked(stack)

    await page.goto(f"/q/{QUIZ}")
    await expect(page.get_by_role("link", name="Start")).to_be_visible()
    await camera.take(page, "start")
    await answer(page, QUIZ, options=(2, 1, 2, 3, 1, 2, 3, 1, 2, 1))
    await camera.take(page, "review")
    await page.goto(f"/q/{QUIZ}/4")
    await expect(page.locator(".option").first).to_be_visible()
    await camera.take(page, "question", schemes=ALL)
    await page.goto(f"/q/{QUIZ}/review")
    await page.get_by_role("button", name="Hand in").click()
    await points_of_result(page)
    await expect(page.locator(".rank-change")).to_have_text(re.compile("^You (went|are)"))  # and not what is said of it
    await play(page, QUIZ, options=(2, 1, 2, 3, 1, 1, 3, 1, 2, 1))
    await expect(page.locator(".rank-change")).to_have_text(re.compile("^You (went|are)"))
    await live(page)
    await camera.take(page, "result", schemes=ALL)

    await laps(stack)
    for path, name in {
        "/": "play",
        "/b/all": "board",
        "/b/weekly": "board-weekly",
        "/b/custom:laps": "board-details",
    }.items():
        await page.goto(path)
        await live(page)
        await camera.take(page, name, schemes=ALL)
    await page.goto("/b/all")
    await page.get_by_role("button", name="More boards").click()
    await expect(page.locator(".other-boards a")).to_have_count(1)
    await camera.take(page, "board-others", schemes=["dark"])
    await page.goto("/my-data")
    await page.get_by_label("Password").fill(PASSWORD)
    await camera.take(page, "my-data-sign-in", sizes=["phone"])
    await page.get_by_role("button", name="Open").click()
    await expect(page.get_by_role("button", name="Download my data")).to_be_visible()
    await camera.take(page, "my-data")
    await page.goto("/q/nowhere")
    await expect(page.get_by_role("heading", name="There is no such quiz.")).to_be_visible()
    await camera.take(page, "refusal")
    await displays(page, stack, camera)
    await context.close()


async def ranked(stack: RunningStack) -> None:
    """Wait until the simulated players fill a board, and give the first of them names of other scripts to stand beside."""
    async with GraphqlClient(endpoints(stack).graphql) as client:
        for number, name in enumerate(("Οδυσσέας", "Ярослава", "Nguyễn-Thị-Minh-Khai")):
            player = await register(client, username=name, country=("GR", "UA", "VN")[number])
            await adjust(stack, player.user_id, 180 - 30 * number)

        async def is_full() -> bool:
            return len(await player.top()) == 10

        await eventually(is_full, "ten players are on the board")


async def laps(stack: RunningStack) -> None:
    """Fill a board that shows what its players drove."""
    async with (
        GraphqlClient(endpoints(stack).graphql) as client,
        shop(stack, "action:define", "action:submit") as asked,
    ):
        admin = await register(client)
        await grant_role(endpoints(stack), admin.username, "admin")
        token = await client.login(admin.username, PASSWORD)
        await asked("PutActionType", actionType={"actionTypeId": "lap", **TYPE})
        await put(client, token, name="laps", title="Laps of the season", sources=["action:lap"], aggregate="BEST")
        await until_ready(client, token, "laps")
        for number, name in enumerate(DRIVERS):
            driver = await register(client, username=name, country=("IT", "JP", "DE")[number % 3])
            metadata = {"car": CARS[number % len(CARS)], "tyres": ("soft", "hard")[number % 2]}
            stated = action(driver, "lap", value=99 - 3 * number, metadata=metadata)
            del stated["quantity"]
            await asked("SubmitActions", actions=[stated])


async def displays(page: Page, stack: RunningStack, camera: Camera) -> None:
    """A board on a big screen, over a video, within another page."""
    account = stack.endpoints["moderator"]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(account["username"], account["password"])
        url = (await client.execute(ISSUE, {}, token))["boardToken"]["url"]
    for view in ("kiosk", "overlay", "embed"):
        await page.goto(url.replace("view=kiosk", f"view={view}"))
        await live(page)
        await camera.take(page, view, sizes=["desktop" if view == "embed" else "projector"], schemes=ALL)


async def live(page: Page) -> None:
    await expect(page.locator(".state").first).to_have_text("Live")
    await expect(page.locator(".placeholder")).to_have_count(0)
    await expect(page.locator(".rows").first.locator("li")).to_have_count(10)
