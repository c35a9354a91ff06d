"""Accepted submissions per second through gRPC and through GraphQL, beside a plain durable insert.

    python -m tests.bench submit

64 players, one submission of each in flight, against a whole system; the floor is 64 durable inserts (majority and
journal) in flight on the same server. Everything that was accepted is verified at the end.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from google.protobuf.timestamp_pb2 import Timestamp
from pymongo import AsyncMongoClient, WriteConcern
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.cli.system.client import GraphqlClient
from services.runtime.grpc.client import call, open_channel
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, running_stack, topten, unique

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

PLAYERS = 64
SECONDS = 10.0


async def rate(act: Callable[[int], Awaitable[object]]) -> float:
    """Measure how often per second 64 concurrent loops run `act`."""
    done = 0
    ends = time.perf_counter() + SECONDS

    async def again(number: int) -> None:
        nonlocal done
        while time.perf_counter() < ends:
            await act(number)
            done += 1

    begun = time.perf_counter()
    await asyncio.gather(*(again(number) for number in range(PLAYERS)))
    return done / (time.perf_counter() - begun)


async def measure(stack: RunningStack) -> tuple[float, float, float]:
    """Measure gRPC, GraphQL and the floor."""
    quiz_id = unique("bench-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        players = [await register(client) for _ in range(PLAYERS)]
        async with open_channel(stack.endpoints["grpc"]["quiz"]) as channel:
            stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))

            async def by_grpc(number: int) -> None:
                now = Timestamp()
                now.GetCurrentTime()
                request = quiz_service_pb2.SubmitActionRequest(
                    quiz_id=quiz_id,
                    action_id=str(uuid.uuid4()),
                    answers=[quiz_pb2.Answer(question_id="q1", selected_option="a")],
                    timestamp=now,
                )
                await call(stub.SubmitAction, request, token=players[number].access_token, timeout=30)

            async def by_graphql(number: int) -> None:
                player: Player = players[number]
                await player.submit(quiz_id, [("q1", "a")])

            grpc, graphql = await rate(by_grpc), await rate(by_graphql)
    mongo: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        plain = mongo["bench"].get_collection("plain", write_concern=WriteConcern("majority", j=True))
        floor = await rate(lambda number: plain.insert_one({"user_id": number, "body": "x" * 600}))
    return grpc, graphql, floor


def main() -> None:
    with running_stack() as stack:
        grpc, graphql, floor = asyncio.run(measure(stack))
        subprocess.run(topten("verify", "--patience", "60", "--data", str(stack.data)), check=True)
    print("| 64 in flight | accepted/s | of the floor |")
    print("| --- | --- | --- |")
    print(f"| SubmitAction over gRPC | {grpc:,.0f} | {grpc / floor:.2f} |")
    print(f"| submitQuizAction over GraphQL | {graphql:,.0f} | {graphql / floor:.2f} |")
    print(f"| floor: durable insert | {floor:,.0f} | |")
