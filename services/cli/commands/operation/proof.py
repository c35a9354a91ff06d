"""`topten verify-proof`: check a proof of a place on a closed board, without the service that made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli.terminal import EXIT_FINDING, EXIT_USAGE, fail, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwt import PyJWK

_MAX_BYTES: Final = 64 * 1024


def verify_proof(
    file: Annotated[
        Path, typer.Argument(help="JSON of a proof, or the GraphQL response with it.", exists=True, dir_okay=False)
    ],
    keys: Annotated[
        Path | None,
        typer.Option(
            help="JWKS of the keys to trust, such as a saved /.well-known/jwks.json.", exists=True, dir_okay=False
        ),
    ] = None,
) -> None:
    """Check a proof of a place on a closed board, offline; exit code 1 if it does not hold.

    Without --keys the signature is checked with the key in the proof: compare the id that is printed with a published one.
    """
    from services.boards.proofs.proof import check_proof

    document = _read(file)
    data = document.get("data") if isinstance(document, dict) else None
    if isinstance(data, dict) and "proof" in data:
        document = data["proof"]
    trusted = None if keys is None else _keys(keys)
    try:
        checked = check_proof(document, trusted)
    except ValueError as error:
        fail(f"{file}: {error}.", EXIT_FINDING)
    head = checked.signed.head
    who = f"player {checked.user_id}" if checked.is_named else "an erased player"
    points = "point" if checked.score == 1 else "points"
    say(f"{head.board}: {who} has rank {checked.rank} of {head.players} with {checked.score} {points}.")
    say(
        f"Head {head.generation} of the board, closed at {head.closed_at:%Y-%m-%d %H:%M:%S} UTC, root {head.root.hex()}"
    )
    if head.supersedes:
        say(f"It supersedes the root {head.supersedes.hex()}")
    signer = "the key in the proof, with the id" if trusted is None else "the trusted key"
    say(f"Signed by {signer} {checked.signed.key_id}")


def _keys(file: Path) -> Mapping[str, PyJWK]:
    """Return the Ed25519 keys of a JWKS by their id."""
    from jwt import PyJWK, PyJWTError

    document = _read(file)
    try:
        listed = [key for key in document["keys"] if key.get("crv") == "Ed25519"]
        return {str(key["kid"]): PyJWK.from_dict(key, "EdDSA") for key in listed}
    except (PyJWTError, KeyError, TypeError, AttributeError):
        fail(f"{file}: not a JWKS.", EXIT_USAGE)


def _read(file: Path) -> Any:
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        fail(f"{file}: {error.strerror}.", EXIT_USAGE)
    if len(content) > _MAX_BYTES:
        fail(f"{file}: longer than {_MAX_BYTES} bytes.", EXIT_USAGE)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        fail(f"{file}: not JSON.", EXIT_USAGE)
