"""`topten player ensure`: players of another system, with the operator's credentials."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import DATA, EXIT_FINDING, Data, load_endpoints, run, say, warn

group = typer.Typer(help="Manage players of other systems.", no_args_is_help=True)


@group.callback()
def _player() -> None:
    """Keep `ensure` a sub-command while it is the only one."""


@group.command()
def ensure(
    file: Annotated[
        str,
        typer.Argument(
            help='Players as JSON lines, such as {"externalId": "u-1", "username": "Ada", "country": "VN"}; - is stdin.'
        ),
    ],
    data: Data = DATA,
) -> None:
    """Create and update players, each by the ID that they have in another system.

    Prints one line of JSON for each line: `status` (CREATED, UPDATED, UNCHANGED or REFUSED), `userId`, or why the player is
    refused. The same players again change nothing. They are the operator's: those of a service are others, even with the same
    ID. Exit code 1 means that at least one was refused.
    """
    endpoints = load_endpoints(data)
    from services.cli.identity.players import ensure_players

    statuses = run(ensure_players(endpoints, file, report=say))
    counts = ", ".join(f"{statuses[each]} {each.lower()}" for each in ("CREATED", "UPDATED", "UNCHANGED", "REFUSED"))
    warn(f"{counts}.")
    if statuses["REFUSED"]:
        raise typer.Exit(EXIT_FINDING)
