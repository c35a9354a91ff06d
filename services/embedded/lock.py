"""The lock of a data folder: held by `topten up` while it runs, and read by the commands that look for it.

The kernel releases it with its process, however that ends. Its file has the process id of the holder.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

NAME: Final = "lock"
_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 0.02


class FolderInUseError(RuntimeError):
    """Another stack uses this folder."""


def take(folder: Path) -> int:
    """Lock the folder until this process ends; the open file descriptor. Raises FolderInUseError."""
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_ATTEMPTS):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
        time.sleep(_PAUSE_SECONDS)  # a command may hold it for a moment, to look who does
    os.close(descriptor)
    raise FolderInUseError(
        f"Another Topten uses {folder}. Stop it with `topten stop --data {folder}`, or choose another folder with --data."
    )


def holder(folder: Path) -> int | None:
    """The process id of the stack that runs in the folder; 0 if it is not written yet, None if no stack runs."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdecimal() else 0
    else:
        return None
    finally:
        os.close(descriptor)
