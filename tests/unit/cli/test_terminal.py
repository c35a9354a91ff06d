"""What the command line prints, at a terminal and into a pipe."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from services.cli import terminal


@pytest.mark.parametrize(("at_terminal", "lines"), [(False, 1), (True, 4)])
def test_a_table_keeps_its_names_whole_and_in_a_pipe_its_rows(
    *, at_terminal: bool, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is broken in two can be neither copied nor searched for."""
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=at_terminal, width=40, color_system=None)
    monkeypatch.setattr(terminal, "out", console)
    rows = terminal.table_of("variable", "value")
    rows.add_row("TOPTEN_AUTH_CLIENT_SECRET", "a value of " + "many words " * 4)
    terminal.show_table(rows)
    _heading, *body = printed.getvalue().splitlines()
    assert "TOPTEN_AUTH_CLIENT_SECRET" in body[0]
    assert len(body) >= lines if at_terminal else len(body) == lines


def test_a_traceback_that_a_command_logs_has_no_values_of_variables() -> None:
    """Among them are the secrets of the clients that it uses."""
    code = """
import structlog
from services.cli.terminal import run_loop
async def sign_in(password):
    try:
        raise ValueError("no such host")
    except ValueError:
        structlog.get_logger().exception("not signed in")
run_loop(sign_in("hunter2"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ValueError: no such host" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_every_command_runs_its_event_loop_with_logs_configured() -> None:
    folder = Path(terminal.__file__).parent
    starts = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if "asyncio.run(" in path.read_text()
    }
    assert starts == {"terminal.py"}
