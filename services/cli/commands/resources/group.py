"""`topten group list|members|remove|rotate-code|enter-board|leave-board|delete`, with the operator's credentials."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import DATA, Data, listing, load_endpoints, run, say

group = typer.Typer(help="List groups of players, and manage them for their owners.", no_args_is_help=True)
GroupId = Annotated[str, typer.Argument(metavar="GROUP", help="The ID of the group.")]
BoardName = Annotated[str, typer.Argument(metavar="BOARD", help="The name of the board, without custom:.")]
UserId = Annotated[str, typer.Argument(metavar="USER", help="The user ID of the player.")]


@group.command("list")
def list_of_player(user_id: UserId, data: Data = DATA) -> None:
    """List the groups of a player, latest first, each as one line of JSON."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import list_groups

    with listing("groups of this player") as report:
        run(list_groups(endpoints, user_id, report=report))


@group.command()
def members(group_id: GroupId, data: Data = DATA) -> None:
    """List the members of a group, first joined first, each as one line of JSON."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import list_members

    with listing("members") as report:
        run(list_members(endpoints, group_id, report=report))


@group.command()
def remove(group_id: GroupId, user_id: UserId, data: Data = DATA) -> None:
    """Remove a player from a group. Rotate the invite code to keep them from joining again."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import remove_member

    removed = run(remove_member(endpoints, group_id, user_id))
    say(f"{user_id} is no member{'' if removed else ', as before'}.")


@group.command("rotate-code")
def rotate_code(group_id: GroupId, data: Data = DATA) -> None:
    """Replace the invite code of a group. The former one stops working; the owner reads the new one."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import rotate_invite_code

    run(rotate_invite_code(endpoints, group_id))
    say(f"{group_id} has another invite code.")


@group.command("enter-board")
def enter_board(group_id: GroupId, board: BoardName, data: Data = DATA) -> None:
    """Make a group a team on a board that ranks teams. Its title is seen there."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import enter_board as enter

    changed = run(enter(endpoints, group_id, board))
    say(f"{group_id} is on {board}{'' if changed else ', as before'}.")


@group.command("leave-board")
def leave_board(group_id: GroupId, board: BoardName, data: Data = DATA) -> None:
    """Remove a group from a board, including past periods."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import leave_board as leave

    changed = run(leave(endpoints, group_id, board))
    say(f"{group_id} is not on {board}{'' if changed else ', as before'}.")


@group.command()
def delete(group_id: GroupId, data: Data = DATA) -> None:
    """Delete a group. Scores stay as they are."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import delete_group

    deleted = run(delete_group(endpoints, group_id))
    say(f"{group_id} is deleted{'' if deleted else ' already'}.")
