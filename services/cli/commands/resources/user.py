"""`topten user grant|revoke|erase|list|rename|block|unblock|sessions|end-sessions`, with the operator's credentials."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.terminal import DATA, Data, listing, load_endpoints, run, say

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp
    from topten.identity.v1 import identity_pb2

group = typer.Typer(help="Manage accounts.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Username of the account.")]
Reason = Annotated[str, typer.Option(help="Why, for the audit log: 1 to 500 characters.")]


@group.command()
def grant(
    name: Name,
    role: Annotated[str, typer.Option(help="player, author, moderator or admin.")],
    data: Data = DATA,
) -> None:
    """Give an account a role; its access tokens carry the role from their next refresh."""
    endpoints = load_endpoints(data)
    from services.cli.identity.accounts import grant_role

    _print_roles(*run(grant_role(endpoints, name, role)))


@group.command()
def revoke(
    name: Name,
    role: Annotated[str, typer.Option(help="author, moderator or admin.")],
    data: Data = DATA,
) -> None:
    """Take a role from an account; its current access tokens carry the role until they expire."""
    endpoints = load_endpoints(data)
    from services.cli.identity.accounts import revoke_role

    _print_roles(*run(revoke_role(endpoints, name, role)))


@group.command()
def erase(name: Name, data: Data = DATA) -> None:
    """Erase an account permanently: no board, record or closed period names the player any more."""
    endpoints = load_endpoints(data)
    from services.cli.identity.accounts import erase_account

    run(erase_account(endpoints, name))
    say("The account is erased.")


@group.command(name="list")
def list_users(
    prefix: Annotated[str, typer.Argument(help="What the names start with, regardless of case.")] = "",
    blocked: Annotated[bool, typer.Option("--blocked", help="Only accounts that are blocked now.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most accounts to print.")] = 20,
    data: Data = DATA,
) -> None:
    """Print accounts by name: name, ID, roles, and the block with its end and reason."""
    endpoints = load_endpoints(data)
    from services.cli.identity.accounts import list_accounts

    with listing("such accounts") as report:
        for user in run(list_accounts(endpoints, prefix, limit, blocked=blocked)):
            report(f"{user.username}  {user.user_id}  {', '.join(user.roles)}{_block_text(user)}")


@group.command()
def rename(
    name: Name,
    new: Annotated[str, typer.Argument(help="The new username; reserved names are refused.")],
    reason: Reason,
    data: Data = DATA,
) -> None:
    """Give an account another username; boards show it within seconds, and the former one becomes free."""
    endpoints = load_endpoints(data)
    from services.cli.identity.accounts import rename_account

    former, username = run(rename_account(endpoints, name, new, reason))
    say(f"{former} is now {username}.")


@group.command()
def block(
    name: Name,
    reason: Reason,
    until: Annotated[
        datetime | None,
        typer.Option(
            metavar="<date>",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="When it ends, UTC, such as 2027-01-31 or 2027-01-31T18:30:00; never by default.",
        ),
    ] = None,
    data: Data = DATA,
) -> None:
    """Block an account: its sessions end, and it is on no board. A later end extends a block that is in force."""
    endpoints = load_endpoints(data)
    from services.cli.identity.accounts import block_account

    user = run(block_account(endpoints, name, reason, None if until is None else until.replace(tzinfo=UTC)))
    say(f"{user.username}{_block_text(user)}")


@group.command()
def unblock(name: Name, reason: Reason, data: Data = DATA) -> None:
    """Lift every sanction of an account; it is on all boards again, with the same points."""
    endpoints = load_endpoints(data)
    from services.cli.identity.accounts import unblock_account

    lifted = run(unblock_account(endpoints, name, reason))
    say(f"Sanctions lifted: {lifted}.")


@group.command()
def sessions(name: Name, data: Data = DATA) -> None:
    """Print the open sessions of an account: ID, when it was opened and renewed, and when it ends."""
    endpoints = load_endpoints(data)
    from services.cli.identity.accounts import list_sessions

    with listing("open sessions") as report:
        for session in run(list_sessions(endpoints, name)):
            opened, renewed, ends = map(_time, (session.opened_at, session.renewed_at, session.expires_at))
            report(f"{session.session_id}  opened {opened}  renewed {renewed}  ends {ends}")


@group.command(name="end-sessions")
def end_sessions(
    name: Name,
    reason: Reason,
    session: Annotated[str, typer.Option(help="ID of one session; all by default.")] = "",
    data: Data = DATA,
) -> None:
    """End sessions of an account; their users must sign in again."""
    endpoints = load_endpoints(data)
    from services.cli.identity import accounts

    say(f"Sessions ended: {run(accounts.end_sessions(endpoints, name, session, reason))}.")


def _print_roles(username: str, roles: list[str]) -> None:
    say(f"{username}: {', '.join(roles)}")


def _block_text(user: identity_pb2.User) -> str:
    if not user.HasField("block"):
        return ""
    until = f"until {_time(user.block.expires_at)}" if user.block.HasField("expires_at") else "permanently"
    return f"  blocked {until}: {user.block.reason}"


def _time(value: Timestamp) -> str:
    return value.ToJsonString()
