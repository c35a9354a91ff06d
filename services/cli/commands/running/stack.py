"""`topten status`, `logs` and `stop`: the system that `topten up` runs in a data folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.terminal import DATA, EXIT_FINDING, EXIT_USAGE, Data, fail, run, say, show_table, table_of, warn


def status(data: Data = DATA) -> None:
    """Show the stores and processes of the data folder; exit code 1 unless all are ready, 2 if Topten is not running."""
    from rich.text import Text

    from services.cli.system.running import children

    pid, document = _running(data)
    address = document.get("http", "an address that it has not published yet")
    say(f"Topten is running at {address} (process {pid}); its data is in {data.resolve()}")
    found = run(children(data, document))
    table = table_of("name", "state", "process", "address")
    for child in found:
        style = "green" if child.is_ready else "red"
        table.add_row(child.name, Text(child.state, style=style), str(child.pid or ""), Text(child.address))
    show_table(table)
    if not document or not all(child.is_ready for child in found):
        warn("topten: not everything is ready. `topten logs NAME` shows why, `topten doctor` what players notice.")
        raise typer.Exit(EXIT_FINDING)


def logs(
    names: Annotated[
        list[str] | None, typer.Argument(help="Stores or processes, such as quiz or mongo; all by default.")
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Number of lines of each.", min=0, max=100_000)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
    data: Data = DATA,
) -> None:
    """Print the last log lines of the data folder's stores and processes, also after they have stopped."""
    from services.cli.system import running

    chosen = _logs(data, names or ())
    width = max(map(len, chosen)) if len(chosen) > 1 else 0

    def show(name: str, line: str) -> None:
        say(f"{name:<{width}} | {line}" if width else line)

    try:
        for name, file in chosen.items():
            for line in running.tail(file, lines):
                show(name, line)
        if follow:
            for name, line in running.follow(chosen):
                show(name, line)
    except KeyboardInterrupt:
        raise typer.Exit from None
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}.", EXIT_FINDING)


def _logs(data: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the log files of the data folder by name: those called for, or all."""
    files = {path.stem: path for path in sorted((data / "logs").glob("*.log"))}
    if not files:
        fail(f"There are no logs in {data / 'logs'}. `topten up` writes them; --data names another folder.", EXIT_USAGE)
    if unknown := [name for name in names if name not in files]:
        fail(f"No log of {', '.join(unknown)}. Logs: {', '.join(files)}.", EXIT_USAGE)
    return {name: files[name] for name in names or files}


def stop(data: Data = DATA) -> None:
    """Stop the system of the data folder in order, as Ctrl-C does where it was started; the data stays."""
    from services.cli.system.running import STOP_SECONDS
    from services.cli.system.running import stop as end

    pid, _ = _running(data)
    try:
        stopped = end(data, pid)
    except ProcessLookupError:
        stopped = True  # it ended just now
    except PermissionError:
        fail(f"Process {pid} belongs to another user. Stop it as that user, or as root.", EXIT_FINDING)
    if not stopped:
        fail(f"Process {pid} did not stop within {STOP_SECONDS:.0f} s. End it with `kill -KILL {pid}`.", EXIT_FINDING)
    say("Topten is stopped.")


def _running(data: Path) -> tuple[int, dict[str, Any]]:
    """The process id of the stack in the folder and its addresses, empty while it starts; exits if none runs."""
    import json

    from services.cli.system.locate import not_running
    from services.embedded import lock

    try:
        pid = lock.holder(data)
    except OSError as error:
        fail(f"{data} cannot be read: {error.strerror}.", EXIT_USAGE)
    if pid is None:
        fail(not_running(data), EXIT_USAGE)
    if pid == 0:
        fail("Topten is just starting. Try again in a second.", EXIT_FINDING)
    try:
        document: dict[str, Any] = json.loads((data / "endpoints.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = {}
    return pid, document
