"""`topten secrets`: keys and passwords for a new deployment, into a file of their owner alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from services.local.credentials import new_service_secrets, new_store_secrets
from services.local.terminal import USAGE, fail, out

FORMATS: Final = (".json", ".env")


def secrets(
    file: Annotated[Path, typer.Argument(help="Where to write: NAME.json for Kubernetes, NAME.env for Compose.")],
    name: Annotated[str, typer.Option(help="The name of the Kubernetes Secret.")] = "topten-secrets",
) -> None:
    """Make a signing key and passwords, into a new file that only you can read.

    FILE.json is a Secret for `kubectl apply -f` and the chart's `secrets.existingSecret`. FILE.env is for
    `docker compose --env-file`; it holds passwords of the stores as well. A file that is there is never overwritten.
    """
    if file.suffix not in FORMATS:
        fail("the file's name must end with .json or .env", USAGE)
    text = _manifest(name) if file.suffix == ".json" else _environment()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        fail(f"{file}: {error.strerror}", USAGE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    out.print(f"{file}: made", markup=False, soft_wrap=True)


def _manifest(name: str) -> str:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": new_service_secrets(),
    }
    return json.dumps(secret, indent=2) + "\n"


def _environment() -> str:
    values = new_service_secrets() | new_store_secrets()
    # In single quotes a value may have several lines and is taken as it is.
    return "".join(f"{key.upper().replace('-', '_')}='{value.strip()}'\n" for key, value in values.items())
