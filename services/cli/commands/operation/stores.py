"""`topten setup` and `topten bootstrap-mongo`: prepare the stores of a deployment.

Both are idempotent: what exists already is left as it is.
"""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import run, say, warn

Stay = Annotated[bool, typer.Option("--stay", help="Keep checking it until SIGTERM, as a sidecar container does.")]


def setup() -> None:
    """Create the indexes of the large collections and the stream, by the TOPTEN_* variables of the processes.

    The processes create what is missing when they start; this does it in advance, before an upgrade or on a large
    database. Waits up to 60 s for each store.
    """
    from services.cli.store_setup import prepare_stores

    run(prepare_stores())
    say("indexes and stream are ready")


def bootstrap_mongo(*, stay: Stay = False) -> None:
    """Initiate a one-node replica set on a new MongoDB and create the account of TOPTEN_MONGO_URL, for a trial.

    Must reach the server on its loopback address: a new server lets only local clients create its first account. Retries
    until it succeeds.
    """
    from services.cli import store_setup

    run(store_setup.bootstrap_mongo(stay=stay))


def found(*, stay: Stay = False) -> None:
    """Former name of `topten bootstrap-mongo`."""
    warn("topten: `topten found` is now `topten bootstrap-mongo`; the old name will be removed in the next release.")
    bootstrap_mongo(stay=stay)
