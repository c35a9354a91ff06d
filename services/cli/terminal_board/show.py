"""The use case: print a board once, print it again with each change, or show it on the whole screen until a key ends it."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from services.cli.system.client import Endpoints, GraphqlError
from services.cli.system.leaderboard_stream import require_board
from services.cli.terminal import EXIT_USAGE, fail, out
from services.cli.terminal_board.feed import Clock, Feed
from services.cli.terminal_board.layout import lay_out, lay_out_once
from services.cli.terminal_board.reading import BoardReader
from services.cli.terminal_board.standings import Standings
from services.runtime.process.lifecycle import cancel

if TYPE_CHECKING:
    from services.cli.terminal_board.screen import Screen

# The age of the frame and the countdown are in seconds.
REPAINT_SECONDS: Final = 1.0
BOARDS: Final = "all, weekly, weekly:2026-47, monthly, monthly:2026-11, country:VN, quiz:ID or custom:NAME"


async def show_board(endpoints: Endpoints, board: str, *, watch: bool | None) -> None:
    """Show a board as the first demo player sees it; exit if there is no such board.

    With `watch` it is followed across reconnects, on the whole screen where there is one. By default it is in a terminal with
    colors; anywhere else, and with NO_COLOR, it is printed once.
    """
    clock = Clock()
    async with BoardReader(endpoints) as reader:
        standings = Standings(board, reader.user_id)
        try:
            await require_board(endpoints.stream, board, reader.token)
            await reader.read(standings, clock.now())
        except GraphqlError as error:
            if error.reason != "BOARD_NOT_FOUND":
                raise
            fail(f"There is no board {board!r}. Boards are {BOARDS}.", EXIT_USAGE)
        if watch is None:
            watch = is_screen() and not out.no_color
        if not watch:
            print_board(standings, clock)
        elif is_screen():
            await Browser(reader, endpoints.stream, clock).browse(standings)
        else:
            feed = Feed(reader, endpoints.stream, standings, clock, lambda: print_board(standings, clock))
            await feed.follow()


def is_screen() -> bool:
    """Whether there is a terminal to take over and a keyboard to give it back."""
    return out.is_terminal and sys.stdout.isatty() and sys.stdin.isatty() and not out.is_dumb_terminal


def print_board(standings: Standings, clock: Clock) -> None:
    """Print the board, without any style unless there are colors."""
    for line in lay_out_once(standings, out.width, clock.now()):
        out.print(line.plain if out.no_color else line, markup=False, soft_wrap=True)


class Browser:
    """The live screen: one board at a time, the next one by a key."""

    def __init__(self, reader: BoardReader, stream: str, clock: Clock) -> None:
        self._reader = reader
        self._stream = stream
        self._clock = clock
        self._changed = asyncio.Event()
        self._keys: deque[str] = deque()

    async def browse(self, standings: Standings) -> None:
        """Show boards, `standings` first, until the player quits. Raises GraphqlError if one cannot be read."""
        from services.cli.terminal_board.screen import Screen  # there is no `termios` everywhere

        tabs = {**self._reader.boards, standings.board: standings.title}
        names = list(tabs)
        with Screen(out, self._press, self._changed.set) as screen:
            while (key := await self._stay(screen, standings, tabs)) != "quit":
                step = 1 if key == "next" else -1
                board = names[(names.index(standings.board) + step) % len(names)]
                standings = Standings(board, self._reader.user_id)

    async def _stay(self, screen: Screen, standings: Standings, tabs: Mapping[str, str]) -> str:
        """Show one board until a key is pressed; return the command of the key."""
        feed = asyncio.create_task(Feed(self._reader, self._stream, standings, self._clock, self._changed.set).follow())
        try:
            while not self._keys:
                screen.show(lay_out(standings, tabs, out.width, out.height, self._clock.now()))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), REPAINT_SECONDS)
                self._changed.clear()
                if feed.done():
                    feed.result()
        finally:
            await cancel(feed)
        return self._keys.popleft()

    def _press(self, key: str) -> None:
        self._keys.append(key)
        self._changed.set()
