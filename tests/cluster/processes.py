"""Programs as children, each with a log of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

STOP_SECONDS: Final = 20


class ProgramError(RuntimeError):
    """A program failed; the message is the end of what it said."""


@contextmanager
def running(
    command: Sequence[str | Path], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[Any]]:
    """Run a program until the `with` block ends: SIGTERM, then SIGKILL."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | dict(environ or {})
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(
    *command: str | Path, given: str = "", environ: Mapping[str, str] | None = None, timeout: float | None = None
) -> str:
    """Run a program to its end and return its output. Raises ProgramError."""
    try:
        done = subprocess.run(
            command,
            input=given,
            env=os.environ | dict(environ or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProgramError(f"{_title(command)}: not done within {timeout:g} s") from None
    if done.returncode:
        raise ProgramError(f"{_title(command)}: {(done.stderr.strip() or done.stdout.strip())[-2000:]}")
    return done.stdout


def _title(command: Sequence[str | Path]) -> str:
    return " ".join([Path(command[0]).name, *map(str, command[1:])])[:200]
