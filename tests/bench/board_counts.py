"""Counting for ten boards a player beside counting for six, at the same time.

    python -m tests.bench board_counts [ROUNDS]

Two processes, each with a worker and servers of its own, count the same number of events of players whom they know. Six boards
are the five that each action at a quiz counts on, and a declared one; ten are these and four defined ones with counters of
their own. CPU is that of the process and of its MongoDB, Redis and NATS until the stream is empty and the folds are stored.
Both start each round together, so that other programs slow them alike. A round before the first warms both up.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Final

import uuid_utils

from services.boards.definition import Definition
from services.score.__main__ import OBJECTS_BEFORE_COLLECTION
from tests.bench.score_throughput import counting, verified

ROUNDS: Final = 10
EVENTS: Final = 10_000
PLAYERS: Final = 3000
DECLARED: Final = "week-by-country=weekly,country"
DEFINED: Final = (
    Definition("daily", period="daily", number=1),
    Definition("actions", aggregate="count", period="weekly", number=2),
    Definition("yearly", period="yearly", number=3),
    Definition("sprint", period="every:14:2026-01-05", number=4),
)
BOARDS: Final[Mapping[str, tuple[Definition, ...]]] = {"six": (), "ten": DEFINED}


async def count(boards: str) -> None:
    """Publish events at a line on standard input, count them at the next, and print the CPU of that; at the end, verify."""
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 10, 10)
    players = [str(uuid_utils.uuid7()) for _ in range(PLAYERS)]
    events = 0
    async with counting(always=False, declared=DECLARED, defined=BOARDS[boards]) as (worker, _, verification):
        while await asyncio.to_thread(sys.stdin.readline):
            await worker.preload(players, EVENTS)
            events += EVENTS
            print("{}", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            _, cpu, of_servers = await worker.drain()
            seconds = {"worker": cpu, **of_servers, "together": cpu + sum(of_servers.values())}
            print(json.dumps({name: each / EVENTS * 1e6 for name, each in seconds.items()}), flush=True)
        await verified(verification, events)


class Side:
    """One of the two processes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def step(self) -> dict[str, float]:
        """Let it publish the next events, or count them. Return microseconds of CPU an event after a count."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        line = b""
        while not line.startswith(b"{"):  # anything else is logged
            line = await self._process.stdout.readline()
            if not line:
                raise SystemExit("a worker ended")
        figures: dict[str, float] = json.loads(line)
        return figures


@asynccontextmanager
async def side(boards: str) -> AsyncIterator[Side]:
    """Run a process; at the end it must find that all it counted is right."""
    program = (sys.executable, "-m", "tests.bench.board_counts", boards)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
    try:
        yield Side(process)
        assert process.stdin is not None
        process.stdin.close()
        if await process.wait():
            raise SystemExit("a worker found that what it counted is wrong")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def main(rounds: int) -> None:
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(side(boards)) for boards in BOARDS]
        figures: list[list[dict[str, float]]] = []
        for _ in range(rounds + 1):
            await asyncio.gather(*(each.step() for each in sides))
            figures.append(await asyncio.gather(*(each.step() for each in sides)))
    del figures[0]
    print(f"{rounds} rounds of {EVENTS} events, load {os.getloadavg()[0]:.0f}\n")
    print("| CPU an event | six boards, µs | ten boards, µs | ten to six: median | least | most |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in figures[0][0]:
        fewer, more = ([figure[index][name] for figure in figures] for index in (0, 1))
        ratios = [b / a for a, b in zip(fewer, more, strict=True)]
        print(
            f"| {name} | {median(fewer):.0f} | {median(more):.0f} "
            f"| {median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |"
        )


def run(chosen: list[str]) -> None:
    """Run as many rounds as are given."""
    asyncio.run(main(next((int(each) for each in chosen if each.isdigit()), ROUNDS)))


if __name__ == "__main__":
    asyncio.run(count(sys.argv[1]))
