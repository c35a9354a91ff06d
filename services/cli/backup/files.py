"""The files of backups: how they get their names, and which are removed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from services.cli.backup.archive import BackupError
from services.runtime import files as durable_files

STANDARD_STREAM: Final = Path("-")
TIME: Final = "{time}"
_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_STAMP: Final = r"(\d{8}T\d{6}Z)"
_PARTIAL: Final = ".partial"


def check_pattern(pattern: Path, keep: int | None) -> None:
    """Raise BackupError unless old files of the pattern can be told apart."""
    if TIME in str(pattern.parent):
        raise BackupError(f"{TIME} must be in the name of the file, not of its folder.")
    if keep is not None and pattern.name.count(TIME) != 1:
        raise BackupError(f"--keep needs {TIME} once in the name of the file, such as topten-{TIME}.topten.")


def name_at(pattern: Path, moment: datetime) -> Path:
    """Return the path with `{time}` replaced by the moment in UTC, so that names sort by time."""
    return pattern.with_name(pattern.name.replace(TIME, moment.strftime(_FORMAT))) if pattern.name else pattern


def remove_old(pattern: Path, keep: int, *, written: Path) -> list[Path]:
    """Keep the newest `keep` files of the pattern; remove older ones, and what older backups left unfinished.

    The file that was just written stays in any case: others may have names in the future.
    """
    before, _, after = pattern.name.partition(TIME)
    expression = re.compile(re.escape(before) + _STAMP + re.escape(after) + f"({re.escape(_PARTIAL)})?")
    files = [(match, path) for path in pattern.parent.iterdir() if (match := expression.fullmatch(path.name))]
    complete = sorted((match[1] for match, _ in files if not match[2]), reverse=True)
    removed = sorted(path for match, path in files if match[1] < complete[:keep][-1] and path != written)
    for path in removed:
        path.unlink(missing_ok=True)
    return removed


@contextmanager
def replacing(file: Path) -> Iterator[IO[bytes]]:
    """Yield a file that takes the name `file` when it is whole, readable by its owner alone; `-` is standard output.

    Raises BackupError if it cannot be written.
    """
    if file == STANDARD_STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = file.with_name(file.name + _PARTIAL)
    try:
        with durable_files.replacing(file, partial) as target:
            yield target
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror or error}. No backup was written.") from error
