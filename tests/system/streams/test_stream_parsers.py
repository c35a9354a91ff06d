"""One stream through four parsers: every client reads the same events, whatever a name contains."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from httpx_sse import aconnect_sse

from tests.chromium import running_chromium
from tests.deadline import deadline
from tests.node import run_script
from tests.players import stream
from tests.servers import unique
from tests.unit.edge.edge_process import EdgeProcess, edge_process
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard, frame, scripted_leaderboard
from tests.unit.runtime.issuer import Issuer

PATH = "/api/v1/leaderboard/stream"
# Characters that end a line or a field for some parser, or that mean something to a page.
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
    """An event as a parser returns it."""

    name: str
    id: str
    data: Any


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
async def leaderboard() -> AsyncIterator[ScriptedLeaderboard]:
    async with scripted_leaderboard() as leaderboard:
        yield leaderboard


@pytest.fixture
async def edge(issuer: Issuer, leaderboard: ScriptedLeaderboard, tmp_path: Path) -> AsyncIterator[EdgeProcess]:
    async with edge_process(issuer, leaderboard, tmp_path / "edge.log", STREAM_HEARTBEAT="100ms") as process:
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
        events = (each async for each in source.aiter_sse() if each.event == "update")
        return [Seen(each.event, each.id, json.loads(each.data)) async for each in first(events, count)]


async def by_chromium(edge: EdgeProcess, token: str, board: str, count: int) -> list[Seen]:
    async with running_chromium() as browser:
        page = await browser.new_page()
        await page.goto(f"{edge.http}/")
        collected = await page.evaluate(COLLECT, [f"{PATH}?board={board}&token={token}", count])
    return [Seen(name, id_, json.loads(data)) for name, id_, data in collected]


async def by_eventsource(edge: EdgeProcess, token: str, board: str, count: int) -> list[Seen]:
    """The npm package that clients in Node.js use."""
    collected = await asyncio.to_thread(run_script, "events.mjs", f"{edge.http}{PATH}?board={board}", str(count), token)
    return [Seen(**each) for each in collected]


async def first(events: AsyncIterator[Any], count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        yield await anext(events)


async def test_every_parser_reads_the_same_events(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard
) -> None:
    board = f"quiz:{unique('parsed-')}"
    leaderboard.publish(frame(1, board=board))
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
        leaderboard.publish(frame(version, board=board, name=name))
    async with deadline("every parser has read all events"):
        ours, theirs, nodes, browsers = await asyncio.gather(*readers)
    assert ours == theirs == nodes == browsers
    assert [seen.id for seen in ours] == [f"1-{version}" for version in range(1, count + 1)]
    assert [seen.data["leaderboard"][0]["username"] for seen in ours[1:]] == NAMES
