"""The cost of hostile documents to the edge, in CPU time of its process per request.

    python -m tests.bench documents

Each attack of tests/attacks.py as a request of its own, its text changed a little each time so that nothing is remembered;
the median of nine. Then documents of chance: the dearest of thousands of seeds, found in this process, are sent likewise.
The floor is `{__typename}`.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
from topten.quiz.v1 import quiz_pb2

from edge.graphql.execution.prepared import DocumentError
from services.cli.system.client import GraphqlClient
from services.runtime.errors import ServiceError
from tests.attacks import COERCED, PARSED, VALIDATED, Attack, check, executed, generated
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints, register
from tests.servers import RunningStack, running_stack, unique

RUNS = 9
PLAYERS = 100
SEEDS = 4_000
SENT = 10
LIMIT_MS = 50


def cpu_ms(pid: int) -> float:
    """Return the CPU time of all threads of a process."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e6


async def cost_ms(session: aiohttp.ClientSession, url: str, pid: int, attack: Attack, headers: dict[str, str]) -> float:
    """Return the median over the runs. No response may be a 5xx."""
    found = []
    for run in range(RUNS):
        body = replace(attack, query=attack.query + " " * run).body
        before = cpu_ms(pid)
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()
            assert response.status < 500, (attack.name, response.status)
        found.append(cpu_ms(pid) - before)
    return statistics.median(found)


def dearest_of_chance() -> list[Attack]:
    """Return the seeds whose preparation takes longest on this machine."""
    found = []
    gc.disable()
    for seed in range(SEEDS):
        text = generated(seed)
        begun = time.process_time()
        with suppress(ServiceError, DocumentError):
            check(text)
        found.append((time.process_time() - begun, seed))
        if seed % 100 == 0:
            gc.collect()
    gc.enable()
    return [Attack(f"of chance, seed {seed}", generated(seed)) for _, seed in sorted(found, reverse=True)[:SENT]]


async def measure(stack: RunningStack) -> tuple[float, list[tuple[float, str, str, int]]]:
    """Return the floor, and the cost, name, way of sending and length of each attack."""
    quiz_id = unique("bench-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        players = [await register(client) for _ in range(PLAYERS)]
        for player in players:
            await player.submit(quiz_id, [("q1", "a")])
    signed_in = {"Authorization": f"Bearer {players[0].access_token}"}
    json_type = {"Content-Type": "application/json"}
    url, pid, found = f"{stack.http}/graphql", stack.pid_of("edge"), []
    async with aiohttp.ClientSession() as session:
        floor = await cost_ms(session, url, pid, Attack("floor", "{__typename}"), json_type)
        for attack in [*PARSED, *VALIDATED, *COERCED, *executed(), *dearest_of_chance()]:
            for who, headers in (("nobody", {}), ("a player", signed_in)):
                cost = await cost_ms(session, url, pid, attack, json_type | headers)
                found.append((cost, attack.name, who, len(attack.body)))
    return floor, sorted(found, reverse=True)


def main() -> None:
    """Measure, and print the result."""
    with running_stack({"TOPTEN_EDGE_RATE_QUERY": "-,-", "TOPTEN_EDGE_RATE_LOGIN": "-,-"}) as stack:
        floor, found = asyncio.run(measure(stack))
    print(f"The floor, a request for __typename, is {floor:.2f} ms. The dearest thirty of {len(found)}:\n")
    print("| document | asked by | bytes | CPU of the edge, ms | × the floor |")
    print("| --- | --- | --- | --- | --- |")
    for cost, name, who, length in found[:30]:
        print(f"| {name} | {who} | {length:,} | {cost:.1f} | {cost / floor:.0f} |")
    print(f"\n{sum(cost < LIMIT_MS for cost, *_ in found)} of {len(found)} are below {LIMIT_MS} ms.")
