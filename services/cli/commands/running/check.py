"""`topten check`: an end-to-end check of a system, by hand or by `helm test`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from services.cli.terminal import DATA, EXIT_USAGE, Data, fail, load_endpoints, run


def check(
    url: Annotated[
        str | None, typer.Option(help="Address of a system elsewhere; by default the system of the data folder.")
    ] = None,
    quiz: Annotated[
        Path | None, typer.Option(help="File of an imported quiz to play; by default one of the samples.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Time limit in seconds.", min=1, max=3600)] = 60,
    data: Data = DATA,
) -> None:
    """Register a player, play a quiz, submit it twice, and watch the live board; exit code 1 if anything fails.

    The player's name begins with `check-`; the account is deleted at the end, also after a failure.
    """
    address = str(load_endpoints(data).document["http"]) if url is None else url
    if urlsplit(address).scheme not in ("http", "https"):
        fail(f"Invalid address {address!r}: it must begin with http:// or https://.", EXIT_USAGE)
    from services.cli.demo.demo_players import read_quiz
    from services.cli.demo.smoke_test import play_and_watch
    from services.cli.quizzes.quiz_import import sample_files
    from services.quiz.formats.source import MAX_TEXT_BYTES, FormatError

    if quiz is not None and (not quiz.is_file() or quiz.stat().st_size > MAX_TEXT_BYTES):
        fail(f"{quiz}: not a quiz file of at most {MAX_TEXT_BYTES} bytes.", EXIT_USAGE)
    files = sample_files() if quiz is None else [quiz]
    try:
        quizzes = [read_quiz(file) for file in files]
    except FormatError as error:
        fail(f"{quiz}: not a quiz in Topten JSON:\n{error}", EXIT_USAGE)
    run(play_and_watch(address.rstrip("/"), quizzes, timeout))
