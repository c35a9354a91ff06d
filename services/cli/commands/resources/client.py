"""`topten client add|list|rotate|remove`: services that may call Topten, while it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import DATA, Data, duration_of, load_endpoints, run, say, show_table, table_of, warn

group = typer.Typer(help="Manage clients: the credentials with which other services call Topten.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Client id: lower-case letters, digits and hyphens, a letter first.")]


@group.command()
def add(
    name: Name,
    scope: Annotated[list[str], typer.Option(help="Scope of its tokens, such as leaderboard:read; may be repeated.")],
    issuer: Annotated[
        str, typer.Option(help="Outside issuer to which its players sign in; its external IDs are the issuer's then.")
    ] = "",
    data: Data = DATA,
) -> None:
    """Add a client and print its secret on stdout, this once: only a digest is stored."""
    endpoints = load_endpoints(data)
    from services.cli.identity.clients import add_client

    secret = run(add_client(endpoints, name, scope, issuer))
    warn(f"Added {name} with {', '.join(scope)}. Its secret is not shown again:")
    say(secret)
    warn(f"Tokens: POST {endpoints.document['identity_http']}/oauth/token with grant_type=client_credentials.")


@group.command("list")
def list_all(data: Data = DATA) -> None:
    """List all clients: their scopes, where each is declared, and when its secret was made."""
    endpoints = load_endpoints(data)
    from services.cli.identity.clients import list_clients

    table = table_of("client", "from", "secret of", "previous valid until", "issuer of its players", "scopes")
    for client in run(list_clients(endpoints)):
        made = client.rotated_at if client.HasField("rotated_at") else client.added_at
        until = client.previous_valid_until.ToJsonString() if client.HasField("previous_valid_until") else ""
        scopes = ", ".join([*client.scopes, *(role for role in client.roles if role != "service")])
        source = "settings" if client.declared else "topten client"
        table.add_row(client.name, source, "" if client.declared else made.ToJsonString(), until, client.issuer, scopes)
    show_table(table)


@group.command()
def rotate(
    name: Name,
    keep: Annotated[
        str, typer.Option(help="Time for which the previous secret stays valid, such as 1h; at most 7d, 0 ends it now.")
    ] = "1h",
    data: Data = DATA,
) -> None:
    """Replace the secret of a client and print the new one on stdout, this once."""
    endpoints = load_endpoints(data)
    from services.cli.identity.clients import rotate_client

    secret = run(rotate_client(endpoints, name, duration_of("--keep", keep)))
    warn(f"Rotated {name}; the previous secret is valid for {keep}. The new one is not shown again:")
    say(secret)


@group.command()
def remove(name: Name, data: Data = DATA) -> None:
    """Remove a client. Tokens that it already has expire within 15 minutes."""
    endpoints = load_endpoints(data)
    from services.cli.identity.clients import remove_client

    run(remove_client(endpoints, name))
    say(f"{name} is removed.")
