"""Counting for ten boards a player beside counting for six, in turns.

    python -m tests.bench board_counts [ROUNDS]

Two workers in this process, each on servers of its own, count the same number of events of players whom they know, one after
the other; the one that was first in a round is second in the next. Six boards are the five that each action at a quiz counts
on, and a declared one; ten are these and four defined ones with counters of their own. CPU is that of this process and of the
worker's MongoDB, Redis and NATS until the stream is empty and the folds are stored. A round before the first warms both up.
At the end everything is verified.
"""

from __future__ import annotations

import asyncio
import gc
import os
from statistics import median

import uuid_utils

from services.boards.definition import Definition
from services.score.__main__ import OBJECTS_BEFORE_COLLECTION
from tests.bench.score_throughput import Counting, counting, verified

ROUNDS = 20
EVENTS = 10_000
PLAYERS = 3000
DECLARED = "week-by-country=weekly,country"
DEFINED = (
    Definition("daily", period="daily", number=1),
    Definition("actions", aggregate="count", period="weekly", number=2),
    Definition("yearly", period="yearly", number=3),
    Definition("sprint", period="every:14:2026-01-05", number=4),
)


async def measured(worker: Counting, players: list[str]) -> dict[str, float]:
    """Return microseconds of CPU an event: of the worker, of each of its servers, and of all together."""
    await worker.preload(players, EVENTS)
    _, cpu, of_servers = await worker.drain()
    seconds = {"worker": cpu, **of_servers, "together": cpu + sum(of_servers.values())}
    return {name: each / EVENTS * 1e6 for name, each in seconds.items()}


async def main(rounds: int) -> None:
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 10, 10)
    players = [str(uuid_utils.uuid7()) for _ in range(PLAYERS)]
    async with (
        counting(always=False, declared=DECLARED) as (six, _, of_six),
        counting(always=False, declared=DECLARED, defined=DEFINED) as (ten, _, of_ten),
    ):
        figures: list[dict[Counting, dict[str, float]]] = []
        for number in range(rounds + 1):
            turns = (six, ten) if number % 2 else (ten, six)
            figures.append({worker: await measured(worker, players) for worker in turns})
        del figures[0]
        for verification in (of_six, of_ten):
            await verified(verification, (rounds + 1) * EVENTS)
    print(f"{rounds} rounds of {EVENTS} events, load {os.getloadavg()[0]:.0f}\n")
    print("| CPU an event | six boards, µs | ten boards, µs | ten to six: median | least | most |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in figures[0][six]:
        fewer, more = ([figure[worker][name] for figure in figures] for worker in (six, ten))
        ratios = [b / a for a, b in zip(fewer, more, strict=True)]
        print(
            f"| {name} | {median(fewer):.0f} | {median(more):.0f} "
            f"| {median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |"
        )


def run(chosen: list[str]) -> None:
    """Run as many rounds as are given."""
    asyncio.run(main(next((int(each) for each in chosen if each.isdigit()), ROUNDS)))
