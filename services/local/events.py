"""Reading a stream of Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import aiohttp

# The longest line that is read: what a session's `read_bufsize` has to be.
MAX_LINE_BYTES = 1024 * 1024


async def read_events(lines: aiohttp.StreamReader) -> AsyncGenerator[tuple[str, str, str], None]:
    """Name, id and data of each event of a stream (HTML standard, 9.2.6)."""
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
