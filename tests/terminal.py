"""A program in a terminal of its own: what it has on the screen, and keys for it."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.deadline import deadline_seconds, poll

ENTER_SCREEN = "\x1b[?1049h"
LEAVE_SCREEN = "\x1b[?1049l"
HOME = "\x1b[H"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BLOCK = 65_536


class Terminal:
    """A pseudo-terminal with a program in it. `written` is all that it wrote, with escape sequences."""

    def __init__(self, arguments: Sequence[str], columns: int, rows: int, environ: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self._slave = slave
        self.resize(columns, rows, tell=False)
        self.settings = termios.tcgetattr(slave)
        environ = {**os.environ, "TERM": "xterm-256color", **environ}
        for name in ("COLUMNS", "LINES"):
            environ.pop(name, None)
        self.process = subprocess.Popen(
            arguments, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
        )
        self._bytes = b""

    @property
    def written(self) -> str:
        """Read what is there, and return all of it."""
        while True:
            try:
                block = os.read(self._master, _BLOCK)
            except (BlockingIOError, OSError):  # nothing more for now, or nobody there any more
                break
            self._bytes += block
        return self._bytes.decode("utf-8", "replace").replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The lines of the last whole screen."""
        screens = self.written.split(HOME)
        return _ESCAPES.sub("", screens[-1] if LEAVE_SCREEN in screens[-1] else screens[-2]).split("\n")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def shows(self, text: str) -> None:
        """Wait until the screen shows a text."""
        poll(lambda: HOME in self.written and text in "\n".join(self.lines), f"{text!r} on the screen")

    def ends(self) -> int:
        """Wait for the end of the program; return its exit code. Its terminal is as it was."""

        def has_ended() -> bool:
            self.written  # noqa: B018  # a full terminal would hold it up
            return self.process.poll() is not None

        poll(has_ended, "the program has ended")
        assert termios.tcgetattr(self._slave) == self.settings
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(deadline_seconds())
        os.close(self._slave)
        os.close(self._master)


@contextmanager
def terminal(arguments: Sequence[str], *, columns: int = 80, rows: int = 24, **environ: str) -> Iterator[Terminal]:
    """A program in a terminal of this size, killed at the end if it is still there."""
    opened = Terminal(arguments, columns, rows, environ)
    try:
        yield opened
    finally:
        opened.close()
