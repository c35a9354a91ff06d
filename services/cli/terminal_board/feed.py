"""Keeps the standings of one board current: the frames of its stream across reconnects, and what only GraphQL has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import aiohttp

from services.cli.system.client import GraphqlError
from services.cli.system.leaderboard_stream import Event, read_board
from services.cli.terminal_board.reading import BoardReader, entries_of
from services.cli.terminal_board.standings import Standings, State
from services.runtime.process.lifecycle import cancel

RECONNECT_SECONDS: Final = 1.0
# Time between two reads of what frames do not have: at least, while the board changes, and at most.
READ_SECONDS: Final = (2.0, 30.0)
# Reasons of a system that is starting or busy, and of a session that has ended.
TEMPORARY_REASONS: Final = frozenset({"RATE_LIMITED", "UNAVAILABLE", "INTERNAL", "UNAUTHENTICATED"})
# After a heartbeat is missed, the server counts as silent.
GRACE: Final = timedelta(seconds=5)


class Clock:
    """The server's time, estimated from its messages; the clock of this machine may be wrong."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the server's time."""
        return datetime.now(UTC) + self._ahead

    def learn(self, timestamp: str, *, is_now: bool) -> datetime:
        """Take in a timestamp of the server, which is this moment or an earlier one; return it."""
        time = datetime.fromisoformat(timestamp)
        ahead = time - datetime.now(UTC)
        self._ahead = ahead if is_now else max(ahead, self._ahead)
        return time


class Feed:
    """Follows one board; `on_change` is called whenever its standings are different."""

    def __init__(
        self, reader: BoardReader, stream: str, standings: Standings, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self._reader = reader
        self._stream = stream
        self._standings = standings
        self._clock = clock
        self._on_change = on_change
        self._read_again = asyncio.Event()
        self._last_id = ""

    async def follow(self) -> None:
        """Follow the board until its period is over. Raises GraphqlError if the board cannot be read at all."""
        while True:
            try:
                await self._read()
                if self._standings.state is State.FINAL:
                    return
                details = asyncio.create_task(self._read_details())
                try:
                    await self._receive()
                finally:
                    await cancel(details)
            except (aiohttp.ClientError, TimeoutError):
                pass
            except GraphqlError as error:
                if error.reason not in TEMPORARY_REASONS:
                    raise
            else:
                return
            self._standings.state = State.LOST
            self._on_change()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _receive(self) -> None:
        """Take in the events of one connection, until the board's period is over."""
        arguments = (self._stream, self._standings.board, self._reader.token)
        async with aclosing(read_board(*arguments, last_event_id=self._last_id)) as events:
            async for event in events:
                self._take(event)
                self._on_change()
        self._standings.state = State.FINAL
        self._on_change()

    def _take(self, event: Event) -> None:
        standings, data = self._standings, event.data
        if event.name == "ping":
            self._clock.learn(data["timestamp"], is_now=True)
            standings.silence = timedelta(seconds=data["interval"]) + GRACE
        elif event.name == "update":
            self._last_id = event.event_id
            standings.framed_at = self._clock.learn(data["timestamp"], is_now=False)
            standings.state = State.STALE if data["stale"] else State.LIVE
            standings.frozen_since = datetime.fromisoformat(data["frozenSince"]) if data["frozenSince"] else None
            standings.show(entries_of(data["leaderboard"]), self._clock.now())
            self._read_again.set()
        elif event.name == "me":
            standings.stand(data["rank"], data["score"], data["gapToNext"])
            self._read_again.set()
        standings.heard_at = self._clock.now()

    async def _read_details(self) -> None:
        """Read what frames do not have, as often as the board changes and within READ_SECONDS."""
        least, most = READ_SECONDS
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._read_again.wait(), most)
            self._read_again.clear()
            # The stream says whether the board is live: a read that fails is repeated with the next change.
            with suppress(GraphqlError, aiohttp.ClientError, TimeoutError):
                await self._read()
            await asyncio.sleep(least)

    async def _read(self) -> None:
        await self._reader.read(self._standings, self._clock.now())
        self._on_change()
