"""`topten webhook put|list|delete|rotate|deliveries|replay`: webhooks of other systems, and their deliveries."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import (
    DATA,
    EXIT_FINDING,
    EXIT_USAGE,
    Data,
    duration_of,
    fail,
    load_endpoints,
    run,
    say,
    show_table,
    table_of,
    warn,
)

group = typer.Typer(help="Register webhooks, and inspect and replay their deliveries.", no_args_is_help=True)
Which = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Name or ID, as `topten webhook list` shows them.")]


@group.command()
def put(
    name: Annotated[str, typer.Argument(help="Name: lower-case letters, digits and hyphens, a letter first.")],
    url: Annotated[str, typer.Argument(help="The https address to which events are posted.")],
    kind: Annotated[list[str], typer.Option(help="Kind of event, such as board.closed; may be repeated.")],
    board: Annotated[
        list[str] | None,
        typer.Option(help="Only events of this board, such as weekly or custom:sprint; repeat for more, at most 10."),
    ] = None,
    top: Annotated[int, typer.Option(help="For rank.*: how many ranks are the top of a board.", min=1, max=10)] = 10,
    data: Data = DATA,
) -> None:
    """Register a webhook and print its secret on stdout, this once; or change the one with this name."""
    endpoints = load_endpoints(data)
    from services.cli.webhooks import put_webhook

    secret = run(put_webhook(endpoints, name, url, kind, board or (), top))
    if not secret:
        warn(f"Changed {name}. Its secret stays.")
        return
    warn(f"Registered {name}. Its secret is not shown again:")
    say(secret)


@group.command("list")
def list_all(data: Data = DATA) -> None:
    """List all webhooks: owner, address, and the events that each delivers."""
    endpoints = load_endpoints(data)
    from services.cli.webhooks import list_webhooks

    table = table_of("name", "id", "owner", "address", "kinds", "boards")
    for each in run(list_webhooks(endpoints)):
        boards = ", ".join(each.boards) or "all"
        table.add_row(each.name, each.webhook_id, each.owner, each.url, ", ".join(each.kinds), boards)
    show_table(table, "webhooks")


@group.command()
def delete(webhook: Which, data: Data = DATA) -> None:
    """Delete a webhook with its deliveries."""
    endpoints = load_endpoints(data)
    from services.cli.webhooks import delete_webhook

    run(delete_webhook(endpoints, webhook))
    say(f"{webhook} is deleted.")


@group.command()
def rotate(
    webhook: Which,
    keep: Annotated[
        str,
        typer.Option(help="Time for which the previous secret signs as well, such as 1h; at most 7d, 0 ends it now."),
    ] = "1d",
    data: Data = DATA,
) -> None:
    """Replace the secret of a webhook and print the new one on stdout, this once."""
    endpoints = load_endpoints(data)
    from services.cli.webhooks import rotate_secret

    secret = run(rotate_secret(endpoints, webhook, duration_of("--keep", keep)))
    warn(f"Rotated {webhook}; the previous secret signs as well for {keep}. The new one is not shown again:")
    say(secret)


@group.command()
def deliveries(
    webhook: Which,
    state: Annotated[str, typer.Option(help="Only deliveries that are waiting, delivered or dead.")] = "",
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=100)] = 20,
    data: Data = DATA,
) -> None:
    """List deliveries of the last 30 days, newest first. Exit code 1 means that the last attempt of one failed."""
    endpoints = load_endpoints(data)
    from services.cli.webhooks import STATES, list_deliveries

    if state and state not in STATES:
        fail(f"--state {state}: must be one of {', '.join(STATES)}.", EXIT_USAGE)
    found = run(list_deliveries(endpoints, webhook, state, limit))
    table = table_of("id", "kind", "created", "state", "attempts", "status", "next attempt", "last error")
    for each in found:
        following = each.next_attempt_at.ToJsonString() if each.HasField("next_attempt_at") else ""
        table.add_row(
            each.delivery_id,
            each.kind,
            each.created_at.ToJsonString(),
            each.State.Name(each.state).lower(),
            str(each.attempts),
            str(each.status_code or ""),
            following,
            each.last_error,
        )
    show_table(table, "deliveries")
    if any(each.last_error for each in found):
        raise typer.Exit(EXIT_FINDING)


@group.command()
def replay(
    webhook: Which,
    delivery: Annotated[str, typer.Argument(help="ID of one delivery; without it, every dead one.")] = "",
    data: Data = DATA,
) -> None:
    """Send dead deliveries again, or one delivery that is dead or delivered."""
    endpoints = load_endpoints(data)
    from services.cli.webhooks import replay_delivery

    say(f"{run(replay_delivery(endpoints, webhook, delivery))} replayed.")
