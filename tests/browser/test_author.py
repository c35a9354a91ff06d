"""The author's screens in a real Chromium: a quiz written by keyboard alone and then played, and a file with its report."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Final, Literal

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient
from tests.browser.visitor import findings, new_context, sign_up
from tests.deadline import eventually
from tests.players import PASSWORD, Player, endpoints, register
from tests.quiz_files import SAMPLES, content_of
from tests.servers import RunningStack, unique

MAX_BYTES = 60 * 1024
SCHEMES: Final[list[tuple[Literal["light", "dark"], Literal["none", "active"]]]] = [
    ("light", "none"),
    ("dark", "none"),
    ("dark", "active"),
]
# A line of a report in tests/fixtures/quiz_files for each item: where it stands, and what became of it.
REPORTED = r"^  .+: (taken|changed|refused)(?:: .*)?$"
GIFT = "::One:: Which is a prime? { =7 ~9 ~8 }\n\n::Two:: <b>The sky</b> is green. {F}\n\n::Three:: Who are you? {}\n"
TIMES = "query ($id: ID!) { playerExtraTimes(userId: $id) { extraTime quizId reason } }"
DRAFT = "query ($id: ID!) { quizDraft(id: $id) { document quiz { owner { username } editors { username } } } }"
SCHEDULE = "mutation ($input: ScheduleQuizInput!) { scheduleQuiz(input: $input) { version } }"
SAVE = "mutation ($input: SaveQuizDraftInput!) { saveQuizDraft(input: $input) { quiz { revision } } }"


@pytest_asyncio.fixture(scope="module")
async def account(stack: RunningStack) -> Player:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
    await grant_role(endpoints(stack), player.username, "author")
    return player


@pytest_asyncio.fixture(scope="module")
async def context(browser: Browser, stack: RunningStack, account: Player) -> AsyncIterator[BrowserContext]:
    """An author's browser, whose pages axe-core may enter."""
    context = await new_context(browser, stack, bypass_csp=True, viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    await page.goto("/")
    await page.get_by_label("Name").fill(account.username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("link", name="Write", exact=True)).to_be_visible()
    await page.close()
    yield context
    await context.close()


@pytest_asyncio.fixture
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []
    await page.close()


async def reach(page: Page, role: str, name: str) -> None:
    """Press Tab until a control has the focus."""
    wanted = page.get_by_role(role, name=name, exact=True).first  # type: ignore[arg-type]  # a role is a literal
    await expect(wanted).to_be_enabled()

    async def has_focus() -> bool:
        if await wanted.evaluate("element => element === document.activeElement"):
            return True
        await page.keyboard.press("Tab")
        return False

    await eventually(has_focus, f"Tab reaches {role} {name}")


async def test_a_quiz_is_written_and_published_by_keyboard_alone_and_then_played(
    page: Page, stack: RunningStack
) -> None:
    quiz_id, keyboard = unique("written-"), page.keyboard
    await page.goto("/author")
    await reach(page, "button", "New quiz")
    await keyboard.press("Enter")
    await keyboard.type(quiz_id)
    await keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(f"/author/q/{quiz_id}$"))

    await reach(page, "button", "Add a question")
    await keyboard.press("Enter")
    await expect(page.get_by_label("Question", exact=True)).to_be_focused()
    await keyboard.type("Put in order?")
    await reach(page, "combobox", "Kind")
    await keyboard.type("Put in")
    for number, option in enumerate(("second", "first"), start=1):
        await reach(page, "textbox", f"Option {number}")
        await keyboard.type(option)
    await keyboard.press("Alt+ArrowUp")
    await expect(page.locator(".key input").first).to_have_value("first")
    await expect(page.locator(".key input").first).to_be_focused()

    # Questions are added, ordered and deleted like options.
    await reach(page, "button", "Add a question")
    await keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/3$"))
    await reach(page, "button", "Delete this question")
    await keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/2$"))
    names = page.locator(".question-list .what bdi")
    await reach(page, "button", "Move up: Question 2")
    await keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/1$"))
    await expect(names).to_have_text(["Put in order?", "No text yet"])
    await expect(page.get_by_role("button", name="Move up: Question 1")).to_be_focused()
    await keyboard.press("Shift+Tab")
    await keyboard.press("Alt+ArrowDown")
    await expect(names).to_have_text(["No text yet", "Put in order?"])
    await expect(page.get_by_role("link", name="Put in order?")).to_be_focused()

    # The first question is still empty, and says so.
    await reach(page, "button", "3 faults to fix")
    await keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/1$"))
    text = page.get_by_label("Question", exact=True)
    await expect(text).to_be_focused()
    await expect(text).to_have_attribute("aria-invalid", "true")
    await expect(page.locator("[data-place='questions[0].text'] .fault")).to_have_text("Must not be empty.")
    await keyboard.type("Which?")
    await reach(page, "textbox", "Option 1")
    await keyboard.type("This")
    await reach(page, "textbox", "Option 2")
    await keyboard.type("That")
    await keyboard.press("Enter")
    await expect(page.get_by_label("Option 3", exact=True)).to_be_focused()
    await reach(page, "button", "Delete: Option 3")
    await keyboard.press("Enter")
    await expect(page.get_by_label("Option 2", exact=True)).to_be_focused()
    # What the author sees beside the form is the player's own.
    await expect(page.locator(".preview .option")).to_have_text(["1This", "2That"])

    await reach(page, "button", "Publish")
    await keyboard.press("Enter")
    await expect(page.locator(".tags")).to_have_text(re.compile("OpenVersion 1$"))
    await page.reload()
    await expect(text).to_have_value("Which?")
    await page.goto(f"/q/{quiz_id}")
    await page.get_by_role("link", name="Start").click()
    await page.locator(".option").first.click()
    await page.locator(".question-foot button").click()
    await expect(page.locator(".ordering")).to_be_visible()
    assert await page.locator(".ordering bdi").all_inner_texts() == ["first", "second"]


async def test_what_somebody_else_saved_is_not_overwritten(page: Page, stack: RunningStack, account: Player) -> None:
    quiz_id = unique("shared-")
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(account.username, PASSWORD)

        async def save(title: str, revision: int) -> None:
            quiz = {"quizId": quiz_id, "document": json.dumps({"id": quiz_id, "title": title}), "revision": revision}
            await client.execute(SAVE, {"input": quiz}, token)

        await save("Before", 0)
        await page.goto(f"/author/q/{quiz_id}")
        title = page.get_by_label("Title", exact=True)
        await expect(title).to_have_value("Before")
        await save("Theirs", 1)
        await title.fill("Mine")
        await expect(page.get_by_role("alert").filter(has_text="Somebody else")).to_be_visible()
        await page.reload()
        await expect(title).to_have_value("Mine")
        await page.get_by_role("button", name="Load theirs").click()
        await expect(title).to_have_value("Theirs")
        await expect(page.get_by_text("Saved", exact=True)).to_be_visible()


async def choose_first_version(page: Page, quiz_id: str, title: str) -> None:
    """Put version 1 of 2 back into a draft with another title, by keyboard alone."""
    field, dialog = page.get_by_label("Title", exact=True), page.get_by_role("dialog")
    await field.fill("Another")
    await expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    await page.goto(f"/author/q/{quiz_id}/1")
    await reach(page, "button", "Versions…")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_label("Versions")).to_be_focused()
    newest, oldest = dialog.get_by_role("option").nth(0), dialog.get_by_role("option").nth(1)
    await expect(newest).to_have_text(re.compile(f"^Version 2 · Current · .{title}. · 1 question · Published .+$"))
    await expect(oldest).to_have_text(re.compile(f"^Version 1 · .{title}. · 1 question · Published .+$"))
    await page.keyboard.press("ArrowDown")
    await reach(page, "button", "Edit this version again")
    await page.keyboard.press("Enter")
    await expect(page.locator(".notice")).to_have_text(re.compile("content of version 1"))
    await expect(field).to_have_value(title)
    await expect(page).to_have_url(re.compile(f"/author/q/{quiz_id}$"))
    await expect(page.locator(".tags")).to_have_text(re.compile("Version 2Unpublished changes$"))


async def test_a_quiz_gets_times_editors_and_more_time_for_a_player(
    page: Page, stack: RunningStack, account: Player
) -> None:
    quiz_id = unique("timed-")
    question = {
        "id": "q1",
        "text": "Which?",
        "options": [{"id": "a", "text": "This"}, {"id": "b", "text": "That"}],
        "correct": "a",
    }
    document = {"id": quiz_id, "title": "On time", "questions": [question]}
    async with GraphqlClient(endpoints(stack).graphql) as client:
        token = await client.login(account.username, PASSWORD)
        quiz = {"quizId": quiz_id, "document": json.dumps(document), "revision": 0}
        await client.execute(SAVE, {"input": quiz}, token)
        other, player = await register(client), await register(client)

        await page.goto(f"/author/q/{quiz_id}")
        await expect(page.get_by_label("Grace", exact=True)).to_be_hidden()
        for label, typed, place in (
            ("Time limit", "3", "timing.limitSeconds"),
            ("Grace", "400", "timing.graceSeconds"),
            ("Pause between attempts", "a day", "attempts.cooldownSeconds"),
        ):
            await page.get_by_label(label, exact=True).fill(typed)
            await expect(page.locator(f"[data-place='{place}'] > .fault")).not_to_be_empty()
            await expect(page.get_by_label(label, exact=True)).to_have_attribute("aria-invalid", "true")
        for label, right in (("Time limit", "90"), ("Grace", "5"), ("Pause between attempts", "60")):
            await page.get_by_label(label, exact=True).fill(right)
        await page.get_by_label(re.compile("answers of a room")).check()
        await page.get_by_role("button", name="Publish").click()
        await expect(page.locator(".tags")).to_have_text(re.compile("OpenVersion 1$"))

        await page.get_by_role("button", name="Share…").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_label("Owner")).to_have_value(account.username)
        await dialog.get_by_label("Editors").fill(f"{other.username.upper()}\nnobody-at-all")
        await dialog.get_by_role("button", name="Share").click()
        await expect(dialog).to_contain_text("No account has the name")
        await expect(dialog.get_by_label("Editors")).to_have_attribute("aria-invalid", "true")
        assert await findings(page) == []
        await dialog.get_by_label("Editors").fill(other.username.upper())
        await dialog.get_by_role("button", name="Share").click()
        await expect(page.locator(".notice")).to_have_text(re.compile("Shared"))

        await page.get_by_role("button", name="Extra time…").click()
        await dialog.get_by_label("Player").fill(player.username)
        await dialog.get_by_label("Extra time").select_option(label="Twice")
        await dialog.get_by_label("Reason").fill("Reads slowly")
        assert await findings(page) == []
        await dialog.get_by_role("button", name="Give extra time").click()
        await expect(page.locator(".notice")).to_contain_text("Twice. Before: As for everybody.")

        await page.get_by_role("button", name="Judge again…").click()
        await expect(dialog).to_contain_text("None of 0 attempts changes.")
        await page.keyboard.press("Escape")

        # A schedule is a version of its own; one that ends before it begins says so beside its field.
        await page.get_by_role("button", name="Schedule…").click()
        await dialog.get_by_label("Opens").fill("2031-05-02T10:00")
        await dialog.get_by_label("Closes").fill("2031-05-01T10:00")
        await dialog.get_by_role("button", name="Schedule").click()
        await expect(dialog.locator("[aria-invalid=true]")).to_have_count(1)
        await dialog.get_by_label("Closes").fill("2031-05-03T10:00")
        await dialog.get_by_role("button", name="Schedule").click()
        await expect(page.locator(".tags")).to_have_text(re.compile("ScheduledVersion 2"))

        await choose_first_version(page, quiz_id, "On time")
        draft = (await client.execute(DRAFT, {"id": quiz_id}, token))["quizDraft"]
        assert draft["quiz"] == {"owner": {"username": account.username}, "editors": [{"username": other.username}]}
        written = json.loads(draft["document"])
        assert written["timing"] == {"limitSeconds": 90, "graceSeconds": 5}
        assert written["attempts"]["cooldownSeconds"] == 60
        assert written["roomsCountOnBoards"] is True
        assert written["opensAt"], "an earlier version brings its content back, not its times"
        for version in range(2, 22):
            times = {"quizId": quiz_id, "closesAt": f"2031-06-{version:02}T10:00:00Z", "version": version}
            await client.execute(SCHEDULE, {"input": times}, token)
        await page.reload()
        await page.get_by_role("button", name="Versions…").click()
        await expect(dialog.get_by_role("option").last).to_have_text("Older versions")
        await page.keyboard.press("End")
        await expect(dialog.get_by_role("option").last).to_have_text(re.compile("^Version 1 ·"))
        await expect(dialog.get_by_role("option")).to_have_count(22)
        await expect(dialog.get_by_label("Versions")).to_have_value("2")
        await page.keyboard.press("Escape")
        staff = stack.endpoints["moderator"]
        moderator = await client.login(staff["username"], staff["password"])
        (decided,) = (await client.execute(TIMES, {"id": player.user_id}, moderator))["playerExtraTimes"]
    assert decided == {"extraTime": "DOUBLE", "quizId": quiz_id, "reason": "Reads slowly"}


async def test_a_file_shows_a_line_for_each_item_before_it_is_stored(page: Page) -> None:
    name = unique("file-")
    await page.goto("/author/import")
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_label("Or paste its text").fill(GIFT)
    await page.get_by_role("button", name="Check the file").click()
    await expect(page.locator(".items .verdict")).to_have_text(["Taken", "Changed", "Refused"])
    await expect(page.locator(".items li").last).to_contain_text("line 5")
    await page.goto("/author")
    await expect(page.locator(".authored")).to_be_visible()
    await expect(page.get_by_role("link", name=name.replace("-", " "))).to_have_count(0)
    await page.go_back()
    await expect(page.get_by_label("Or paste its text")).to_have_value(GIFT)
    await page.get_by_role("button", name="Check the file").click()
    await page.get_by_role("button", name="Store 1 draft").click()
    await page.locator(".report").get_by_role("link").click()
    await expect(page.locator(".question-list li")).to_have_count(3)


async def test_a_file_of_every_format_has_a_line_for_each_item_and_stores_nothing(page: Page) -> None:
    await page.goto("/author/import")
    chosen, check = page.get_by_label("Choose a file"), page.get_by_role("button", name="Check the file")
    for sample in SAMPLES:
        expected = re.findall(REPORTED, sample.with_name(f"{sample.name}.report").read_text(), re.MULTILINE)
        content = {"name": sample.name, "mimeType": "application/octet-stream", "buffer": content_of(sample)}
        await chosen.set_input_files(content)  # type: ignore[arg-type]  # a FilePayload is a dict
        await check.click()
        verdicts = page.locator(".items .verdict")
        if expected:
            await expect(verdicts, sample.name).to_have_text([each.capitalize() for each in expected])
        else:
            await expect(page.locator(".report .error"), sample.name).to_have_count(1)
    await page.goto("/author")
    await expect(page.get_by_role("link", name="kinds")).to_have_count(0)


async def test_the_screens_have_no_finding_and_are_light(page: Page, stack: RunningStack) -> None:
    name = unique("checked-")
    await page.goto("/author/import")
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_label("Or paste its text").fill(GIFT)
    await page.get_by_role("button", name="Check the file").click()
    await expect(page.locator(".items")).to_be_visible()
    found: list[object] = []

    async def check(where: str) -> None:
        for scheme, forced in SCHEMES:
            await page.emulate_media(color_scheme=scheme, forced_colors=forced)
            found.extend((where, scheme, forced, each) for each in await findings(page))

    await check("import")
    await page.get_by_role("button", name="Store 1 draft").click()
    await page.locator(".report").get_by_role("link").click()
    await check("quiz")
    await page.locator(".question-list a").nth(1).click()
    await expect(page.locator(".preview .option").first).to_be_visible()
    await check("question")
    await page.set_viewport_size({"width": 320, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    await page.goto("/author")
    await expect(page.locator(".authored li").first).to_be_visible()
    await check("list")
    assert found == []
    await page.locator(".authored a").first.click()
    editor = page.url
    for address in ("/author", editor):
        await page.goto(address)
        await expect(page.locator(".author h1")).to_be_visible()
        sizes = await page.evaluate(
            "performance.getEntriesByType('resource').map(each => [each.name, each.encodedBodySize])"
        )
        carried = {name.rpartition("/")[2]: size for name, size in sizes if "/assets/" in name}
        assert {"console.css", "author.css"} <= carried.keys()
        assert sum(carried.values()) < MAX_BYTES, json.dumps(carried)


async def test_others_have_no_menu_entry_and_are_refused(browser: Browser, stack: RunningStack) -> None:
    context = await new_context(browser, stack)
    page = await context.new_page()
    await page.goto("/author")
    await sign_up(page, unique("player-"))
    await expect(page.get_by_role("heading", name="This account may not do that.")).to_be_visible()
    await expect(page.get_by_role("link", name="Write", exact=True)).to_have_count(0)
    await context.close()
