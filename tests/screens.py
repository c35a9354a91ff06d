"""A screen as a client implements it: it reconnects, perhaps to another edge, and shows the latest frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tests.deadline import deadline
from tests.players import stream

_LOST = (RuntimeError, AssertionError, aiohttp.ClientError, TimeoutError, OSError)


class Screen:
    """Watches `board` at `http` with the tokens that `sign_in` returns.

    It reconnects with the ID of its last frame, also by itself after `leaves_after` frames. Frames older than the last one
    are `dropped`, as a client must; `faults` names each frame that was older than one before it on the same connection.
    """

    def __init__(
        self, http: str, sign_in: Callable[[], Awaitable[str]], board: str, *, leaves_after: int | None = None
    ) -> None:
        self.frames = 0
        self.connections = 0
        self.dropped = 0
        self.faults: list[str] = []
        self._open = (http, sign_in, board)
        self._leaves_after = leaves_after
        self._last = ""
        self._data: dict[str, Any] | None = None
        self._changed = asyncio.Event()

    def moved_to(self, http: str) -> Screen:
        """Return a screen at another edge that has seen the last frame of this one."""
        _, sign_in, board = self._open
        moved = Screen(http, sign_in, board)
        moved._last = self._last
        return moved

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self._connect()
            except _LOST:
                await asyncio.sleep(0.1)  # sooner than the stream's `retry:`, for a short test

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the shown data as soon as `holds` is true for it; fails at the deadline."""
        async with deadline("the screen shows it"):
            while self._data is None or not holds(self._data):
                self._changed.clear()
                await self._changed.wait()
        return self._data

    async def _connect(self) -> None:
        http, sign_in, board = self._open
        headers = {"Last-Event-ID": self._last} if self._last else {}
        async with stream(http, await sign_in(), board, **headers) as events:
            self.connections += 1
            seen, before = 0, ""
            async for event in events:
                if event.name != "update":
                    continue
                if _position(event.id) < _position(before):
                    self.faults.append(f"{board} went back from {before} to {event.id}")
                before = event.id
                seen += 1
                self.frames += 1
                if _position(event.id) < _position(self._last):
                    self.dropped += 1
                    continue
                self._last, self._data = event.id, event.data
                self._changed.set()
                if seen == self._leaves_after:
                    return


def _position(event_id: str) -> tuple[int, int]:
    generation, _, version = (event_id or "0-0").partition("-")
    return int(generation), int(version)
