"""`topten config`: every setting of every process, as it is in this environment."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from rich.table import Table

from services.local.settings import PROCESSES
from services.local.terminal import USAGE, fail, out
from services.runtime.config import MASK, table


def config(
    process: Annotated[
        str | None, typer.Argument(help="identity, quiz, score, leaderboard or edge; all if left out.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/configuration.md: defaults, whatever the environment says.")
    ] = False,
) -> None:
    """Print the settings: the variable, its value in this environment or its default, and what it is for.

    Secrets are masked.
    """
    if markdown:
        print(configuration_page(), end="")
        return
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


def configuration_page() -> str:
    """The reference of all settings, as it is committed; the same code gives the same text."""
    lines = [
        "# Configuration",
        "",
        "Every process reads `TOPTEN_*` variables and nothing else. A variable that none of them knows fails the start.",
        "A secret can stand in a file: `TOPTEN_X_FILE` names it. `python -m services.quiz --config` prints what is in",
        "force, secrets masked; `topten config --markdown` prints this page, and a test holds it so.",
        "",
        "Durations are written `500ms`, `10s`, `10m`, `1h30m`, `30d`. *Required* means that there is no default.",
        "",
        "| variable | default | type | read by | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (row, owners) in _settings(None).items():
        default = "*secret*" if row.default == MASK else f"`{row.default}`" if row.default else ""
        if row.required:
            default = "*required*"
        read_by = "all" if len(owners) == len(PROCESSES) else ", ".join(owners)
        cells = (f"`{name}`", default, row.type, read_by, row.doc)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _settings(process: str | None) -> dict[str, tuple[Any, list[str]]]:
    found: dict[str, tuple[Any, list[str]]] = {}
    for owner, settings in PROCESSES.items():
        if process in (None, owner):
            for row in table(settings):
                found.setdefault(row.name, (row, []))[1].append(owner)
    return found
