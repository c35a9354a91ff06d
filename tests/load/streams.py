"""Open screens: streams that stay open while k6 plays, their frames, and the delay of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import aiohttp

BOARDS: Final = ("all", "weekly", "monthly", "country:VN")
_DATA: Final = b"data:"


@dataclass
class Screens:
    """`count` streams over the boards; a stream that ends is reopened, as a browser does."""

    url: str
    players: Sequence[Mapping[str, Any]]
    count: int
    opened: int = 0
    open: int = 0
    failed: int = 0
    frames: int = 0
    backwards: int = 0
    # Milliseconds from the creation of a frame until it is read here.
    late: list[float] = field(default_factory=list)
    _recent: list[float] = field(default_factory=list)

    async def hold(self) -> None:
        """Watch until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            async with asyncio.TaskGroup() as streams:
                for number in range(self.count):
                    streams.create_task(self._keep(session, number))

    def recent(self) -> tuple[int, float]:
        """Return the number of frames since the last call, and their p99 in ms."""
        found, self._recent = sorted(self._recent), []
        return len(found), found[int(len(found) * 0.99)] if found else 0.0

    async def _keep(self, session: aiohttp.ClientSession, number: int) -> None:
        player = self.players[number % len(self.players)]
        last = ""
        while True:
            headers = {"X-Forwarded-For": player["address"]}
            if last:
                headers["Last-Event-ID"] = last
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                board = BOARDS[number % len(BOARDS)]
                async with session.get(
                    self.url, params={"board": board, "token": player["streamToken"]}, headers=headers
                ) as response:
                    response.raise_for_status()
                    self.opened += 1
                    self.open += 1
                    try:
                        last = await self._read(response.content, last)
                    finally:
                        self.open -= 1
                    continue
            self.failed += 1
            await asyncio.sleep(1)

    async def _read(self, lines: aiohttp.StreamReader, last: str) -> str:
        """Read a stream to its end and return the ID of its last frame."""
        name = ""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async for line in lines:
                if line.startswith(b"event:"):
                    name = line[6:].strip().decode()
                elif line.startswith(b"id:"):
                    seen = line[3:].strip().decode()
                    self.backwards += bool(last) and _order(seen) < _order(last)
                    last = seen
                elif line.startswith(_DATA) and name == "update":
                    made = datetime.fromisoformat(json.loads(line[len(_DATA) :])["timestamp"])
                    late = max(0.0, time.time() - made.timestamp()) * 1000
                    self.frames += 1
                    self._recent.append(late)
                    if len(self.late) < 1_000_000:
                        self.late.append(late)
        return last


def _order(frame_id: str) -> tuple[int, ...]:
    return tuple(map(int, frame_id.split("-")))
