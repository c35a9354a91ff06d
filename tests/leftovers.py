"""What a test or measurement must not leave behind: a process that it started, and a socket or child that it never closed."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# Inherited by every process that a test starts, so that one whose parent died is found as well.
_RUN = ("PYTEST_RUN", uuid.uuid4().hex)
_TEST = "PYTEST_CURRENT_TEST"  # set by pytest


class Leftover(NamedTuple):
    """A process that still runs, and the test or fixture that started it."""

    pid: int
    command: str
    test: str


def mark_children() -> None:
    """Mark the processes that this one starts from now on, and let them start with default signal dispositions.

    Under nohup or in the background some signals are ignored, which a child would inherit; a handler it does not.
    """
    os.environ[_RUN[0]] = _RUN[1]
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def exit_on_sigterm() -> None:
    """Let SIGTERM end this process as `sys.exit` does, so that it ends what it has started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def leftovers() -> Iterator[Leftover]:
    """The processes that were started by this one, or by what it started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            entries = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            command = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
        except OSError:  # it has just ended, or it is another user's
            continue
        environ = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        if environ.get(_RUN[0]) == _RUN[1] and int(folder.name) != os.getpid():
            yield Leftover(int(folder.name), command, environ.get(_TEST, "?"))


def end_leftovers(left: Iterable[Leftover]) -> None:
    """Kill these processes, and fail with their names and those of the tests that started them, if there is any."""
    ended = list(left)
    for each in ended:
        with suppress(ProcessLookupError):
            os.kill(each.pid, signal.SIGKILL)
    assert not ended, "\n".join(f"left running by {each.test}: {each.command}" for each in ended)
