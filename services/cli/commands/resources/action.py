"""`topten action-type put|list|archive` and `topten action submit`: scores from anything, with the operator's credentials."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import DATA, EXIT_FINDING, Data, listing, load_endpoints, run, say, warn

types = typer.Typer(help="Manage action types: what players may do other than answer quizzes.", no_args_is_help=True)
group = typer.Typer(help="Submit actions of players.", no_args_is_help=True)


@group.callback()
def _action() -> None:
    """Keep `submit` a sub-command while it is the only one."""


@types.command()
def put(
    file: Annotated[str, typer.Argument(help="Action types as JSON lines, or a file with one of them; - is stdin.")],
    data: Data = DATA,
) -> None:
    """Store action types; one with an existing ID is replaced. Exit code 1 means that at least one was refused."""
    endpoints = load_endpoints(data)
    from services.cli.actions import put_action_types

    if run(put_action_types(endpoints, file, on_success=say, on_problem=warn)):
        raise typer.Exit(EXIT_FINDING)


@types.command("list")
def list_all(data: Data = DATA) -> None:
    """List all action types by ID, each as one line of JSON."""
    endpoints = load_endpoints(data)
    from services.cli.actions import list_action_types

    with listing("action types") as report:
        run(list_action_types(endpoints, report=report))


@types.command()
def archive(
    action_type_id: Annotated[str, typer.Argument(metavar="ID", help="The ID of the action type.")], data: Data = DATA
) -> None:
    """Close an action type: its actions are refused from now on. What was accepted still counts."""
    endpoints = load_endpoints(data)
    from services.cli.actions import archive_action_type

    changed = run(archive_action_type(endpoints, action_type_id))
    say(f"{action_type_id} is archived{'' if changed else ' already'}.")


@group.command()
def submit(
    file: Annotated[
        str,
        typer.Argument(
            help='Actions as JSON lines, such as {"player": {"userId": "…"}, "actionTypeId": "run", "actionId": "<UUID>", '
            '"quantity": 3}; - is stdin.'
        ),
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the actions are counted.")] = False,
    board: Annotated[
        list[str] | None,
        typer.Option(help="With --wait: print the player's place on this board; repeat for more, at most 10."),
    ] = None,
    data: Data = DATA,
) -> None:
    """Submit actions of players, in this order.

    Prints one line of JSON for each line: `status` (ACCEPTED, DUPLICATE or REFUSED), `pointsAwarded`, or why the action is
    refused. With --wait also the player's `total` and `standings`, unless the action is still on its way after a minute. The
    same actions again change nothing. Exit code 1 means that at least one was refused.
    """
    if board and not wait:
        raise typer.BadParameter("needs --wait", param_hint="--board")
    endpoints = load_endpoints(data)
    from services.cli.actions import submit_actions

    statuses = run(submit_actions(endpoints, file, wait=wait, boards=board or (), report=say))
    warn(", ".join(f"{statuses[each]} {each.lower()}" for each in ("ACCEPTED", "DUPLICATE", "REFUSED")) + ".")
    if statuses["REFUSED"]:
        raise typer.Exit(EXIT_FINDING)
