"""How the `topten` command reports wrong usage: one line on stderr, like every other failure."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from services.cli.terminal import EXIT_FINDING, warn
from services.cli.typed_names import noted

_INVALID: Final = re.compile(r"Invalid value for '(?P<name>[^']+)': (?P<problem>.*)")
# The library that parses values speaks of an input, and repeats itself after a comma.
_PARSED: Final = re.compile(r"Input should be ([^,]*)(, unable to parse .*)?")


class CommandLine(TyperGroup):
    """The tree of commands. Wrong usage exits with 2 after a line that names the argument and the command's help."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # the library's signature
        windows_expand_args: bool = True,  # the library's signature
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its code; return instead if `standalone_mode` is false."""
        _prepare(self)
        try:
            code = super().main(
                args, prog_name, complete_var, standalone_mode=False, windows_expand_args=windows_expand_args, **extra
            )
        except TyperException as error:
            if not standalone_mode:
                raise
            if problem := error.format_message().strip():  # none if a group was named alone: its help was shown
                warn(f"topten: {explain(problem, error)}")
            code = error.exit_code
        except typer.Abort:
            if not standalone_mode:
                raise
            warn("topten: Cancelled.")
            code = EXIT_FINDING
        if standalone_mode:
            sys.exit(code)
        return code


def _prepare(command: Any) -> None:
    """Have this command and all below it note what users type for its parameters, and show it in its help."""
    command.help = _reflowed(command.help)
    help_option = command.get_help_option(typer.Context(command))
    for each in (*command.params, help_option):
        if each.param_type_name == "argument":
            each.metavar = each.metavar or each.name.upper()
        elif each.is_flag:
            each.metavar = ""  # a flag takes no value
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        command.callback = noted(command.callback, command.params)
    else:
        for each in subcommands.values():
            _prepare(each)


def _reflowed(text: str | None) -> str | None:
    """Return a help text with a line for each paragraph, to be wrapped at the width of the terminal."""
    if text is None:
        return None
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def explain(problem: str, error: TyperException) -> str:
    """Return a problem of a command line in one line, with the command that shows the right usage."""
    message = " ".join(problem.split())
    if invalid := _INVALID.fullmatch(message):
        reworded = _PARSED.sub(r"must be \1", invalid["problem"])
        # The problem with a file names the file.
        message = f"{invalid['name']} {reworded}" if reworded != invalid["problem"] else reworded
    message = message[:1].upper() + message[1:].rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "topten"
    return f"{message}. `{command} --help` shows the usage."
