"""Wrong usage is one line on stderr, which says what is wrong and where the right usage is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from services.cli.app import app


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["restore", "NOFILE"], "File 'NOFILE' does not exist. `topten restore --help` shows the usage."),
        (["restore"], "Missing argument 'FILE'. `topten restore --help` shows the usage."),
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


def every_command(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from every_command(each, (*path, name))


@pytest.mark.parametrize("path", list(every_command(typer.main.get_command(app))), ids=" ".join)
def test_help_shows_placeholders_in_capitals_and_flags_without_a_value(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(
        app, [*path, "--help"], prog_name="topten", env={"TERMINAL_WIDTH": "200", "COLUMNS": "200"}
    )
    assert shown.exit_code == 0
    assert "<bool>" not in shown.stdout
    usage = next(line for line in shown.stdout.splitlines() if "Usage:" in line)
    assert all(name.isupper() for name in re.findall(r"[{[]([\w-]+)[]}]", usage)), usage


def test_help_is_wrapped_at_the_width_of_the_terminal_alone() -> None:
    shown = CliRunner().invoke(
        app, ["verify", "--help"], prog_name="topten", env={"TERMINAL_WIDTH": "1000", "COLUMNS": "1000"}
    )
    text = shown.stdout.split("╭")[0]
    assert len([line for line in text.splitlines() if line.strip()]) == 3, "usage and two paragraphs"
