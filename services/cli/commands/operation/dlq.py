"""`topten dlq list|show|replay`: events that could not be counted. No accepted event is lost; it is kept here."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from services.cli.terminal import DATA, EXIT_FINDING, Data, fail, load_endpoints, run, say, show_table, table_of

group = typer.Typer(help="Inspect and replay events that could not be counted.", no_args_is_help=True)


@group.command("list")
def list_letters(
    everything: Annotated[bool, typer.Option("--all", help="Include replayed dead letters.")] = False,
    data: Data = DATA,
) -> None:
    """List the dead letters that need attention; exit code 1 if there are any."""
    endpoints = load_endpoints(data)
    from services.cli.dead_letters import STATES, list_dead_letters

    letters = run(list_dead_letters(endpoints, include_replayed=everything))
    table = table_of("letter", "state", "since", "reason")
    for letter in letters:
        table.add_row(letter.letter_id, STATES[letter.state], letter.timestamp.ToJsonString(), letter.reason)
    if letters:
        show_table(table)
    else:
        say("No dead letters.")
    if any(STATES[letter.state] == "dead" for letter in letters):
        raise typer.Exit(EXIT_FINDING)


@group.command()
def show(
    letter_id: Annotated[str, typer.Argument(help="Id from `topten dlq list`.")],
    data: Data = DATA,
) -> None:
    """Print a dead letter as JSON, with its event decoded as far as possible."""
    endpoints = load_endpoints(data)
    from services.cli.dead_letters import get_dead_letter

    letter = run(get_dead_letter(endpoints, letter_id))
    if letter is None:
        fail(f"Dead letter {letter_id} does not exist.", EXIT_FINDING)
    print(json.dumps(letter, indent=2, ensure_ascii=True))


@group.command()
def replay(
    letter_ids: Annotated[
        list[str] | None, typer.Argument(help="Ids from `topten dlq list`; all that were not replayed by default.")
    ] = None,
    data: Data = DATA,
) -> None:
    """Count the events of dead letters, each at most once; exit code 1 if some still cannot be counted."""
    endpoints = load_endpoints(data)
    from services.cli.dead_letters import replay_dead_letters

    outcomes = run(replay_dead_letters(endpoints, letter_ids or []))
    if not outcomes:
        say("No dead letters.")
    for outcome in outcomes:
        say(f"{outcome.letter_id}: {'counted' if outcome.counted else f'still dead: {outcome.reason}'}")
    if not all(outcome.counted for outcome in outcomes):
        raise typer.Exit(EXIT_FINDING)
