"""Every setting of every process: as it is in this environment, and as the reference page documents it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from services.cli.system.client import Endpoints
from services.cli.system.running import settings
from services.cli.terminal import run, say, show_table, table_of
from services.embedded.settings import PROCESSES
from services.runtime.config.loading import MASK, table


def settings_table(process: str | None) -> Table:
    """The settings of one process or all, with their values in this environment; secrets are masked."""
    rows = table_of("variable", "value", "type", "read by", "meaning")
    for name, (row, owners) in _settings(process).items():
        value = row.default
        if name in os.environ:
            value = MASK if row.secret else os.environ[name]
        rows.add_row(name, value, row.type, ", ".join(owners), row.doc)
    return rows


def print_running(endpoints: Endpoints, data: Path, process: str | None) -> list[str]:
    """Print the settings in force of the running processes of one kind or all; return those that did not respond."""
    document = endpoints.document
    metrics = {name: url for name, url in document["metrics"].items() if process in (None, name.partition("-")[0])}
    rows, missing = run(settings(metrics, document.get("chosen", {})))
    say(f"system       {document['http']}")
    say(f"data         {data.resolve()}")
    for name, url in metrics.items():
        say(
            f"{name:<12} {'does not respond' if name in missing else 'running'}, operations at {url.removesuffix('/metrics')}"
        )
    table_ = table_of("variable", "value", "from", "used by")
    for row in sorted(rows):
        used_by = "all" if len(metrics) > 1 and len(row.processes) == len(metrics) else ", ".join(row.processes)
        table_.add_row(Text(row.name), Text(row.value), Text(row.source), used_by)
    show_table(table_)
    return missing


def configuration_page() -> str:
    """The text of docs/reference/configuration.md; the same code gives the same text."""
    lines = [
        "# Configuration",
        "",
        "Every process reads `TOPTEN_*` variables and nothing else. An unknown `TOPTEN_*` variable fails the start.",
        "A secret can be read from a file: `TOPTEN_X_FILE` is its path. `python -m services.quiz --config` prints the",
        "effective settings of a process, with secrets masked; `topten config --running` asks a running system.",
        "This page is the output of `topten config --markdown`.",
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
    """Each variable with its row of the settings table and the processes that read it."""
    settings: dict[str, tuple[Any, list[str]]] = {}
    for owner, config in PROCESSES.items():
        if process in (None, owner):
            for row in table(config):
                settings.setdefault(row.name, (row, []))[1].append(owner)
    return settings
