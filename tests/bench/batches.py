"""`SubmitActions` of 500 actions over gRPC: accepted per second and CPU an action, beside raw inserts of as many documents.

    python -m tests.bench batches [SECONDS]

Two calls of a service client are in flight, each with one action of each of 500 players, who are others in each. CPU is what
the operating system charges to all processes and stores until the stream is empty, divided by accepted actions. The floor of
each round is measured right after it on the same MongoDB: `insert_many` of 500 documents that the round recorded, with new
ids, majority and journal, two in flight, into a collection without indexes of its own; CPU of mongod and of its client. Three
rounds.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from pymongo import AsyncMongoClient, WriteConcern
from topten.action.v1 import action_pb2, action_service_pb2
from topten.identity.v1 import identity_service_pb2
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from services.cli.system.operator_client import action_service
from services.runtime.grpc.client import call
from tests.bench.price import PROCESSES, counted, cpu_seconds
from tests.imports import put_action_type
from tests.players import endpoints
from tests.servers import RunningStack, running_stack, unique

if TYPE_CHECKING:
    from topten.action.v1.action_service_pb2_grpc import ActionServiceAsyncStub
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

SIZE: Final = 500
IN_FLIGHT: Final = 2
ROUNDS: Final = 3
SECONDS: Final = 8.0


class Load(NamedTuple):
    """How many a second, and the CPU milliseconds of each, by process."""

    rate: float
    cpu: dict[str, float]

    @property
    def each(self) -> float:
        """CPU milliseconds of all processes."""
        return sum(self.cpu.values())


async def run(work: Callable[[int], Awaitable[None]], seconds: float) -> tuple[int, float]:
    """Do work of 500 with two in flight, each given its number; return how many it was, and in how many seconds."""
    done, begun = 0, time.perf_counter()

    async def again(number: int) -> None:
        nonlocal done
        while time.perf_counter() < begun + seconds:
            await work(number)
            done += SIZE

    await asyncio.gather(*map(again, range(IN_FLIGHT)))
    return done, time.perf_counter() - begun


async def ensure_players(stack: RunningStack, group: int) -> list[str]:
    """Return the ids of 500 players of another system."""
    async with endpoints(stack).operator() as token, endpoints(stack).channel("identity") as channel:
        stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        request = identity_service_pb2.EnsurePlayersRequest()
        for number in range(SIZE):
            request.players.add(external_id=f"bench-{group}-{number}", username=unique("bench-"))
        return [each.user_id for each in (await call(stub.EnsurePlayers, request, token=token, timeout=60)).results]


async def submitted(
    stack: RunningStack, stub: ActionServiceAsyncStub, token: str, user_ids: Sequence[Sequence[str]], seconds: float
) -> Load:
    """Submit actions for a time."""
    run_type = unique("bench-")
    await put_action_type(endpoints(stack), run_type, submitters=action_pb2.ActionType.SERVICES)

    async def submit(number: int) -> None:
        request = action_service_pb2.SubmitActionsRequest()
        for user_id in user_ids[number]:
            action = request.actions.add(action_type_id=run_type, action_id=str(uuid.uuid4()), quantity=3)
            action.player.user_id = user_id
        response = await call(stub.SubmitActions, request, token=token, timeout=60)
        assert all(each.status == action_pb2.ActionResult.ACCEPTED for each in response.results)

    before = cpu_seconds(stack)
    actions, took = await run(submit, seconds)
    await counted(stack)
    spent = cpu_seconds(stack)
    return Load(actions / took, {name: (spent[name] - before[name]) * 1000 / actions for name in PROCESSES})


async def inserted(stack: RunningStack, seconds: float) -> Load:
    """Insert copies of recorded actions for a time."""
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        recorded = mongo["topten_quiz"]["submissions"].find({"action_type_id": {"$exists": True}})
        documents = await recorded.sort("_id", -1).limit(SIZE).to_list()
        assert len(documents) == SIZE
        rows = mongo["bench"].get_collection("floor", write_concern=WriteConcern("majority", j=True))

        async def insert(_number: int) -> None:
            await rows.insert_many([each | {"_id": str(uuid.uuid4())} for each in documents], ordered=False)

        mine, theirs = time.process_time(), cpu_seconds(stack)["mongo"]
        count, took = await run(insert, seconds)
        cpu = {"client": time.process_time() - mine, "mongo": cpu_seconds(stack)["mongo"] - theirs}
        await mongo.drop_database("bench")
    return Load(count / took, {name: used * 1000 / count for name, used in cpu.items()})


async def measure(seconds: float = SECONDS) -> list[tuple[Load, Load]]:
    """Return the actions and the floor of each round."""
    with running_stack() as stack:
        user_ids = [await ensure_players(stack, number) for number in range(IN_FLIGHT)]
        async with action_service(endpoints(stack)) as (stub, token):
            await submitted(stack, stub, token, user_ids, 1.0)  # warms connections and caches
            await inserted(stack, 0.5)
            return [
                (await submitted(stack, stub, token, user_ids, seconds), await inserted(stack, seconds / 2))
                for _ in range(ROUNDS)
            ]


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print the rounds."""
    seconds = next((float(each) for each in arguments if each.isdigit()), SECONDS)
    rounds = asyncio.run(measure(seconds))
    print("| SubmitActions of 500 | accepted/s | insert_many/s | × floor | CPU ms an action | × floor's CPU |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, (load, floor) in enumerate(rounds, 1):
        print(
            f"| round {number} | {load.rate:,.0f} | {floor.rate:,.0f} | {load.rate / floor.rate:.2f} | {load.each:.3f} "
            f"| {load.each / floor.each:.2f} |"
        )
    print(f"\nMedian: {median(load.rate / floor.rate for load, floor in rounds):.2f} of the floor's rate.")
    print(f"\n| CPU ms an action | {' | '.join(PROCESSES)} |\n{'| --- ' * (len(PROCESSES) + 1)}|")
    for number, (load, _) in enumerate(rounds, 1):
        print(f"| round {number} | {' | '.join(f'{load.cpu[name]:.3f}' for name in PROCESSES)} |")
