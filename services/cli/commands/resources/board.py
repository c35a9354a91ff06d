"""`topten board put|list|archive`: boards as data, with the operator's credentials."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import DATA, EXIT_FINDING, Data, listing, load_endpoints, run, say, warn

group = typer.Typer(help="Define boards: what they count, who stands on them, in which order.", no_args_is_help=True)


@group.command()
def put(
    file: Annotated[
        str,
        typer.Argument(
            help='Boards as JSON lines, such as {"name": "sprint", "sources": ["action:run"], "aggregate": "BEST", "order": '
            '"ASC", "period": "daily", "timeZone": "Europe/Berlin"}, or a file with one of them; - is stdin.'
        ),
    ],
    data: Data = DATA,
) -> None:
    """Define boards. They count earlier actions within seconds to minutes, and are stale until then.

    The same definition again changes nothing. Exit code 1 means that at least one was refused.
    """
    endpoints = load_endpoints(data)
    from services.cli.boards import put_boards

    if run(put_boards(endpoints, file, on_success=say, on_problem=warn)):
        raise typer.Exit(EXIT_FINDING)


@group.command("list")
def list_all(data: Data = DATA) -> None:
    """List all defined boards by name, each as one line of JSON with its state and progress."""
    endpoints = load_endpoints(data)
    from services.cli.boards import list_boards

    with listing("defined boards") as report:
        run(list_boards(endpoints, report=report))


@group.command()
def archive(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the board, without custom:.")],
    data: Data = DATA,
) -> None:
    """Stop counting on a board. Its last state stays readable."""
    endpoints = load_endpoints(data)
    from services.cli.boards import archive_board

    changed = run(archive_board(endpoints, name))
    say(f"{name} is archived{'' if changed else ' already'}.")
