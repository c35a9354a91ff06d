"""The rows of a live board in a real Chromium: what they show fits, moves and is read, whatever the names and numbers are."""

from __future__ import annotations

import uuid

from playwright.async_api import Page, expect

from services.cli.system.client import GraphqlClient
from tests.browser.test_display import link, show
from tests.browser.test_quality import WIDTHS, look
from tests.browser.visitor import adjust, short_quiz, sign_up
from tests.players import endpoints, register
from tests.servers import RunningStack, unique
from tests.system.actions.test_reported_actions import action, shop
from tests.system.views.test_metadata_on_boards import TYPE

# Rows as they are below the first thousand, in place of those that are shown: whether each rank has its place to itself.
RANKS_FIT = """async ranks => {
  const { Rows } = await import('/assets/0000000000000000/parts/rows.js');
  const rows = new Rows();
  document.querySelector('.board-rows').replaceChildren(rows.element);
  rows.show(ranks.map(rank => ({ rank, userId: `${rank}`, username: 'Wolfgang-Amadeus', score: 123_456, country: null })));
  return [...rows.element.children].every(row => {
    const [rank, name, score] = ['.rank', '.name', '.score'].map(each => row.querySelector(each).getBoundingClientRect());
    const number = document.createRange();
    number.selectNodeContents(row.querySelector('.rank'));
    const { left, right } = number.getBoundingClientRect();
    const { left: start, right: end } = row.getBoundingClientRect();
    return left >= start && right <= rank.right + 1 && right <= name.left && score.right <= end && name.width > 40;
  });
}"""
# The contrast of each text of the first three rows with the metal behind the beginning of the row.
CONTRASTS = """() => {
  const context = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const luminance = color => {
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const linear = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map(each => each / 255).map(each => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  return ['1', '2', '3'].flatMap(rank => {
    const row = document.querySelector(`.rows li[data-rank="${rank}"]:not(.own)`);
    const behind = luminance(getComputedStyle(row).backgroundImage.match(/gradient\\(90deg, (.*?\\))/)[1]);
    return ['.rank', '.name', '.country'].map(part => {
      const front = luminance(getComputedStyle(row.querySelector(part)).color);
      const ratio = (Math.max(front, behind) + 0.05) / (Math.min(front, behind) + 0.05);
      return [rank, part, Math.round(ratio * 100) / 100];
    });
  });
}"""
IS_BELOW = """row => row.querySelector('.details').getBoundingClientRect().top
  >= row.querySelector('.name').getBoundingClientRect().bottom - 4"""


def said(pairs: dict[str, str]) -> str:
    """Return metadata as a row shows it: each part isolated, so that none turns the others around."""
    return " · ".join(f"\u2068{name}\u2069: \u2068{text}\u2069" for name, text in pairs.items())


async def test_an_entry_shows_the_beginning_of_its_metadata_wherever_there_is_room(
    page: Page, stack: RunningStack
) -> None:
    lap, first = unique("lap-"), {"car": "سريع", "lap": "3", "replay": "x" * 200}
    async with (
        GraphqlClient(endpoints(stack).graphql) as client,
        shop(stack, "action:define", "action:submit") as asked,
    ):
        await asked("PutActionType", actionType={"actionTypeId": lap, **TYPE})
        player, other = [await register(client, country="NU") for _ in range(2)]

        async def drive(value: int, **metadata: str) -> None:
            stated = {**action(player, lap, value=value, metadata=metadata)}
            del stated["quantity"]
            (result,) = (await asked("SubmitActions", actions=[stated]))["results"]
            assert result["status"] == "ACCEPTED", result

        await drive(5, **first, track="4")
        await adjust(stack, other.user_id, 1)
        await sign_up(page, unique("watch"), "nu")
        await page.goto("/b/country:NU")
        row = page.locator(f'li[data-user="{player.username}"]')
        await expect(row.locator(".details")).to_have_text(said(first))
        await expect(page.locator(f'li[data-user="{other.username}"] .details')).to_be_hidden()
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await row.evaluate(IS_BELOW) is (width < 768), width
            size = "row => [row.scrollWidth - row.clientWidth, row.clientHeight]"
            over, height = await row.evaluate(size)
            assert (over, height <= 48) == (0, True), width
        assert await look(page) == []
        display = await show(page.context, (await link(stack, {"kind": "COUNTRY", "country": "NU"}))["url"])
        await expect(display.locator(".details").first).to_have_text(said(first))
        await drive(1, car="slow")
        for each in (row, display.locator(f'li[data-user="{player.username}"]')):
            await expect(each.locator(".details")).to_have_text(said({"car": "slow"}))
        await drive(1)
        await expect(row.locator(".details")).to_be_hidden()
        await display.close()


async def test_a_rank_of_any_length_has_its_place(page: Page) -> None:
    await sign_up(page, unique("ranks"))
    await page.goto("/b/all")
    await expect(page.locator(".state")).to_have_text("Live")
    for width in (320, 390, 1440):
        await page.set_viewport_size({"width": width, "height": 800})
        for ranks in ([1, 9], [98, 104], [9_997, 10_003], [1_234_567]):
            assert await page.evaluate(RANKS_FIT, ranks), (width, ranks)


async def test_every_text_stands_out_from_its_metal(page: Page, stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        for points in (3, 2, 1):
            player = await register(client, country="PW")
            await adjust(stack, player.user_id, points)
    await sign_up(page, unique("metal"), "pw")
    await page.goto("/b/country:PW")
    await expect(page.locator(".rows li")).to_have_count(3)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        found = await page.evaluate(CONTRASTS)
        assert len(found) == 9
        assert [each for each in found if each[2] < 4.5] == [], scheme


async def test_a_riser_is_above_the_rows_it_passes(page: Page, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        first, second = await register(client), await register(client)
        await first.submit(quiz_id, [("q1", "a"), ("q2", "a")])
        await second.submit(quiz_id, [("q1", "a")])
        await sign_up(page, unique("riser"))
        await page.goto(f"/b/quiz:{quiz_id}")
        await expect(page.locator(f'li[data-user="{second.username}"] .rank')).to_have_text("2")
        # Recorded while it moves, whatever the speed of the machine.
        await page.evaluate("""() => {
          window.raised = [];
          new MutationObserver(changes => {
            for (const { target } of changes) if (target.style.zIndex) raised.push([target.dataset.user, target.style.zIndex]);
          }).observe(document.querySelector('.rows'), { subtree: true, attributes: true, attributeFilter: ['style'] });
        }""")
        await second.submit(quiz_id, [("q1", "a"), ("q2", "a")])
        await expect(page.locator(f'li[data-user="{second.username}"] .rank')).to_have_text("1")
        risers = [first.username, second.username]
        await page.wait_for_function("users => users.every(user => raised.some(each => each[0] === user))", arg=risers)
        raised = dict(await page.evaluate("raised"))
        assert int(raised[second.username]) > int(raised[first.username])


async def test_with_reduced_motion_a_change_is_marked_and_nothing_moves(page: Page, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    await page.emulate_media(reduced_motion="reduce")
    async with GraphqlClient(endpoints(stack).graphql) as client:
        first, second = await register(client), await register(client)
        await first.submit(quiz_id, [("q1", "a")])
        await sign_up(page, unique("calm"))
        await page.goto(f"/b/quiz:{quiz_id}")
        await expect(page.locator(f'li[data-user="{first.username}"]')).to_be_visible()
        await page.evaluate("""() => {
          window.moved = 0;
          const real = Element.prototype.animate;
          Element.prototype.animate = function (...how) { moved += 1; return real.apply(this, how); };
        }""")
        await second.submit(quiz_id, [("q1", "a"), ("q2", "a")])
        row = page.locator(f'li[data-user="{second.username}"]')
        await expect(row.locator(".gain")).to_have_text("new")
        await first.submit(quiz_id, [("q1", "a"), ("q2", "a")])
        row = page.locator(f'li[data-user="{first.username}"]')
        await expect(row.locator(".gain")).to_have_text("+20")
        await expect(row.locator(".move")).to_have_text("1")
    assert await page.evaluate("moved") == 0


async def test_names_of_every_script_begin_at_one_edge(page: Page, stack: RunningStack) -> None:
    quiz_id = await short_quiz(stack)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        for name in ("שלום", "سلام", "日本語", "ไทยดี", "Ελλάδα"):
            player = await register(client, username=f"{name}{uuid.uuid4().int % 10**9}")
            await player.submit(quiz_id, [("q1", "a")])
    await sign_up(page, unique("scripts"))
    await page.goto(f"/b/quiz:{quiz_id}")
    await expect(page.locator(".rows .name")).to_have_count(5)
    edges = "names => names.map(name => [name.tagName, Math.round(name.getBoundingClientRect().left)])"
    found = await page.locator(".rows .name").evaluate_all(edges)
    assert found == [found[0]] * 5
    assert found[0][0] == "BDI"


async def test_a_name_keeps_room_beside_the_largest_score(page: Page, stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client, username=unique("Wolfgang-"), country="LI")
        await adjust(stack, player.user_id, 999_999_999)
    await page.set_viewport_size({"width": 320, "height": 640})
    await sign_up(page, unique("narrow"), "li")
    await page.goto("/b/country:LI")
    name = page.locator(f'li[data-user="{player.username}"] .name')
    await expect(page.locator(f'li[data-user="{player.username}"] .score')).to_have_text("999,999,999")
    room, needed = await name.evaluate("""element => {
      const probe = element.cloneNode();
      probe.style.cssText = 'position:absolute;inline-size:max-content;max-inline-size:none';
      probe.textContent = element.textContent.slice(0, 6);
      element.parentElement.append(probe);
      const needed = probe.getBoundingClientRect().width;
      probe.remove();
      return [element.getBoundingClientRect().width, needed];
    }""")
    assert room >= needed
