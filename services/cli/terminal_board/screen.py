"""The whole terminal as a screen: takes it, reads keys, repaints, and gives it back as it was."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

_KEY: Final = re.compile(rb"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_READ_BYTES: Final = 1024
NAMES: Final = {
    b"q": "quit", b"Q": "quit", b"\x04": "quit",
    b"\t": "next", b"\x1b[C": "next", b"\x1bOC": "next",
    b"\x1b[Z": "previous", b"\x1b[D": "previous", b"\x1bOD": "previous",
}  # fmt: skip


def keys_of(data: bytes) -> Iterator[str]:
    """Yield what the keys in `data` stand for: `quit`, `next`, `previous`; nothing for others. No data: `quit`."""
    if not data:
        yield "quit"
    for key in _KEY.findall(data):
        if key in NAMES:
            yield NAMES[key]


class Screen:
    """Owns the terminal while it is open; a context manager within a running event loop.

    `on_key` receives what keys stand for, and `quit` for a signal to end; `on_resize` is called for a new size and after a
    suspension (Ctrl-Z).
    """

    def __init__(self, console: Console, on_key: Callable[[str], None], on_resize: Callable[[], None]) -> None:
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._on_key = on_key
        self._on_resize = on_resize
        self._stdin = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._stdin)
        self._loop = asyncio.get_running_loop()
        self._signals = {
            signal.SIGWINCH: on_resize,
            signal.SIGTSTP: self._suspend,
            signal.SIGTERM: lambda: on_key("quit"),
            signal.SIGHUP: lambda: on_key("quit"),
        }

    def __enter__(self) -> Self:
        for number, action in self._signals.items():
            self._loop.add_signal_handler(number, action)
        self._loop.add_reader(self._stdin, self._read_keys)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        self._loop.remove_reader(self._stdin)
        for number in self._signals:
            self._loop.remove_signal_handler(number)

    def show(self, lines: list[Text]) -> None:
        """Replace what is on the screen."""
        self._live.update(Group(*lines), refresh=True)

    def _take(self) -> None:
        tty.setcbreak(self._stdin)
        self._live.start()

    def _give_back(self) -> None:
        self._live.stop()
        termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._before)

    def _suspend(self) -> None:
        """Give the terminal to the shell until it says `fg`."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
        self._on_resize()

    def _read_keys(self) -> None:
        try:
            data = os.read(self._stdin, _READ_BYTES)
        except OSError:
            data = b""  # the terminal is gone
        for key in keys_of(data):
            self._on_key(key)
