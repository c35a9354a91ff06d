"""`topten top`: a board in the terminal, once or live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from services.local.client import Endpoints, GraphqlClient, GraphqlError
from services.local.events import MAX_LINE_BYTES, read_events
from services.local.terminal import DATA, FOUND, Data, fail, out, run

RECONNECT_SECONDS = 1.0
# Answers of a system that starts or is busy: whoever watches asks again.
PASSING = frozenset({429, 500, 502, 503, 504})
PASSING_REASONS = frozenset({"RATE_LIMITED", "UNAVAILABLE", "INTERNAL"})


def top(
    board: Annotated[
        str, typer.Option(help="all, weekly, weekly:2026-47, monthly, monthly:2026-11, country:VN or quiz:ID.")
    ] = "all",
    watch: Annotated[bool, typer.Option("--watch", help="Stay and follow the board.")] = False,
    data: Data = DATA,
) -> None:
    """Show the top 10 of a board, signed in as the first demo player."""
    try:
        run(_show(data, board, watch=watch))
    except KeyboardInterrupt:
        raise typer.Exit from None


async def _show(data: Path, board: str, *, watch: bool) -> None:
    endpoints = Endpoints.load(data)
    last: dict[str, Any] | None = None
    with Live(console=out, auto_refresh=False, transient=False) as live:
        async for frame in _frames(endpoints, board, patient=watch):
            last = frame or last
            if last is not None:
                live.update(_table(last, state="" if frame else " (reconnecting)"), refresh=True)
            if not watch:
                break
    if last is None and not watch:
        fail("the stream ended before it showed the board", FOUND)


async def _frames(endpoints: Endpoints, board: str, *, patient: bool) -> AsyncIterator[dict[str, Any] | None]:
    """The frames of the stream. Whoever is patient sees None when the connection is lost, and it is opened again."""
    last_id = ""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=45)
    while True:
        try:
            async with GraphqlClient(endpoints.graphql) as client:
                token = await client.login(*endpoints.player())
            headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream", "Last-Event-ID": last_id}
            async with (
                aiohttp.ClientSession(timeout=timeout, read_bufsize=MAX_LINE_BYTES) as session,
                session.get(endpoints.stream, params={"board": board}, headers=headers) as response,
            ):
                if response.status == 204:
                    return
                if response.status != 200 and not (patient and response.status in PASSING):
                    problem = await response.json(content_type=None)
                    fail(f"{problem.get('detail', 'refused')} ({problem.get('code', response.status)})", FOUND)
                async with aclosing(read_events(response.content)) as events:
                    async for name, event_id, text in events:
                        if name == "end":
                            return
                        if name == "update":
                            last_id = event_id
                            yield json.loads(text)
        except (aiohttp.ClientError, TimeoutError):
            if not patient:
                raise
        except GraphqlError as error:
            if not patient or error.reason not in PASSING_REASONS:
                raise
        yield None
        await asyncio.sleep(RECONNECT_SECONDS)


def _table(frame: dict[str, Any], *, state: str = "") -> Table:
    state = state or (" (stale)" if frame["stale"] else "")
    table = Table(title=Text(f"{frame['board']}{state}"), caption=Text(frame["timestamp"]), min_width=44)
    table.add_column("rank", justify="right")
    table.add_column("player", min_width=20)
    table.add_column("", min_width=2)
    table.add_column("score", justify="right")
    for entry in frame["leaderboard"]:
        table.add_row(str(entry["rank"]), Text(entry["username"]), entry["country"] or "", f"{entry['score']:,}")
    return table
