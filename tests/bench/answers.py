"""The time of an action until it is accepted and until it is on a screen; the start time and memory of the system.

An open loop through GraphQL, whether earlier submissions were answered or not, at half the rate that 40 in flight were
accepted at just before. The floors are measured in the same run, on the same servers, and taken at the same percentile:
one durable insert (majority and journal) is that of an answer; two, one publish that JetStream has synced to its disk, one
round trip to Redis and one tick that of a screen.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import nats
import redis.asyncio as redis
from nats.js.api import StorageType
from pymongo import AsyncMongoClient, WriteConcern
from rich.table import Table
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, stream
from tests.servers import RunningStack, running_stack, unique

IN_FLIGHT = 40
CAPACITY_SECONDS = 8
FLOOR_RATE = 100
SECONDS = 20
PLAYERS = 10
TICK_MS = 50
RIGHT = [("q1", "a"), ("q2", "a")]
PROCESSES = ("edge", "identity", "quiz", "score", "leaderboard", "mongo", "nats", "redis")


@dataclass
class Seen:
    """When each action was sent and accepted, and when a stream showed each score; seconds of one clock."""

    totals: Counter[str] = field(default_factory=Counter)
    answers: list[tuple[str, int, float, float]] = field(default_factory=list)
    refused: int = 0
    rate: float = 0.0
    frames: defaultdict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def accepted(self, username: str, points: int, sent: float, at: float) -> None:
        """Record an accepted submission, whose points the player's score should now include."""
        self.totals[username] += points
        self.answers.append((username, self.totals[username], sent, at))

    def shown(self, username: str, score: int, at: float) -> None:
        """Record that a frame shows this score."""
        self.frames[username].append((score, at))

    def is_all_shown(self) -> bool:
        """Whether the last score of every player has been shown."""
        return all(self.frames[name] and self.frames[name][-1][0] >= total for name, total in self.totals.items())

    def delays(self) -> tuple[list[float], list[float], list[float]]:
        """Return the times from sent to accepted, from accepted to seen, and from sent to seen."""
        found: list[tuple[float, float, float]] = []
        for username, total, sent, at in self.answers:
            frames = self.frames[username]
            seen = frames[bisect_left(frames, total, key=itemgetter(0))][1]
            found.append((at - sent, max(0.0, seen - at), seen - sent))
        accepted, shown, both = zip(*found, strict=True)
        return list(accepted), list(shown), list(both)


async def measure() -> list[Table]:
    """Return the tables."""
    with running_stack({"TOPTEN_LEADERBOARD_TICK": f"{TICK_MS}ms"}) as stack:
        seen = await _load(stack)
        floors = await _floors(stack)
        memory = {name: _rss(stack.pid_of(name)) for name in PROCESSES}
        stack.stop()
        begun = time.perf_counter()
        await asyncio.to_thread(stack.start)
        warm = time.perf_counter() - begun
    return [_latency_table(seen, floors), _memory_table(memory, warm)]


async def _load(stack: RunningStack) -> Seen:
    quiz_id = unique("bench-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        players = [await register(client) for _ in range(PLAYERS)]
        for player in players:  # warms connections, caches and folds
            await player.submit(quiz_id, [])
        seen = Seen()
        async with stream(stack.http, players[0].access_token, f"quiz:{quiz_id}") as events:

            async def watch() -> None:
                async for event in events:
                    at = time.perf_counter()
                    for entry in event.data["leaderboard"] if event.name == "update" else ():
                        seen.shown(entry["username"], entry["score"], at)

            async def submit(player: Player) -> None:
                begun = time.perf_counter()
                try:
                    result = await player.submit(quiz_id, RIGHT)
                except GraphqlError as error:
                    assert error.reason == "UNAVAILABLE", error
                    seen.refused += 1
                    return
                seen.accepted(player.username, result["pointsAwarded"], begun, time.perf_counter())

            async def all_shown() -> None:
                async with asyncio.timeout(60):
                    while not seen.is_all_shown():
                        await asyncio.sleep(0.01)

            watcher = asyncio.create_task(watch())
            ends = time.perf_counter() + CAPACITY_SECONDS

            async def one_after_the_other(player: Player) -> None:
                while time.perf_counter() < ends:
                    await submit(player)

            await asyncio.gather(*(one_after_the_other(players[number % PLAYERS]) for number in range(IN_FLIGHT)))
            seen.rate = len(seen.answers) / CAPACITY_SECONDS / 2
            await all_shown()
            seen.answers.clear()
            seen.refused = 0
            start = time.perf_counter()
            tasks = []
            for number in range(int(seen.rate * SECONDS)):
                await asyncio.sleep(max(0.0, start + number / seen.rate - time.perf_counter()))
                tasks.append(asyncio.create_task(submit(players[number % PLAYERS])))
            await asyncio.gather(*tasks)
            await all_shown()
            watcher.cancel()
    return seen


async def _floors(stack: RunningStack) -> dict[str, list[float]]:
    """Measure single operations of each raw store at the same rate."""
    urls = stack.endpoints["stores"]
    name = unique("floor")
    mongo: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(urls["mongo"])
    async with mongo, redis.from_url(urls["redis"]) as cache:
        collection = mongo[name].get_collection("rows", write_concern=WriteConcern("majority", j=True))
        broker = await nats.connect(urls["nats"])
        try:
            jetstream = broker.jetstream()
            await jetstream.add_stream(name=name, subjects=[name], storage=StorageType.FILE)

            async def insert() -> object:
                return await collection.insert_one({"user_id": name, "answers": RIGHT, "points": 20})

            async def publish() -> object:
                return await jetstream.publish(name, bytes(200))

            floors = {
                "durable insert": await _each(insert),
                "durable publish": await _each(publish),
                "Redis round trip": await _each(cache.ping),
            }
            await jetstream.delete_stream(name)
            await mongo.drop_database(name)
        finally:
            await broker.close()
    return floors


async def _each(operation: Callable[[], Awaitable[object]]) -> list[float]:
    durations = []
    for _ in range(300):
        begun = time.perf_counter()
        await operation()
        durations.append(time.perf_counter() - begun)
        await asyncio.sleep(max(0.0, 1 / FLOOR_RATE - durations[-1]))
    return durations


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _latency_table(seen: Seen, floors: dict[str, list[float]]) -> Table:
    accepted, shown, both = seen.delays()
    title = f"{seen.rate:.0f} submissions/s for {SECONDS} s, half the capacity, tick {TICK_MS} ms"
    table = Table(title=title, caption=f"milliseconds; {seen.refused} refused as too much")
    for heading in ("", "p50", "p99", "p50 × its floor", "p99 × its floor"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, values in (("answer accepted", accepted), ("accepted → seen", shown), ("sent → seen", both)):
        measured = [_percentile(values, percent) for percent in (50, 99)]
        ratios = [found / _floor(name, floors, percent) for found, percent in zip(measured, (50, 99), strict=True)]
        cells = (*(f"{found * 1000:.1f}" for found in measured), *(f"{ratio:.2f}" for ratio in ratios))
        table.add_row(name, *cells)
    for name, values in floors.items():
        p50, p99 = _percentile(values, 50), _percentile(values, 99)
        table.add_row(f"floor: {name}", f"{p50 * 1000:.1f}", f"{p99 * 1000:.1f}", "", "")
    return table


def _floor(name: str, floors: dict[str, list[float]], percent: int) -> float:
    """Return the time that the stores alone need at this percentile, in seconds."""
    insert, publish, round_trip = (_percentile(durations, percent) for durations in floors.values())
    if name == "answer accepted":
        return insert
    # Two inserts, the stream, boards and Pub/Sub, and a whole tick, as if each action came right after a frame.
    return 2 * insert + publish + round_trip + TICK_MS / 1000


def _memory_table(memory: dict[str, int], warm: float) -> Table:
    table = Table(title="Resident memory", caption=f"warm start of all, demo accounts included: {warm:.1f} s")
    table.add_column("process")
    table.add_column("MiB", justify="right")
    for name, size in memory.items():
        table.add_row(name, f"{size / 2**20:.0f}")
    return table


def _rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
