"""`make bench`: every measurement, one table each. `ARGS=answers` runs only that one."""

from __future__ import annotations

import asyncio
import sys

from rich.console import Console

from services.runtime.config.settings import ProcessConfig
from services.runtime.telemetry.logging import configure
from tests.bench import (
    answers,
    backfill,
    batches,
    board_counts,
    documents,
    overload,
    price,
    profile,
    projector,
    pull_loop,
    ranking,
    reads,
    rejudge,
    resting,
    restore,
    rooms,
    score_throughput,
    sizes,
    submit,
    teams,
    tracing,
    workers,
)
from tests.bench.fanout import measure as fan_out
from tests.leftovers import exit_on_sigterm

EVENTS = 60_000


def main(chosen: list[str]) -> None:
    """Run the measurements and print their tables."""
    configure(ProcessConfig(log_level="error"), "bench")
    console = Console()
    if not chosen or "answers" in chosen:
        for table in asyncio.run(answers.measure()):
            console.print(table)
    if not chosen or "score_throughput" in chosen:
        asyncio.run(score_throughput.main(EVENTS))
    if not chosen or "board_counts" in chosen:
        board_counts.run(chosen)
    if not chosen or "workers" in chosen:
        asyncio.run(workers.main())
    if not chosen or "submit" in chosen:
        submit.main()
    if not chosen or "batches" in chosen:
        batches.main(chosen)
    if not chosen or "price" in chosen:
        price.main(chosen)
        resting.main()
    if "resting" in chosen:
        resting.main()
    if "profile" in chosen:
        profile.main(chosen)
    if not chosen or "overload" in chosen:
        overload.main()
    if not chosen or "reads" in chosen:
        reads.main()
    if not chosen or "teams" in chosen:
        teams.main()
    if not chosen or "rooms" in chosen:
        rooms.main(chosen)
    if not chosen or "rejudge" in chosen:
        rejudge.main(chosen)
    if not chosen or "fanout" in chosen:
        asyncio.run(fan_out.main())
    if not chosen or "projector" in chosen:
        projector.main()
    if not chosen or "documents" in chosen:
        documents.main()
    if not chosen or "pull_loop" in chosen:
        asyncio.run(pull_loop.main())
    if not chosen or "tracing" in chosen:
        tracing.main()
    given = [int(size) for size in chosen if size.isdigit()]
    if not chosen or "sizes" in chosen:
        asyncio.run(sizes.main(given))
    if not chosen or "backfill" in chosen:
        asyncio.run(backfill.main(given))
    if not chosen or "restore" in chosen:
        asyncio.run(restore.main(given))
    if not chosen or "ranking" in chosen:
        asyncio.run(ranking.main(given))


if __name__ == "__main__":
    exit_on_sigterm()
    main(sys.argv[1:])
