"""The same stream through four parsers: every client reads what was sent, whatever stands in a name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from httpx_sse import aconnect_sse
from playwright.async_api import async_playwright

from tests.browser.test_page import ARGUMENTS
from tests.node import run_script
from tests.players import stream
from tests.servers import unique
from tests.unit.edge.announcer import Announcer, EdgeProcess, announcing, edge_process, frame
from tests.unit.runtime.issuer import Issuer

PATH = "/api/v1/leaderboard/stream"
# Whatever ends a line somewhere, ends a field, or means something to a page.
NAMES = [
    "a\nb", "a\rb", "a\r\nb", "a\0b", "a\u0085b", "a\u2028b", "a\u2029b", "a\x0bb\x0cb\x1cb", "data: x", "\ufeff",
    "<script>alert(1)</script>", "\\u2028", "Zoë 漢字 😀", ":", " leading", "event: end\n\n",
]  # fmt: skip
COLLECT = """([url, count]) => new Promise(resolve => {
  const seen = [], source = new EventSource(url);
  source.addEventListener('update', event => {
    seen.push([event.type, event.lastEventId, event.data]);
    if (seen.length === count) { source.close(); resolve(seen); }
  });
})"""


class Seen(NamedTuple):
    """One event as a parser has it."""

    name: str
    id: str
    data: Any


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as opened:
        yield opened


@pytest.fixture(scope="module")
async def announcer() -> AsyncIterator[Announcer]:
    async with announcing() as serving:
        yield serving


@pytest.fixture
async def edge(issuer: Issuer, announcer: Announcer, tmp_path: Path) -> AsyncIterator[EdgeProcess]:
    async with edge_process(issuer, announcer, tmp_path / "edge.log", STREAM_HEARTBEAT="100ms") as process:
        yield process


async def by_ours(edge: EdgeProcess, token: str, board: str, count: int) -> list[Seen]:
    async with stream(edge.http, token, board) as events:
        return [Seen(event.name, event.id, event.data) async for event in first(events, count)]


async def by_httpx_sse(edge: EdgeProcess, token: str, board: str, count: int) -> list[Seen]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(timeout=None, trust_env=False) as client,  # a stream lasts
        aconnect_sse(client, "GET", f"{edge.http}{PATH}", params={"board": board}, headers=headers) as source,
    ):
        # It shows an event without data for a lone `retry`, too, which the standard drops.
        events = (each async for each in source.aiter_sse() if each.data)
        return [Seen(each.event, each.id, json.loads(each.data)) async for each in first(events, count)]


async def by_chromium(edge: EdgeProcess, token: str, board: str, count: int) -> list[Seen]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        page = await browser.new_page()
        await page.goto(f"{edge.http}/")
        found = await page.evaluate(COLLECT, [f"{PATH}?board={board}&token={token}", count])
        await browser.close()
    return [Seen(name, id_, json.loads(data)) for name, id_, data in found]


async def by_eventsource(edge: EdgeProcess, token: str, board: str, count: int) -> list[Seen]:
    """The package of npm, which clients in Node use."""
    found = await asyncio.to_thread(run_script, "events.mjs", f"{edge.http}{PATH}?board={board}", str(count), token)
    return [Seen(**each) for each in found]


async def first(events: AsyncIterator[Any], count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        yield await anext(events)


async def test_every_parser_has_the_same_events(edge: EdgeProcess, issuer: Issuer, announcer: Announcer) -> None:
    board = f"quiz:{unique('parsed-')}"
    announcer.announce(frame(1, board=board))
    count = 1 + len(NAMES)
    of_stream = issuer.token(headers={"typ": "stream+jwt"}, sid=None)
    readers = [
        asyncio.create_task(by_ours(edge, issuer.token(sid=None), board, count)),
        asyncio.create_task(by_httpx_sse(edge, issuer.token(sid=None), board, count)),
        asyncio.create_task(by_eventsource(edge, issuer.token(sid=None), board, count)),
        asyncio.create_task(by_chromium(edge, of_stream, board, count)),
    ]
    await edge.until_metric("topten_sse_connections", len(readers))
    for version, name in enumerate(NAMES, start=2):
        announcer.announce(frame(version, board=board, name=name))
    async with asyncio.timeout(30):
        ours, theirs, nodes, browsers = await asyncio.gather(*readers)
    assert ours == theirs == nodes == browsers
    assert [seen.id for seen in ours] == [f"1-{version}" for version in range(1, count + 1)]
    assert [seen.data["leaderboard"][0]["username"] for seen in ours[1:]] == NAMES
