"""`topten secrets`: keys and passwords for a new deployment, in a file that only its owner can read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from services.cli.terminal import EXIT_USAGE, fail, say


def secrets(
    file: Annotated[Path, typer.Argument(help="File to create: NAME.json for Kubernetes, NAME.env for Compose.")],
    name: Annotated[str, typer.Option(help="Name of the Kubernetes Secret.")] = "topten-secrets",
) -> None:
    """Generate a signing key and passwords into a new file that only you can read.

    NAME.json is a Secret for `kubectl apply -f` and the chart's `secrets.existingSecret`. NAME.env is for
    `docker compose --env-file` and has the passwords of the stores as well. An existing file is never overwritten.
    """
    if file.suffix not in (".json", ".env"):
        fail(f"{file}: the name must end with .json or .env.", EXIT_USAGE)
    text = _manifest(name) if file.suffix == ".json" else _environment()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        fail(f"{file}: {error.strerror}.", EXIT_USAGE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
    say(f"{file}: created")


def _manifest(name: str) -> str:
    from services.embedded.credentials import new_service_secrets

    metadata = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    return json.dumps(metadata | {"stringData": new_service_secrets()}, indent=2) + "\n"


def _environment() -> str:
    from services.embedded.credentials import new_service_secrets, new_store_secrets

    values = new_service_secrets() | new_store_secrets()
    # Single quotes allow several lines and expand nothing.
    return "".join(f"{key.upper().replace('-', '_')}='{value.strip()}'\n" for key, value in values.items())
