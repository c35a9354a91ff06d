"""`topten up`: the whole system on this machine, until Ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.terminal import DATA, Data


def up(
    port: Annotated[int, typer.Option(help="HTTP port of the edge.", min=1, max=65535)] = 8080,
    data: Data = DATA,
    demo: Annotated[int, typer.Option(help="Number of simulated players.", min=0, max=500)] = 0,
    workers: Annotated[int, typer.Option(help="Number of edge processes that share the port.", min=1, max=64)] = 1,
) -> None:
    """Start all stores and processes, import the sample quizzes, and keep everything running until Ctrl-C.

    TOPTEN_MONGO_URL, TOPTEN_REDIS_URL and TOPTEN_NATS_URL name stores to use instead of the embedded ones. Other TOPTEN_*
    variables reach the processes; `topten config` lists them.
    """
    from services.runtime.process import quick_start

    quick_start.hide_unused()
    with quick_start.without_collector():
        from services.cli.system.launch import launch

    launch(data, port=port, demo=demo, workers=workers)
