"""`topten quiz`: quiz files into a running system, and out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.terminal import DATA, EXIT_FINDING, EXIT_USAGE, Data, fail, load_endpoints, run, say, warn

group = typer.Typer(help="Manage quizzes.", no_args_is_help=True)


@group.command("import")
def import_files(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Quiz files; docs/reference/quiz-format.md lists the formats, which are recognized by content."
        ),
    ] = None,
    samples: Annotated[bool, typer.Option("--samples", help="Import the sample quizzes of this distribution.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the files and report every item; store nothing, call nobody.")
    ] = False,
    data: Data = DATA,
) -> None:
    """Import quizzes; a quiz with an existing ID is replaced.

    Each quiz is reported with its version, and each item that was changed or refused with its place and every reason. A
    refused item is left out of its quiz; a quiz of Topten's own format is taken whole or not at all. Valid files are
    imported even if others are not. Exit code 1 means that something was not taken.
    """
    if not files and not samples:
        fail("No quiz files given. Name files or use --samples.", EXIT_USAGE)
    endpoints = None if dry_run else load_endpoints(data)
    from services.cli.quizzes.quiz_import import import_quizzes, sample_files

    chosen = [*(files or []), *(sample_files() if samples else [])]
    if run(import_quizzes(endpoints, chosen, on_success=say, on_problem=warn)):
        raise typer.Exit(EXIT_FINDING)


@group.command("export")
def export_files(
    quiz_ids: Annotated[list[str] | None, typer.Argument(help="IDs of quizzes.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Export every quiz.")] = False,
    written: Annotated[str, typer.Option("--format", help="json, gift, aiken, csv, xlsx, moodle or qti.")] = "json",
    to: Annotated[Path, typer.Option(help="Folder of the files; an older file of a quiz is replaced.")] = Path(),
    data: Data = DATA,
) -> None:
    """Export quizzes with their answer keys, each to a file named after its ID that only you can read.

    JSON keeps everything: importing it again changes nothing. What another format cannot express is named. Exit code 1 means
    that a quiz was not written.
    """
    if bool(quiz_ids) == every:
        fail("Name quizzes or use --all.", EXIT_USAGE)
    from services.quiz.formats.registry import WRITERS

    if written not in WRITERS:
        fail(f"Unknown format {written!r}: must be one of {', '.join(WRITERS)}.", EXIT_USAGE)
    endpoints = load_endpoints(data)
    from services.cli.quizzes.quiz_export import export_quizzes

    if run(export_quizzes(endpoints, quiz_ids, written, to, on_success=say, on_problem=warn)):
        raise typer.Exit(EXIT_FINDING)


@group.command("rejudge")
def rejudge(
    quiz_id: Annotated[str, typer.Argument(help="ID of the quiz.")],
    reason: Annotated[str, typer.Option(help="Why, for the audit log and for the players whose score changes.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")] = False,
    data: Data = DATA,
) -> None:
    """Judge recorded answers again by the current version of the quiz, after you corrected its key, points or scoring.

    Answers to questions whose options changed keep their points. What changes acts on the period of each answer; resealing a
    closed one is up to you. Safe to repeat.
    """
    endpoints = load_endpoints(data)
    from services.cli.quizzes.quiz_rejudge import MAX_SHOWN, rejudge_quiz

    result = run(rejudge_quiz(endpoints, quiz_id, reason, dry_run=dry_run))
    for player in result.largest:
        places = f", place {player.place_before} → {player.place_after}" if dry_run else ""
        say(f"{player.user_id}: {player.before} → {player.after}{places}")
    if result.players > MAX_SHOWN:
        say(f"… and {result.players - MAX_SHOWN} more")
    change = "would change" if dry_run else "changed"
    say(
        f"{quiz_id}: version {result.version}: {result.actions} answered, {result.changed} {change}, "
        f"{result.players} players, {result.points:+} points"
    )
    if result.closed:
        say(f"closed boards that keep the former points until they are resealed: {', '.join(result.closed)}")
