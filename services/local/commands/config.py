"""`topten config`: every setting of every process, as it is in this environment."""

from __future__ import annotations

import os
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from edge.config import EdgeConfig
from services.identity.config import IdentityConfig
from services.leaderboard.config import LeaderboardConfig
from services.local.terminal import USAGE, fail, out
from services.quiz.config import QuizConfig
from services.runtime.config import MASK, table
from services.score.config import ScoreConfig

PROCESSES: Final[dict[str, type[Any]]] = {
    "identity": IdentityConfig,
    "quiz": QuizConfig,
    "score": ScoreConfig,
    "leaderboard": LeaderboardConfig,
    "edge": EdgeConfig,
}


def config(
    process: Annotated[
        str | None, typer.Argument(help="identity, quiz, score, leaderboard or edge; all if left out.")
    ] = None,
) -> None:
    """Print the settings: the variable, its value in this environment or its default, and what it is for.

    Secrets are masked.
    """
    if process is not None and process not in PROCESSES:
        fail(f"no process {process!r}; there are {', '.join(PROCESSES)}", USAGE)
    rows = Table(box=None, pad_edge=False)
    for heading in ("variable", "value", "type", "of", "meaning"):
        rows.add_column(heading, overflow="fold")
    for name, (row, owners) in _settings(process).items():
        value = row.default
        if name in os.environ:
            value = MASK if row.secret else os.environ[name]
        rows.add_row(name, value, row.type, ", ".join(owners), row.doc)
    out.print(rows)


def _settings(process: str | None) -> dict[str, tuple[Any, list[str]]]:
    found: dict[str, tuple[Any, list[str]]] = {}
    for owner, settings in PROCESSES.items():
        if process in (None, owner):
            for row in table(settings):
                found.setdefault(row.name, (row, []))[1].append(owner)
    return found
