"""Goodput under overload: three times the load that the system carries, by an open loop, through GraphQL.

    python -m tests.bench overload

A tenth of the requests submit an action, the others read: half of them the held head of a board, half a page that is a
call each time. The capacity is what 48 connections with one request in flight on each are answered; then requests are
sent at that rate, and at three times of it, on time whether or not earlier ones were answered. *Goodput* is what is
answered without an error within 2 s of its time, and its share that of the capacity measured right before; everything
accepted is verified at the end. Three rounds of capacity, once and three times, because a machine's speed wanders: the
medians are printed, with the least and the most.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import SUBMIT, endpoints, register, stream
from tests.servers import RunningStack, running_stack, topten, unique

PLAYERS = 48
CONNECTIONS = 1500
SECONDS = 10.0
ROUNDS = 3
GOOD_SECONDS = 2.0
FACTOR = 3
HEAD = "{ getLeaderboard(limit: 10) { userId username score rank } }"
PAGE = "{ leaderboard(first: 20) { totalCount me { rank } edges { node { username score rank } } } }"


class Load:
    """Requests over plain connections, so that the generator costs little."""

    def __init__(self, http: str, tokens: Sequence[str], quiz_id: str) -> None:
        self._target = urlsplit(http)
        self._tokens = tokens
        self._quiz_id = quiz_id
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._open = 0
        self.outcomes: Counter[str] = Counter()

    async def send(self, number: int) -> None:
        """Send one request and count its outcome."""
        due = time.perf_counter()
        if not self._idle and self._open >= CONNECTIONS:
            self.outcomes["no connection"] += 1
            return
        try:
            async with asyncio.timeout(10):
                outcome = await self._ask(self._request(number))
        except (OSError, EOFError, TimeoutError):
            outcome = "lost"
        self.outcomes[outcome if time.perf_counter() - due <= GOOD_SECONDS else f"late: {outcome}"] += 1

    async def _ask(self, request: bytes) -> str:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            self._open += 1
            reader, writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        except BaseException:
            self._open -= 1
            writer.close()
            raise
        self._idle.append((reader, writer))
        return "good" if head.startswith(b"HTTP/1.1 200") and b'"errors"' not in body[:10] else "refused"

    def _request(self, number: int) -> bytes:
        token = self._tokens[number % len(self._tokens)]
        if number % 10 == 0:
            action = {
                "quizId": self._quiz_id,
                "actionId": str(uuid.uuid4()),
                "answers": [{"questionId": "q1", "selectedOption": "a"}],
                "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
            body = json.dumps({"query": SUBMIT, "variables": {"input": action}}).encode()
        else:
            body = json.dumps({"query": HEAD if number % 2 else PAGE}).encode()
        head = f"POST /graphql HTTP/1.1\r\nHost: {self._target.netloc}\r\nAuthorization: Bearer {token}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def closed(self) -> float:
        """Return the accepted requests per second with one request per player in flight."""
        self.outcomes.clear()
        begun = time.perf_counter()

        async def again(number: int) -> None:
            while time.perf_counter() - begun < SECONDS:
                await self.send(number)
                number += 7

        await asyncio.gather(*map(again, range(PLAYERS)))
        return self.outcomes["good"] / (time.perf_counter() - begun)

    async def opened(self, rate: float) -> float:
        """Return the accepted requests per second when `rate` requests per second are sent on time."""
        self.outcomes.clear()
        begun, tasks = time.perf_counter(), set()
        for number in range(round(rate * SECONDS)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            task = asyncio.create_task(self.send(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        took = max(SECONDS, time.perf_counter() - begun)
        await asyncio.gather(*tasks)
        return self.outcomes["good"] / took


class Round(NamedTuple):
    """One load in one round: requests per second, their outcomes, and the goodput as a share of the capacity."""

    factor: int
    rate: float
    goodput: float
    share: float
    outcomes: Counter[str]


async def measure(stack: RunningStack) -> list[Round]:
    """Measure each load in each round."""
    quiz_id = unique("bench-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        players = [await register(client) for _ in range(PLAYERS)]
        for player in players:
            await player.submit(quiz_id, [("q1", "a")])
        tokens = [player.access_token for player in players]
        async with stream(stack.http, tokens[0]) as events:
            await anext(events)  # a watched board keeps its head in memory
            load = Load(stack.http, tokens, quiz_id)
            await load.closed()
            found = []
            for _ in range(ROUNDS):
                capacity = await load.closed()
                for factor in (1, FACTOR):
                    goodput = await load.opened(factor * capacity)
                    share = goodput / capacity
                    found.append(Round(factor, factor * capacity, goodput, share, load.outcomes.copy()))
        return found


def main() -> None:
    """Measure, and print the result."""
    rates = {f"TOPTEN_EDGE_RATE_{name}": "-,-" for name in ("QUERY", "SUBMIT")}
    with running_stack(rates) as stack:
        found = asyncio.run(measure(stack))
        subprocess.run(topten("verify", "--patience", "60", "--data", str(stack.data)), check=True)
    print("| load | requests/s | goodput/s | of the capacity (least to most) | what came of them |")
    print("| --- | --- | --- | --- | --- |")
    for factor in (1, FACTOR):
        rounds = [each for each in found if each.factor == factor]
        shares = [each.share for each in rounds]
        said = ", ".join(
            f"{count} {outcome}"
            for outcome, count in sorted(sum((each.outcomes for each in rounds), Counter[str]()).items())
        )
        rate, goodput = (median(values) for values in zip(*((each.rate, each.goodput) for each in rounds), strict=True))
        print(
            f"| {factor} × | {rate:,.0f} | {goodput:,.0f} | "
            f"{median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f}) | {said} |"
        )
