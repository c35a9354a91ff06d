"""The price of an action: CPU of every process and store, round trips and group sizes, beside a raw durable insert.

    python -m tests.bench price [SECONDS [IN_FLIGHT …]] [graphql] [grpc] [group] [empty]

Rows: submitQuizAction over GraphQL, SubmitAction over gRPC, SubmitActionGroup as an edge sends it, with what arrives while a
call is under way, and a health check of the same server, which is what gRPC in Python costs without anything of ours.

Clients are as they are in production: every player has their own token, connection and request ID. CPU is what the
operating system charges to each process, divided by accepted actions. The floor of each row is measured right after it on
the same MongoDB: single durable inserts (majority and journal) with as many in flight, CPU of mongod and of the client.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
import redis.asyncio as redis
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from pymongo import AsyncMongoClient, WriteConcern
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.cli.system.client import GraphqlClient
from services.identity.tokens import TokenIssuer
from services.runtime.batcher import Batcher
from services.runtime.clock import utc_now
from services.runtime.grpc.client import call, open_channel
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import SUBMIT, Player, endpoints, register
from tests.servers import RunningStack, running_stack, unique

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

ROWS: Final = {
    "graphql": "submitQuizAction, GraphQL",
    "grpc": "SubmitAction, gRPC",
    "group": "SubmitActionGroup, gRPC",
    "empty": "an empty call, gRPC",
}
IN_FLIGHT: Final = (1, 8, 64, 256)
SECONDS: Final = 6.0
PROCESSES: Final = ("edge", "identity", "quiz", "score", "leaderboard", "mongo", "nats", "redis")
WRITES: Final = ("insert", "update", "findAndModify", "commitTransaction")
READS: Final = ("find", "aggregate")
_TICK: Final = os.sysconf("SC_CLK_TCK")
Act = Callable[[int], Awaitable[object]]


@dataclass(frozen=True)
class Load:
    """One load: accepted actions, seconds, and their sorted latencies."""

    accepted: int
    seconds: float
    latencies: Sequence[float]

    @property
    def rate(self) -> float:
        """Accepted actions per second."""
        return self.accepted / self.seconds

    @property
    def p50(self) -> float:
        """Median latency in seconds."""
        return self.latencies[len(self.latencies) // 2]


@dataclass(frozen=True)
class Price:
    """One row: the load, CPU seconds by process, operations by name, and the floor's load and CPU seconds."""

    name: str
    in_flight: int
    load: Load
    cpu: Mapping[str, float]
    operations: Mapping[str, float]
    floor: Load
    floor_cpu: float

    def each(self, total: float) -> float:
        """A total divided by accepted actions."""
        return total / max(1, self.load.accepted)


async def measure(
    seconds: float, in_flight: Sequence[int] = IN_FLIGHT, rows: Sequence[str] = tuple(ROWS)
) -> list[Price]:
    """The rows, GraphQL first."""
    # By default an edge refuses what is beyond 64 requests at a time.
    with running_stack({"TOPTEN_MAX_RUNNING": str(2 * max(IN_FLIGHT))}) as stack:
        quiz_id = unique("price-")
        await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
        async with AsyncExitStack() as opened:
            client = await opened.enter_async_context(GraphqlClient(endpoints(stack).graphql))
            players = [await register(client) for _ in range(max(in_flight))]
            prices = []
            for row in rows:
                act = await ACTS[row](opened, stack, players, quiz_id)
                for count in in_flight:
                    await run_load(act, count, 1.0)  # warms connections and caches
                    prices.append(await _price(stack, ROWS[row], act, count, seconds))
            return prices


async def _price(stack: RunningStack, name: str, act: Act, count: int, seconds: float) -> Price:
    cpu, operations = cpu_seconds(stack), await _operations(stack)
    load = await run_load(act, count, seconds)
    await counted(stack)
    spent = {process: used - cpu[process] for process, used in cpu_seconds(stack).items()}
    done = Counter(await _operations(stack))
    done.subtract(operations)
    floor, floor_cpu = await _floor(stack, count, seconds / 2)
    return Price(name, count, load, spent, done, floor, floor_cpu)


async def run_load(act: Act, count: int, seconds: float) -> Load:
    """Run `count` players with one action in flight each."""
    latencies: list[float] = []
    begun = time.perf_counter()

    async def play(number: int) -> None:
        while (at := time.perf_counter()) < begun + seconds:
            await act(number)
            latencies.append(time.perf_counter() - at)

    await asyncio.gather(*(play(number) for number in range(count)))
    return Load(len(latencies), time.perf_counter() - begun, sorted(latencies))


async def _by_graphql(opened: AsyncExitStack, stack: RunningStack, players: Sequence[Player], quiz_id: str) -> Act:
    sessions = [await opened.enter_async_context(aiohttp.ClientSession()) for _ in players]
    url = endpoints(stack).graphql

    async def act(number: int) -> None:
        action = {
            "quizId": quiz_id,
            "actionId": str(uuid.uuid4()),
            "answers": [{"questionId": "q1", "selectedOption": "a"}],
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        headers = {
            "Authorization": f"Bearer {players[number].access_token}",
            "X-Request-Id": uuid.uuid4().hex,
            "Content-Type": "application/json",
        }
        body = json.dumps({"query": SUBMIT, "variables": {"input": action}})
        async with sessions[number].post(url, data=body, headers=headers) as response:
            answer = await response.json()
        assert answer["data"]["submitQuizAction"]["success"], answer

    return act


async def _by_grpc(opened: AsyncExitStack, stack: RunningStack, players: Sequence[Player], quiz_id: str) -> Act:
    channel = await opened.enter_async_context(open_channel(stack.endpoints["grpc"]["quiz"]))
    stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))

    async def act(number: int) -> None:
        await call(stub.SubmitAction, _request(quiz_id), token=players[number].access_token, timeout=30)

    return act


async def _by_group(opened: AsyncExitStack, stack: RunningStack, players: Sequence[Player], quiz_id: str) -> Act:
    channel = await opened.enter_async_context(open_channel(stack.endpoints["grpc"]["quiz"]))
    stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
    issuer = TokenIssuer(
        (stack.data / "secrets" / "signing_key.pem").read_text(),
        issuer="topten",
        audience="topten",
        access_ttl=timedelta(hours=1),
    )
    token = issuer.service_token("edge", frozenset({"service"}), frozenset({"action:relay"}), utc_now())

    async def submit(actions: Sequence[quiz_service_pb2.RelayedAction]) -> Sequence[quiz_service_pb2.RelayedResult]:
        request = quiz_service_pb2.SubmitActionGroupRequest(actions=actions)
        return (await call(stub.SubmitActionGroup, request, token=token, timeout=30)).results

    batcher = Batcher("actions", submit, max_size=200, max_concurrent=2)

    async def act(number: int) -> None:
        relayed = quiz_service_pb2.RelayedAction(
            access_token=players[number].access_token, action=_request(quiz_id), request_id=uuid.uuid4().hex
        )
        result = await batcher(relayed)
        assert result.HasField("response"), result

    return act


async def _empty(opened: AsyncExitStack, stack: RunningStack, _players: Sequence[Player], _quiz_id: str) -> Act:
    stub: Any = HealthStub(await opened.enter_async_context(open_channel(stack.endpoints["grpc"]["quiz"])))

    async def act(_number: int) -> None:
        await stub.Check(HealthCheckRequest(), timeout=30)

    return act


ACTS: Final = {"graphql": _by_graphql, "grpc": _by_grpc, "group": _by_group, "empty": _empty}


def _request(quiz_id: str) -> quiz_service_pb2.SubmitActionRequest:
    now = Timestamp()
    now.GetCurrentTime()
    return quiz_service_pb2.SubmitActionRequest(
        quiz_id=quiz_id,
        action_id=str(uuid.uuid4()),
        answers=[quiz_pb2.Answer(question_id="q1", selected_option="a")],
        timestamp=now,
    )


async def counted(stack: RunningStack) -> None:
    """Wait until the stream holds nothing, so that counting is part of the price."""
    url = f"{stack.endpoints['metrics']['score']}"
    async with aiohttp.ClientSession() as session:
        quiet = 0
        while quiet < 3:
            async with session.get(url) as response:
                text = await response.text()
            pending = sum(
                float(line.rsplit(" ", 1)[1])
                for line in text.splitlines()
                if line.startswith("topten_consumer_pending{")
            )
            quiet = quiet + 1 if pending == 0 else 0
            await asyncio.sleep(0.5)


async def _floor(stack: RunningStack, count: int, seconds: float) -> tuple[Load, float]:
    """Single durable inserts with `count` in flight; CPU of mongod and of this process."""
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"], maxPoolSize=count)
    async with mongo:
        rows = mongo["bench"].get_collection("floor", write_concern=WriteConcern("majority", j=True))
        act = lambda number: rows.insert_one({"user_id": number, "body": "x" * 600})  # noqa: E731  # names one expression
        await run_load(act, count, 0.5)
        mine, theirs = time.process_time(), cpu_seconds(stack)["mongo"]
        load = await run_load(act, count, seconds)
        cpu = time.process_time() - mine + cpu_seconds(stack)["mongo"] - theirs
        await mongo.drop_database("bench")
    return load, cpu


def cpu_seconds(stack: RunningStack) -> dict[str, float]:
    """CPU seconds of each process since its start, user and system."""
    spent = {}
    for name in PROCESSES:
        fields = Path(f"/proc/{stack.pid_of(name)}/stat").read_text().rsplit(") ", 1)[1].split()
        spent[name] = (int(fields[11]) + int(fields[12])) / _TICK
    return spent


async def _operations(stack: RunningStack) -> dict[str, float]:
    """What the stores and services did since their start, by name."""
    stores = stack.endpoints["stores"]
    counts: defaultdict[str, float] = defaultdict(float)
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stores["mongo"])
    async with mongo, redis.from_url(stores["redis"]) as cache, aiohttp.ClientSession() as session:
        commands = (await mongo.admin.command("serverStatus"))["metrics"]["commands"]
        counts["mongo writes"] = sum(commands.get(name, {}).get("total", 0) for name in WRITES)
        counts["mongo reads"] = sum(commands.get(name, {}).get("total", 0) for name in READS)
        stats = await cache.info("commandstats")
        counts["redis scripts"] = sum(
            stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha", "fcall")
        )
        counts["redis publishes"] = stats.get("cmdstat_publish", {}).get("calls", 0)
        for name, url in stack.endpoints["metrics"].items():
            async with session.get(url) as response:
                for line in (await response.text()).splitlines():
                    if line.startswith("grpc_server_handled_total{") and 'grpc_service="grpc.health' not in line:
                        counts["grpc calls"] += float(line.rsplit(" ", 1)[1])
                    elif name == "score" and line.startswith("topten_score_batch_seconds_count"):
                        counts["score batches"] += float(line.rsplit(" ", 1)[1])
    return dict(counts)


def show(prices: Sequence[Price]) -> None:
    """Print one table of prices, one of processes and one of round trips."""
    print(
        "| load | in flight | accepted/s | × floor's rate | CPU ms an action | × floor's CPU | p50 ms | × floor's p50 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for price in prices:
        cpu, floor = price.each(sum(price.cpu.values())), price.floor_cpu / max(1, price.floor.accepted)
        print(
            f"| {price.name} | {price.in_flight} | {price.load.rate:,.0f} | {price.load.rate / price.floor.rate:.2f} "
            f"| {cpu * 1000:.2f} | {cpu / floor:.2f} | {price.load.p50 * 1000:.1f} "
            f"| {price.load.p50 / price.floor.p50:.1f} |"
        )
    print(f"\n| CPU ms an action | in flight | {' | '.join(PROCESSES)} |")
    print("| --- " * (len(PROCESSES) + 2) + "|")
    for price in prices:
        cells = " | ".join(f"{price.each(price.cpu[name]) * 1000:.2f}" for name in PROCESSES)
        print(f"| {price.name} | {price.in_flight} | {cells} |")
    names = list(prices[0].operations)
    print(f"\n| an action | in flight | {' | '.join(names)} |")
    print("| --- " * (len(names) + 2) + "|")
    for price in prices:
        cells = " | ".join(f"{price.each(price.operations[name]):.2f}" for name in names)
        print(f"| {price.name} | {price.in_flight} | {cells} |", flush=True)


def main(arguments: Sequence[str] = ()) -> None:
    """Measure what the arguments name, and print the result."""
    numbers = [int(each) for each in arguments if each.isdigit()]
    seconds, in_flight = (numbers[0], numbers[1:]) if numbers else (SECONDS, [])
    rows = [each for each in arguments if each in ROWS]
    show(asyncio.run(measure(seconds, in_flight or IN_FLIGHT, rows or tuple(ROWS))))
