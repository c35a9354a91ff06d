"""`topten backup` and `topten restore`: everything in MongoDB into one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.terminal import DATA, Data, run


def backup(
    file: Annotated[
        Path, typer.Argument(help="File to write; {time} in its name becomes the time in UTC; - is standard output.")
    ],
    recipient: Annotated[
        list[str] | None,
        typer.Option(help="Encrypt to this age public key (age1…); may be repeated. Unencrypted by default."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Afterwards remove all but the newest files with this name and {time}.")
    ] = None,
    data: Data = DATA,
) -> None:
    """Write everything in MongoDB to one file, as of one moment, while players play.

    The system is that of the data folder, or the MongoDB that TOPTEN_MONGO_URL names. All other stores are rebuilt from
    the content of the file.
    """
    from services.cli.backup.operations import back_up

    run(back_up(file, recipient or [], keep, data))


def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file written by `topten backup`.")],
    identity: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File of the age private key, if it is encrypted.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Replace existing data without asking.")] = False,
    data: Data = DATA,
) -> None:
    """Replace everything in MongoDB with a backup. Processes may run: they notice and rebuild the rest.

    The whole file is checked first. Nothing live changes until all of it is staged beside the live collections.
    """
    from services.cli.backup import operations

    run(operations.restore(file, identity, data, yes=yes))
