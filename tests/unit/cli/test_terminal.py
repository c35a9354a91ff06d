"""What the command line prints, at a terminal and into a pipe."""

from __future__ import annotations

import io

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
