"""Judging a quiz again: changed records a second until everything is counted, with a board that is read meanwhile.

    python -m tests.bench rejudge [RECORDS]

Each record is of a player of its own, who gave the wrong answer to a quiz whose key is then corrected, so each changes. The
records are made by a second instance of quiz (`filling`) and counted before the clock starts. The clock stops when the stream
is empty: every change is recorded, counted and on boards. Then the board of the quiz must have every player with the points of
a right answer. Meanwhile the head of that board is read over GraphQL, one read after the other. The floor is `insert_many` of
the records of the changes, 200 at a time, majority and journal, with the same indexes; at most 100 000 are inserted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo import AsyncMongoClient, WriteConcern
from topten.quiz.v1 import quiz_pb2

from services.cli.quizzes.quiz_rejudge import rejudge_quiz
from services.cli.system.client import GraphqlClient
from tests.bench.filling import fill
from tests.bench.price import counted, cpu_seconds
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack, running_stack, unique

RECORDS: Final = 10_000
# How long the reader uses a token, which expires after 10 minutes.
TOKEN_SECONDS: Final = 300
FLOOR_RECORDS: Final = 100_000
GROUP: Final = 200
QUIZ_DATABASE: Final = "topten_quiz"
HEAD: Final = """query ($id: ID!) {
  leaderboard(board: {kind: QUIZ, quizId: $id}, first: 1) { totalCount edges { node { score } } }
}"""


@dataclass(frozen=True)
class Result:
    """Seconds until the changes are recorded, and until they are counted; CPU by process; sorted seconds of reads."""

    records: int
    recorded: float
    counted: float
    cpu: dict[str, float]
    dry_run: float
    reads: Sequence[float]
    floor: float


async def read_head(player: Player, quiz_id: str, reads: list[float]) -> None:
    """Read the head of the board of the quiz, one read after the other, until this is cancelled."""
    while True:
        token = await player.client.login(player.username, PASSWORD)
        renewed = time.perf_counter()
        while (begun := time.perf_counter()) < renewed + TOKEN_SECONDS:
            await player.client.execute(HEAD, {"id": quiz_id}, token)
            reads.append(time.perf_counter() - begun)
            await asyncio.sleep(0.05)


async def floor(stack: RunningStack, quiz_id: str, records: int) -> float:
    """Return the seconds of inserting the records of the changes again, as they are; more than FLOOR_RECORDS by proportion."""
    inserted = min(records, FLOOR_RECORDS)
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        made = mongo[QUIZ_DATABASE]["submissions"].find({"quiz_id": quiz_id, "kind": "ACTION_REJUDGED"})
        documents = await made.limit(inserted).to_list()
        copies = mongo["bench"].get_collection("rejudge", write_concern=WriteConcern("majority", j=True))
        await copies.create_index([("user_id", 1), ("action_id", 1)], unique=True)
        await copies.create_index([("user_id", 1), ("quiz_id", 1), ("attempt", -1)], unique=True)
        begun = time.perf_counter()
        for start in range(0, len(documents), GROUP):
            await copies.insert_many(documents[start : start + GROUP], ordered=False)
        seconds = time.perf_counter() - begun
        await mongo.drop_database("bench")
    assert len(documents) == inserted
    return seconds / inserted * records


async def measure(stack: RunningStack, records: int) -> Result:
    """Submit the records, correct the key, judge again, and check the board."""
    definition = quiz_definition(unique("bench-"), counting=quiz_pb2.COUNTING_SUM)
    await import_quiz(endpoints(stack), definition)
    begun = time.perf_counter()
    await fill(stack, definition.quiz_id, records, "b")
    await counted(stack)
    print(f"{records:,} records are counted after {time.perf_counter() - begun:.1f} s", flush=True)
    definition.questions[0].correct_option = "b"
    await import_quiz(endpoints(stack), definition)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        begun = time.perf_counter()
        would = await rejudge_quiz(endpoints(stack), definition.quiz_id, "bench", dry_run=True)
        dry_run = time.perf_counter() - begun
        assert would.changed == records, would.changed
        reads: list[float] = []
        reading = asyncio.create_task(read_head(player, definition.quiz_id, reads))
        before, begun = cpu_seconds(stack), time.perf_counter()
        did = await rejudge_quiz(endpoints(stack), definition.quiz_id, "bench", dry_run=False)
        recorded = time.perf_counter() - begun
        await counted(stack)
        until_counted = time.perf_counter() - begun
        cpu = {process: used - before[process] for process, used in cpu_seconds(stack).items()}
        reading.cancel()
        assert did.changed == records, did.changed
        token = await client.login(player.username, PASSWORD)
        board = (await client.execute(HEAD, {"id": definition.quiz_id}, token))["leaderboard"]
        assert board["totalCount"] == records, board
        assert board["edges"][0]["node"]["score"] == 10, board
    return Result(
        records, recorded, until_counted, cpu, dry_run, sorted(reads), await floor(stack, definition.quiz_id, records)
    )


def show(result: Result) -> None:
    """Print a table."""
    minutes = 1_000_000 / result.records * result.counted / 60
    parts = ", ".join(
        f"{name} {spent / result.records * 1000:.2f}" for name, spent in result.cpu.items() if spent > 0.1
    )
    middle, late = (result.reads[len(result.reads) * share // 100] for share in (50, 99))
    print(
        "| records | dry run | recorded | counted | records/s | 1 M at this rate | × floor "
        "| CPU ms a record | reads, p50 and p99 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| {result.records:,} | {result.dry_run:.1f} s | {result.recorded:.1f} s | {result.counted:.1f} s "
        f"| {result.records / result.counted:,.0f} | {minutes:.1f} min | {result.counted / result.floor:.1f} "
        f"| {sum(result.cpu.values()) / result.records * 1000:.2f}: {parts} "
        f"| {middle * 1000:.0f} and {late * 1000:.0f} ms of {len(result.reads)} |"
    )


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print the result."""
    sizes = [int(each) for each in arguments if each.isdigit()]
    with running_stack() as stack:
        result = asyncio.run(measure(stack, sizes[0] if sizes else RECORDS))
    show(result)
