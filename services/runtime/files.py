"""Files that are whole after a power cut: written beside their name, synced to disk, then renamed over it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def replace_file(path: Path, content: str | bytes) -> None:
    """Replace `path` with a file that only its owner can read. Raises OSError; the previous file then stays."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, partial: Path | None = None) -> Iterator[IO[bytes]]:
    """Yield a file, readable by its owner alone, that takes the name `path` when the block ends without an error.

    It is written under the name `partial`, by default a new one in the same folder, and removed after an error. After a
    power cut `path` is the old file or the new one, never an empty or a torn one. Raises OSError.
    """
    if partial is None:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        partial = Path(name)
    else:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk, where its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
