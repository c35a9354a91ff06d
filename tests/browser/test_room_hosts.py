"""What hosts of a room do besides leading it, in a real Chromium: they name and remove one another, and print the results."""

from __future__ import annotations

import re

from playwright.async_api import Browser, Page, expect

from services.cli.system.client import GraphqlClient
from tests.browser.test_question_kinds import press, tab_to
from tests.browser.test_rooms import Visitors, check, open_room, shown, visiting
from tests.browser.visitor import short_quiz, sign_up
from tests.players import endpoints
from tests.screenshots.rooms import JOIN
from tests.servers import RunningStack, unique


async def account(visitors: Visitors, name: str) -> Page:
    """A page of a new account."""
    page = await visitors.page("/", width=390)
    await sign_up(page, name)
    return page


async def test_a_host_names_another_by_keyboard_alone_and_removes_them(browser: Browser, stack: RunningStack) -> None:
    pin, _ = await open_room(stack, await short_quiz(stack))
    async with visiting(browser, stack) as visitors:
        host, name = await visitors.host(f"/host/{pin}"), unique("second")
        second = await account(visitors, name)
        await second.goto(f"/host/{pin}")
        await expect(second.get_by_role("heading", name="Only the hosts of this room lead it.")).to_be_visible()
        await visitors.player(pin, "Ada")

        await expect(host.get_by_role("heading", name="1 player")).to_be_visible()
        await press(host, "h")
        dialog, field = host.get_by_role("dialog", name="Hosts"), host.get_by_label("Another host")
        await expect(field).to_be_focused()
        own = stack.endpoints["moderator"]["username"]
        await expect(dialog.get_by_role("listitem")).to_have_text([f"{own}You · Opened this room"])
        for wrong, fault in (("", "Write the name of an account."), ("no-such", "No account has the name")):
            await field.fill(wrong)
            await press(host, "Enter")
            await expect(dialog.locator("#host-fault")).to_contain_text(fault)
            await expect(field).to_have_attribute("aria-invalid", "true")
        await check(host)
        await field.fill(name.upper())
        await press(host, "Enter")
        await expect(dialog.get_by_role("status")).to_contain_text("hosts this room too.")
        await expect(dialog.get_by_role("listitem")).to_have_count(2)
        await expect(field).to_have_value("")
        await check(host)

        await second.reload()
        await expect(second.get_by_role("heading", name="1 player")).to_be_visible()
        await second.locator("body").press(" ")
        await shown("QUESTION", second, host)
        await tab_to(host, dialog.get_by_role("button", name=f"Remove: {name}"))
        await press(host, "Enter")
        await expect(dialog.get_by_role("listitem")).to_have_count(1)
        await expect(dialog.get_by_role("status")).to_contain_text("hosts this room no longer.")
        await second.locator("body").press(" ")
        await expect(second.get_by_role("heading", name="Only the hosts of this room lead it.")).to_be_visible()
        await shown("QUESTION", host)


async def test_a_host_leaves_the_room_to_the_others(browser: Browser, stack: RunningStack) -> None:
    quiz_id, opener = await short_quiz(stack), unique("opener")
    async with visiting(browser, stack) as visitors:
        first = await account(visitors, opener)  # players may host here
        await first.goto(f"/q/{quiz_id}/host")
        await first.get_by_role("button", name="Open the room").click()
        await expect(first.get_by_role("button", name="Hosts")).to_be_visible()
        second = await account(visitors, name := unique("leaver"))
        await first.get_by_role("button", name="Hosts").click()
        await first.get_by_label("Another host").fill(name)
        await first.get_by_role("button", name="Add").click()
        await expect(first.get_by_role("dialog").get_by_role("listitem")).to_have_count(2)
        await second.goto(first.url)
        await second.get_by_role("button", name="Hosts").click()
        await expect(second.get_by_role("listitem").filter(has_text=opener).get_by_role("button")).to_have_count(0)
        await second.get_by_role("button", name="Stop hosting").click()
        await expect(second.get_by_role("heading", name="Only the hosts of this room lead it.")).to_be_visible()


async def test_the_results_are_printed_with_every_player_and_nothing_to_press(
    browser: Browser, stack: RunningStack
) -> None:
    pin, _ = await open_room(stack, await short_quiz(stack))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        for number in range(1, 23):
            await client.execute(JOIN, {"input": {"pin": pin, "nickname": f"Player {number}"}})
    async with visiting(browser, stack) as visitors:
        host = await visitors.host(f"/host/{pin}")
        await expect(host.get_by_role("heading", name="22 players")).to_be_visible()
        await press(host, " ")
        await shown("QUESTION", host)
        await press(host, "s")
        await shown("REVEAL", host)
        await host.get_by_role("button", name="End the room").click()
        await host.get_by_role("dialog").get_by_role("button", name="End the room").click()
        await expect(host.get_by_role("table").locator("tbody tr")).to_have_count(20)
        await expect(host.get_by_text("and 2 more")).to_be_visible()
        await check(host)
        # The browser's own dialog stops a page; what comes before and after it does not.
        await host.evaluate("window.print = () => dispatchEvent(new Event('beforeprint'))")
        await host.get_by_role("button", name="Print").click()
        await host.emulate_media(media="print", color_scheme="dark", forced_colors="none")
        await expect(host.get_by_role("table").locator("tbody tr")).to_have_count(22)
        assert await host.locator(":is(button, a):visible").count() == 0
        await expect(host.get_by_text("and 2 more")).to_be_hidden()
        assert await host.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
        await host.evaluate("dispatchEvent(new Event('afterprint'))")
        await expect(host.get_by_role("table").locator("tbody tr")).to_have_count(20)


async def test_a_host_gives_more_time_and_closes_the_door_by_keyboard(browser: Browser, stack: RunningStack) -> None:
    """The player's device counts the same seconds, though its clock is wrong by ten minutes."""
    pin, _ = await open_room(stack, await short_quiz(stack), secondsPerQuestion=600)
    async with visiting(browser, stack) as visitors:
        host = await visitors.host(f"/host/{pin}")
        ada = await visitors.page("/")
        # Without the worker, whose clock the script cannot change: on a device both are the same.
        await ada.context.add_init_script(
            "delete globalThis.SharedWorker; const now = Date.now; Date.now = () => now() + 10 * 60 * 1000;"
        )
        await ada.goto(f"/j/{pin}")
        await ada.get_by_label("Your name in this room").fill("Ada")
        await press(ada, "Enter")
        await expect(host.get_by_role("heading", name="1 player")).to_be_visible()
        await press(host, "l")
        await expect(host.get_by_text("Closed to new players")).to_be_visible()
        await press(host, "l")
        await expect(host.get_by_text("Closed to new players")).to_be_hidden()
        await press(host, " ")
        await shown("QUESTION", host, ada)
        for _ in range(6):
            await press(host, "m")
            # A key does nothing while what it did before is under way.
            await expect(host.get_by_role("button", name="15 s more")).to_be_enabled()
        timer = ada.get_by_role("timer")
        await expect(timer).to_contain_text(re.compile(r"6(?!00)\d\d seconds left"))
        within = "ring => ring.firstChild.getBoundingClientRect().width / ring.getBoundingClientRect().width"
        assert await timer.evaluate(within) < 0.75, "three digits stand within the ring"
        await press(host, " ")
        await shown("LOCKED", host, ada)
        await expect(ada.get_by_role("timer")).to_be_hidden()
