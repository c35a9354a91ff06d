"""The moderator's screens in a real Chromium: what is behind a flag, and every act with its reason and its effect."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator
from typing import Final, Literal

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from topten.quiz.v1 import quiz_events_pb2

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient, GraphqlError
from tests.browser.test_question_kinds import press, tab_to
from tests.browser.visitor import FOUR_RIGHT, QUIZ, findings, new_context, sign_up
from tests.deadline import eventually
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack, unique
from tests.system.moderation.test_history import add_dead_letter, event

MAX_BYTES = 60 * 1024
REASON = "A test of moderators"
REPLAY = "mutation ($ids: [ID!]!) { replayDeadLetters(letterIds: $ids) { counted reason } }"
RESEAL = "mutation ($input: ResealPeriodInput!) { resealPeriod(input: $input) { board } }"
SCHEMES: Final[list[tuple[Literal["light", "dark"], Literal["none", "active"]]]] = [
    ("light", "none"),
    ("dark", "none"),
    ("dark", "active"),
]


@pytest_asyncio.fixture(scope="module")
async def moderator(browser: Browser, stack: RunningStack) -> AsyncIterator[BrowserContext]:
    """A moderator's browser, whose pages axe-core may enter."""
    context = await new_context(browser, stack, bypass_csp=True)
    page = await context.new_page()
    await page.goto("/")
    account = stack.endpoints["moderator"]
    await page.get_by_label("Name").fill(account["username"])
    await page.get_by_label("Password").fill(account["password"])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("link", name="Moderation", exact=True)).to_be_visible()
    await page.close()
    yield context
    await context.close()


@pytest_asyncio.fixture
async def mod(moderator: BrowserContext) -> AsyncIterator[Page]:
    page = await moderator.new_page()
    yield page
    await page.close()


@pytest_asyncio.fixture
async def player(stack: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield await register(client)


def last_week(payload: bytes) -> quiz_events_pb2.QuizCompletedEvent:
    """Return an event as if it had happened a week before."""
    message = quiz_events_pb2.QuizCompletedEvent.FromString(payload)
    message.payload.timestamp.seconds -= 7 * 24 * 60 * 60
    return message


async def answer_at_once(player: Player) -> None:
    """Answer a quiz of ten questions faster than anybody reads, which a rule flags."""
    await player.client.execute("query ($id: ID!) { quiz(id: $id) { id } }", {"id": QUIZ}, player.access_token)
    await player.submit(QUIZ, FOUR_RIGHT)


async def open_player(page: Page, player: Player, *, kind: str = "Quiz") -> None:
    """Open a player's page once the ledger has a row of this kind."""

    async def has_row() -> bool:
        await page.goto(f"/mod/players/{player.user_id}")
        await expect(page.locator(".history")).to_be_visible()
        return bool(await page.locator(".history li", has_text=kind).count())

    await eventually(has_row, f"a row of the ledger: {kind}")


async def act(page: Page, button: Locator, *, reason: str = REASON, **fields: str) -> Locator:
    """Do what a button offers, with its dialog's fields by label; return what the screen says about it."""
    await button.click()
    dialog = page.get_by_role("dialog")
    for label, value in fields.items():
        field = dialog.get_by_label(label.replace("_", " "))
        await (field.select_option(value) if label in ("Ends", "Board", "Closed_period") else field.fill(value))
    await dialog.get_by_label(re.compile("^(Reason|Decision)")).fill(reason)
    await dialog.locator("[type=submit]").click()
    await expect(dialog).to_have_count(0)
    outcome = page.locator(".outcome")
    await expect(outcome).to_be_focused()
    return outcome


async def test_keys_lead_from_a_flag_to_its_evidence_and_the_chain_behind_it_and_back(
    mod: Page, player: Player
) -> None:
    await answer_at_once(player)
    row = mod.locator(".queue li", has_text=player.username)

    async def is_flagged() -> bool:
        await mod.goto("/mod")
        await expect(mod.locator(".queue")).to_be_visible()
        return bool(await row.count())

    await eventually(is_flagged, "the flag is in the queue")
    await expect(row).to_contain_text("Impossible time")
    await mod.keyboard.press("j")
    await mod.keyboard.press("j")
    await mod.keyboard.press("k")
    await expect(mod.locator(".queue li").first).to_be_focused()
    await row.focus()
    await expect(mod).to_have_url(re.compile(r"/mod\?at=impossible_time"))
    await mod.reload()
    await expect(row).to_be_focused()
    await mod.keyboard.press("Enter")
    await expect(mod).to_have_url(re.compile(rf"/mod/players/{player.user_id}\?flag="))
    await expect(mod).to_have_title(f"{player.username} · Topten")
    await expect(mod.locator(".flags .in-question .numbers")).to_contain_text("10 questions")
    flagged = mod.locator(".history li", has_text="flagged")
    await expect(flagged).to_contain_text(QUIZ)
    await expect(flagged).to_contain_text("127.0.0.1")
    await expect(flagged.locator(".agent")).to_contain_text("aiohttp")
    await mod.go_back()
    await expect(row).to_be_focused()
    await expect(mod).to_have_title("Flags · Topten")
    await mod.keyboard.press("Enter")
    outcome = await act(mod, mod.locator(".in-question button"))
    await expect(outcome).to_contain_text("Flag decided.")
    await expect(mod.locator(".flags li")).to_contain_text(f"{REASON} by ")
    await mod.goto("/mod?state=closed")
    await expect(row).to_contain_text(REASON)


async def test_a_block_asks_for_a_reason_shows_before_and_after_can_be_extended_and_is_lifted(
    mod: Page, player: Player
) -> None:
    await mod.goto(f"/mod/players/{player.user_id}")
    await mod.get_by_role("button", name="Block…").click()
    dialog = mod.get_by_role("dialog")
    await expect(dialog.locator(".changes .before")).to_have_text("On the boards")
    await expect(dialog.locator(".changes .after")).to_contain_text("Off every board until ")
    await dialog.locator("[type=submit]").click()
    await expect(dialog.get_by_label("Reason")).to_have_attribute("aria-invalid", "true")
    await expect(dialog).to_contain_text("Write a reason of 1 to 500 characters.")
    await mod.keyboard.press("Escape")
    await expect(mod.get_by_role("button", name="Block…")).to_be_focused()
    outcome = await act(mod, mod.get_by_role("button", name="Block…"), Ends="1")
    await expect(outcome.locator(".after")).to_contain_text("Off every board until ")
    await expect(mod.locator(".history .changed")).to_contain_text(REASON)
    outcome = await act(mod, mod.get_by_role("button", name="Extend the block…"), reason="Worse", Ends="never")
    await expect(outcome.locator(".after")).to_have_text("Off every board permanently")
    await expect(mod.locator(".sanctions li")).to_have_count(2)
    await mod.goto("/mod/blocked")
    row = mod.locator(".blocked li", has_text=player.username)
    await expect(row).to_contain_text("Worse")
    await expect(row).to_contain_text("permanently")
    await row.get_by_role("link").click()
    outcome = await act(mod, mod.locator(".sanctions li", has_text="Worse").get_by_role("button"))
    await expect(outcome.locator(".after")).to_contain_text("until ")
    outcome = await act(mod, mod.get_by_role("button", name="Lift the block…").first)
    await expect(outcome.locator(".after")).to_have_text("On the boards")
    await expect(mod.locator(".sanctions")).to_have_count(0)


async def test_a_player_is_found_and_blocked_by_keyboard_alone(mod: Page, player: Player) -> None:
    await mod.goto("/mod/players")
    await expect(mod.get_by_label("Name starts with")).to_be_focused()
    await mod.keyboard.type(player.username)
    await expect(mod.locator(".players li")).to_have_count(1)
    await press(mod, "Enter", "Enter")
    await expect(mod.get_by_role("heading", name=player.username)).to_be_visible()
    await tab_to(mod, mod.get_by_role("button", name="Block…"))
    await mod.keyboard.press("Enter")
    await tab_to(mod, mod.get_by_role("dialog").get_by_label("Reason"))
    await mod.keyboard.type(REASON)
    await tab_to(mod, mod.get_by_role("dialog").locator("[type=submit]"))
    await mod.keyboard.press("Enter")
    await expect(mod.locator(".outcome")).to_be_focused()
    await expect(mod.locator(".sanctions li")).to_contain_text(REASON)


async def test_an_action_is_voided_and_a_score_adjusted_and_both_are_undone_once(mod: Page, player: Player) -> None:
    await player.submit(QUIZ, FOUR_RIGHT)
    await open_player(mod, player)
    points = await mod.locator(".history .scores").first.inner_text()
    outcome = await act(mod, mod.get_by_role("button", name="Void: Quiz"))
    await expect(outcome.locator(".after")).to_have_text("0")
    await expect(outcome).to_contain_text("Changed on All time")
    quiz = mod.locator(".history li", has_text=QUIZ).last
    await expect(quiz).to_contain_text("voided")
    outcome = await act(mod, outcome.get_by_role("button", name="Undo…"))
    await expect(outcome.locator(".after")).to_have_text(re.sub(r"^\D*0\D+", "", points))
    await expect(mod.locator(".history li", has_text="Action voided")).to_contain_text("undone")
    await mod.get_by_role("button", name="Adjust the score…").click()
    await mod.get_by_label("Points to add").fill("1.5")
    await mod.get_by_label("Reason").fill(REASON)
    await mod.get_by_label("Reason").press("Tab")
    await mod.keyboard.press("Enter")
    await expect(mod.get_by_label("Points to add")).to_be_focused()
    await expect(mod.get_by_role("dialog")).to_contain_text("Use a whole number other than 0")
    await mod.keyboard.press("Escape")
    outcome = await act(mod, mod.get_by_role("button", name="Adjust the score…"), Points_to_add="-7")
    await expect(outcome).to_contain_text("Score adjusted.")
    adjusted = mod.locator(".history li", has_text="−7")
    outcome = await act(mod, adjusted.get_by_role("button"))
    await expect(outcome).to_contain_text("Undone.")
    await expect(adjusted).to_contain_text("undone")


async def test_extra_time_is_given_with_a_reason_and_listed(mod: Page, player: Player) -> None:
    await mod.goto(f"/mod/players/{player.user_id}")
    outcome = await act(mod, mod.get_by_role("button", name="Extra time…"))
    await expect(outcome.locator(".before")).to_have_text("As for everybody")
    await expect(outcome.locator(".after")).to_have_text("One and a half times")
    await expect(mod.locator(".extra-times li")).to_contain_text("All quizzes")
    await expect(mod.locator(".extra-times li")).to_contain_text(REASON)


async def test_a_player_is_found_by_the_beginning_of_a_name_renamed_and_signed_out(mod: Page, player: Player) -> None:
    await mod.goto("/mod/players")
    await expect(mod.get_by_label("Name starts with")).to_be_focused()
    await mod.keyboard.type(player.username[:-1].upper())
    row = mod.locator(".players li")
    await expect(row).to_have_count(1)
    await expect(mod).to_have_url(re.compile(r"\?q=PLAYER"))
    await mod.reload()
    await expect(row).to_contain_text(player.username)
    await mod.get_by_label("Name starts with").press("Enter")
    await expect(row).to_be_focused()
    await mod.keyboard.press("Enter")
    await expect(mod.get_by_role("button", name="Rename…")).to_be_visible()
    taken = await mod.locator("#name").inner_text()
    await mod.get_by_role("button", name="Rename…").click()
    dialog = mod.get_by_role("dialog")
    await dialog.get_by_label("Name").fill(taken)
    await expect(dialog.locator(".changes .after")).to_have_text(taken)
    await dialog.get_by_label("Reason").fill(REASON)
    await dialog.locator("[type=submit]").click()
    await expect(dialog.locator(".fault").first).to_have_text("This name is taken. Choose another one.")
    await mod.keyboard.press("Escape")
    outcome = await act(mod, mod.get_by_role("button", name="Rename…"), Name=(new := unique("renamed")))
    await expect(mod.get_by_role("heading", name=new)).to_be_visible()
    outcome = await act(mod, outcome.get_by_role("button", name="Undo…"))
    await expect(outcome.locator(".after")).to_have_text(player.username)
    outcome = await act(mod, mod.locator(".sessions").get_by_role("button", name="End the session"))
    await expect(outcome.locator(".changes dd")).to_contain_text("0")
    await expect(mod.locator(".sessions")).to_contain_text("Not signed in anywhere.")
    await expect(mod.locator(".account-changes li").first).to_contain_text("Sessions ended")


async def test_a_blocked_player_reads_why_and_until_when_and_exports_and_erases_their_data(
    page: Page, mod: Page, player: Player
) -> None:
    await mod.goto(f"/mod/players/{player.user_id}")
    await act(mod, mod.get_by_role("button", name="Block…"), reason="Played by a program", Ends="1")
    await page.get_by_label("Name").fill(player.username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    refusal = page.get_by_role("alert")
    await expect(refusal).to_contain_text(re.compile("You are blocked until .*Played by a program"))
    await refusal.get_by_role("link", name="Your data").click()
    await expect(page).to_have_title("Your data · Topten")
    await page.get_by_label("Name").fill(player.username)
    await page.get_by_label("Password").fill("not the password")
    await page.get_by_role("button", name="Open").click()
    await expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Open").click()
    await expect(page.locator(".own-data")).to_contain_text("Played by a program")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download my data").click()
    exported = json.loads((await (await download.value).path()).read_text())
    assert exported["account"]["username"] == player.username
    assert exported["account"]["block"]["reason"] == "Played by a program"
    await page.get_by_label("Password, to confirm").fill(PASSWORD)
    await page.get_by_role("button", name="Erase my account").click()
    await expect(page.get_by_role("heading", name="Your account is erased.")).to_be_visible()


async def test_a_player_is_disqualified_from_a_closed_period_by_resealing_it(
    mod: Page, stack: RunningStack, player: Player
) -> None:
    late = last_week(event(event_id := str(uuid.uuid4()), player.user_id, 30))
    week = "{}-{:02}".format(*late.payload.timestamp.ToDatetime().isocalendar())
    await add_dead_letter(stack, late.SerializeToString())
    async with GraphqlClient(endpoints(stack).graphql) as client:
        admin = await register(client)
        await grant_role(endpoints(stack), admin.username, "admin")
        token = await client.login(admin.username, PASSWORD)
        await client.execute(REPLAY, {"ids": [event_id]}, token)
        # The row is late: the closed week has it once it is resealed.
        board = {"board": {"kind": "WEEKLY", "period": week}, "userId": player.user_id, "reason": REASON}

        async def has_place() -> bool:
            try:
                resealed = await client.execute(RESEAL, {"input": board}, token)
            except GraphqlError as error:  # in the first seconds of a new week
                assert "not closed yet" in str(error) or "being archived" in str(error)
                return False
            return bool(resealed["resealPeriod"])

        await eventually(has_place, "the player is on the closed week")
    await mod.goto("/b/weekly")
    podium = mod.get_by_role("region", name="Last time")
    await expect(podium.get_by_role("listitem").filter(has_text=player.username)).to_contain_text("30 points")
    await open_player(mod, player)
    await act(mod, mod.get_by_role("button", name="Block…"))
    await mod.get_by_role("button", name="Disqualify from a closed period…").click()
    dialog = mod.get_by_role("dialog")
    await dialog.get_by_label("Closed period").select_option(week)
    await expect(dialog.locator(".changes .before")).to_contain_text("30 points")
    await expect(dialog.locator(".changes .after")).to_have_text("Not on this board")
    await dialog.get_by_label("Reason").fill(REASON)
    await dialog.locator("[type=submit]").click()
    outcome = mod.locator(".outcome")
    await expect(outcome).to_contain_text("Disqualified from the period.")
    await expect(outcome.locator(".changes dt").first).to_have_text(f"Weekly {week}")
    await expect(outcome.locator(".changes .after").first).to_have_text("Not on this board")


async def test_others_get_no_menu_entry_and_a_refusal(page: Page) -> None:
    await sign_up(page, unique("curious"))
    await expect(page.get_by_role("link", name="Play", exact=True)).to_be_visible()
    await expect(page.get_by_role("link", name="Moderation", exact=True)).to_have_count(0)
    for path in ("/mod", "/mod/players", "/mod/blocked"):
        await page.goto(path)
        await expect(page.get_by_role("heading", name="This account may not do that.")).to_be_visible()


async def test_no_screen_or_dialog_has_an_accessibility_finding_or_is_wider_than_its_window(
    mod: Page, player: Player
) -> None:
    await mod.set_viewport_size({"width": 320, "height": 800})
    await answer_at_once(player)
    await open_player(mod, player)
    found = {}

    async def look(name: str) -> None:
        assert await mod.evaluate("document.documentElement.scrollWidth") <= 320, name
        for scheme, forced in SCHEMES:
            await mod.emulate_media(color_scheme=scheme, forced_colors=forced)
            found[name, scheme, forced] = await findings(mod)

    await act(mod, mod.get_by_role("button", name="Block…"))
    await look("player")
    await mod.get_by_role("button", name="Adjust the score…").click()
    await mod.get_by_role("dialog").locator("[type=submit]").click()
    await look("dialog")
    for path in ("/mod", "/mod/players", "/mod/blocked"):
        await mod.goto(path)
        await expect(mod.locator(".mod h1")).to_be_visible()
        await look(path)
    assert {where: each for where, each in found.items() if each} == {}


async def test_the_screens_weigh_what_they_may_and_players_do_not_carry_them(
    mod: Page, page: Page, player: Player
) -> None:
    sizes = """() => performance.getEntriesByType('resource').filter(each => /assets/.test(each.name))
      .map(each => [each.name.replace(/.*assets.[0-9a-f]+./, ''), each.encodedBodySize])"""
    await mod.goto(f"/mod/players/{player.user_id}")
    await expect(mod.locator(".history")).to_be_visible()
    carried = dict(await mod.evaluate(sizes))
    assert {"screens/mod/player.js", "console.css"} <= carried.keys()
    assert sum(carried.values()) < MAX_BYTES, json.dumps(carried)
    await expect(page.get_by_label("Password")).to_be_visible()
    assert [name for name in dict(await page.evaluate(sizes)) if re.search("mod/|console", name)] == []
