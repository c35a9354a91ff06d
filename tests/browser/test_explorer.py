"""For app developers, in a real Chromium: the explorer, and the page of their guide."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import BrowserContext, Page, expect

from services.cli.system.client import GraphqlClient
from tests.players import endpoints, register
from tests.servers import RunningStack


async def test_the_explorer_runs_a_query_and_knows_the_schema(page: Page) -> None:
    await page.goto("/graphql")
    await page.get_by_role("button", name="Execute query").click()
    await expect(page.locator(".graphiql-response")).to_contain_text('"getLeaderboard"')
    await page.get_by_role("button", name="Show Documentation Explorer").click()
    await expect(page.locator(".graphiql-plugin")).to_contain_text("Mutation")


async def test_the_guides_page_of_another_origin_watches_a_board(context: BrowserContext, stack: RunningStack) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "app-developer.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```js\n(.*?)```", guide, re.DOTALL)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
    page = await context.new_page()
    site = web.Application()
    site.router.add_get("/", _empty_page)
    async with TestServer(site) as server:
        await page.goto(f"http://localhost:{server.port}/")
        async with page.expect_console_message(lambda message: message.text.startswith("[")):
            script = script.replace("http://127.0.0.1:8080", stack.http)
            await page.evaluate(f"async accessToken => {{ {script} }}", player.access_token)


async def _empty_page(_request: web.Request) -> web.Response:
    return web.Response(text="<!doctype html>", content_type="text/html")
