"""Wrong usage is one line on stderr, which says what is wrong and where the right usage is shown."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from services.cli.app import app


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["restore", "NOFILE"], "File 'NOFILE' does not exist. `topten restore --help` shows the usage."),
        (["restore"], "Missing argument 'file'. `topten restore --help` shows the usage."),
        (["up", "--port", "abc"], "--port must be a valid integer. `topten up --help` shows the usage."),
        (["up", "--port", "70000"], "--port must be less than or equal to 65535. `topten up --help` shows the usage."),
        (["check", "--timeout", "x"], "--timeout must be a valid number. `topten check --help` shows the usage."),
        (["up", "--bogus"], "No such option: --bogus. `topten up --help` shows the usage."),
        (["dlq", "nosuch"], "No such command 'nosuch'. `topten dlq --help` shows the usage."),
        (["nosuch"], "No such command 'nosuch'. `topten --help` shows the usage."),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], line: str) -> None:
    done = CliRunner().invoke(app, arguments, prog_name="topten", env={"TERMINAL_WIDTH": "40", "COLUMNS": "40"})
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"topten: {line}\n")


@pytest.mark.parametrize("arguments", [[], ["dlq"]])
def test_a_group_without_a_command_shows_its_help_alone(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments, prog_name="topten")
    assert done.exit_code == 2
    assert "Usage: topten" in done.stdout
    assert not done.stderr
