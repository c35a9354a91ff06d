"""`topten group list|members|remove|rotate-code|delete`: groups of players, with the operator's credentials."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import DATA, Data, load_endpoints, run, say

group = typer.Typer(help="Read groups of players, and change them for their owners.", no_args_is_help=True)
GroupId = Annotated[str, typer.Argument(metavar="GROUP", help="The ID of the group.")]
UserId = Annotated[str, typer.Argument(metavar="USER", help="The user ID of the player.")]


@group.command("list")
def list_of_player(user_id: UserId, data: Data = DATA) -> None:
    """List the groups of a player, latest first, each as one line of JSON."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import list_groups

    run(list_groups(endpoints, user_id, report=say))


@group.command()
def members(group_id: GroupId, data: Data = DATA) -> None:
    """List the members of a group, first joined first, each as one line of JSON."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import list_members

    run(list_members(endpoints, group_id, report=say))


@group.command()
def remove(group_id: GroupId, user_id: UserId, data: Data = DATA) -> None:
    """Take a player off a group. Rotate the invite code to keep them from joining again."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import remove_member

    removed = run(remove_member(endpoints, group_id, user_id))
    say(f"{user_id} is no member{'' if removed else ', as before'}.")


@group.command("rotate-code")
def rotate_code(group_id: GroupId, data: Data = DATA) -> None:
    """Give a group another invite code, which its owner reads. Nobody joins with the former one any more."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import rotate_invite_code

    run(rotate_invite_code(endpoints, group_id))
    say(f"{group_id} has another invite code.")


@group.command()
def delete(group_id: GroupId, data: Data = DATA) -> None:
    """Delete a group. Scores stay as they are."""
    endpoints = load_endpoints(data)
    from services.cli.identity.groups import delete_group

    deleted = run(delete_group(endpoints, group_id))
    say(f"{group_id} is deleted{'' if deleted else ' already'}.")
