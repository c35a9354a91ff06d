"""`make bench`: every measurement, one table each. `ARGS=answers` or `ARGS=score_throughput` runs one of them."""

from __future__ import annotations

import asyncio
import sys

from rich.console import Console

from services.runtime.settings import ProcessConfig
from services.runtime.telemetry import configure
from tests.bench import answers, score_throughput

EVENTS = 60_000


def main(chosen: list[str]) -> None:
    """Measure and print."""
    configure(ProcessConfig(log_level="error"), "bench")
    console = Console()
    if not chosen or "answers" in chosen:
        for table in asyncio.run(answers.measure()):
            console.print(table)
    if not chosen or "score_throughput" in chosen:
        asyncio.run(score_throughput.main(EVENTS))


if __name__ == "__main__":
    main(sys.argv[1:])
