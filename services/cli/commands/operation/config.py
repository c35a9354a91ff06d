"""`topten config`: every setting of every process."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import DATA, EXIT_FINDING, EXIT_USAGE, Data, fail, load_endpoints, show_table


def config(
    process: Annotated[
        str | None, typer.Argument(help="identity, quiz, score, leaderboard or edge; all by default.")
    ] = None,
    running: Annotated[
        bool,
        typer.Option(
            "--running", help="The settings that the processes of the running system use, and the source of each."
        ),
    ] = False,
    markdown: Annotated[
        bool,
        typer.Option(
            "--markdown", help="Print docs/reference/configuration.md, with defaults and not this environment."
        ),
    ] = False,
    data: Data = DATA,
) -> None:
    """Print the settings: variable, value in this environment or default, type, readers, meaning. Secrets are masked.

    With --running, ask the processes instead: variable, value, source (default, environment, a file, or `topten up`), readers.
    Exit code 1 if a process does not respond.
    """
    endpoints = load_endpoints(data) if running else None
    from services.cli.configuration import configuration_page, print_running, settings_table
    from services.embedded.settings import PROCESSES

    if markdown:
        print(configuration_page(), end="")
        return
    if process is not None and process not in PROCESSES:
        fail(f"Unknown process {process!r}. Processes: {', '.join(PROCESSES)}.", EXIT_USAGE)
    if endpoints is not None:
        missing = print_running(endpoints, data, process)
        if missing:
            fail(f"No response from {', '.join(missing)}. `topten status` shows every process.", EXIT_FINDING)
        return
    show_table(settings_table(process))
