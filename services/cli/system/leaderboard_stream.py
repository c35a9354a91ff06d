"""The leaderboard stream as a client reads it: Server-Sent Events over one connection."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import aiohttp

from services.cli.system.client import GraphqlError

STREAM_PATH: Final = "/api/v1/leaderboard/stream"
MAX_LINE_BYTES: Final = 1024 * 1024
# Three missed heartbeats.
READ_SECONDS: Final = 45


class StreamError(GraphqlError):
    """The stream was refused or closed, with one of the published reasons."""


class Event(NamedTuple):
    """One event of the stream: `update` (a board), `me` (the reader's own standing) or `ping` (a heartbeat)."""

    name: str
    event_id: str
    data: dict[str, Any]


async def read_board(url: str, board: str, token: str, *, last_event_id: str = "") -> AsyncGenerator[Event, None]:
    """Yield the events of one connection; return when the board's period has closed.

    Raises StreamError for any response but 200 and 204 and when the server closes the stream, and aiohttp.ClientError or
    TimeoutError when the connection is lost.
    """
    async with _open(url, board, token, last_event_id) as response:
        if response.status == 204:
            return
        async for name, event_id, text in _parse(response.content):
            if name == "end":
                return
            if name in ("update", "me", "ping"):
                yield Event(name, event_id, json.loads(text))
    raise StreamError("UNAVAILABLE", "The server closed the stream.")


async def require_board(url: str, board: str, token: str) -> None:
    """Raise StreamError, with BOARD_NOT_FOUND for a board that does not exist; one whose period is over does."""
    async with _open(url, board, token):
        return


@asynccontextmanager
async def _open(url: str, board: str, token: str, last_event_id: str = "") -> AsyncIterator[aiohttp.ClientResponse]:
    """Yield a response with status 200 or 204. Raises StreamError for any other."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream", "Last-Event-ID": last_event_id}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=READ_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=MAX_LINE_BYTES) as session,
        session.get(url, params={"board": board}, headers=headers) as response,
    ):
        if response.status not in (200, 204):
            raise await _refusal(response)
        yield response


async def _refusal(response: aiohttp.ClientResponse) -> StreamError:
    """Read the problem document; a proxy's error has none and counts as UNAVAILABLE."""
    try:
        problem = await response.json(content_type=None)
        return StreamError(str(problem["code"]), str(problem.get("detail", "The stream was refused.")))
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = "UNAVAILABLE" if response.status >= 500 else "INTERNAL"
        return StreamError(reason, f"The stream responded with HTTP status {response.status}.")


async def _parse(lines: aiohttp.StreamReader) -> AsyncGenerator[tuple[str, str, str], None]:
    """Yield name, id and data of each event (HTML standard, 9.2.6)."""
    name, event_id = "message", ""
    data: list[str] = []
    async for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield name, event_id, "\n".join(data)
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "id":
            event_id = value
        elif field == "data":
            data.append(value)
