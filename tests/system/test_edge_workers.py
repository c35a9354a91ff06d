"""Several edges on one port: the kernel spreads connections over them, and a client need not know which it has."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from topten.quiz.v1 import quiz_pb2

from services.local.client import GraphqlClient
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, shows
from tests.screens import Screen
from tests.servers import RunningStack, running_stack, unique

WORKERS = ("edge", "edge-2")
SCREENS = 18
WRITES = 10
RIGHT = [("q1", "a"), ("q2", "a")]
UPDATE = 'mutation { updateProfile(input: {country: "%s"}) { country } }'


@pytest.fixture(scope="module")
def crowd() -> Iterator[RunningStack]:
    settings = {
        "TOPTEN_LEADERBOARD_TICK": "50ms",
        "TOPTEN_EDGE_RATE_WRITE": f"{WRITES}/h,-",
        # An edge that is behind a reader waits for what he has, however busy this machine is.
        "TOPTEN_EDGE_STREAM_CATCH_UP": "30s",
    }
    with running_stack(settings, "--workers", str(len(WORKERS))) as system:
        yield system


@pytest.fixture
async def player(crowd: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(crowd).graphql) as client:
        yield await register(client)


async def streams(stack: RunningStack, worker: str) -> int:
    """How many streams a worker holds; none while it is away."""
    try:
        async with aiohttp.ClientSession() as session, session.get(stack.endpoints["metrics"][worker]) as answer:
            families = text_string_to_metric_families(await answer.text())
    except aiohttp.ClientError:
        return 0
    return int(sum(s.value for f in families for s in f.samples if s.name == "topten_sse_connections"))


async def status(stack: RunningStack, worker: str) -> int:
    """What the worker's own port answers to a probe; 0 while it is away."""
    try:
        address = stack.endpoints["metrics"][worker].replace("/metrics", "/readyz")
        async with aiohttp.ClientSession() as session, session.get(address) as answer:
            return answer.status
    except aiohttp.ClientError:
        return 0


@pytest.mark.slow
async def test_screens_are_spread_over_workers_and_see_the_same_while_one_is_killed(
    crowd: RunningStack, player: Player
) -> None:
    """Takes about 15 s with the start of its system, which has two edges."""
    quiz_id = unique("crowd-")
    await import_quiz(endpoints(crowd), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    await player.submit(quiz_id, RIGHT)

    screens = [Screen(crowd.http, token_of(player), f"quiz:{quiz_id}") for _ in range(SCREENS)]
    async with watched(screens):
        shown = [await screen.until(shows(player.username, 20)) for screen in screens]
        assert all(data["leaderboard"] == shown[0]["leaderboard"] for data in shown)
        held = {worker: await streams(crowd, worker) for worker in WORKERS}
        assert sum(held.values()) == SCREENS
        assert sum(count > 0 for count in held.values()) > 1, held

        victim = max(held, key=lambda worker: held[worker])
        pid = crowd.pid_of(victim)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while sum([await streams(crowd, worker) for worker in WORKERS]) < SCREENS:
                await asyncio.sleep(0.02)
        await again(crowd, player, quiz_id)
        shown = [await screen.until(shows(player.username, 40)) for screen in screens]
        assert len({(data["version"], str(data["leaderboard"])) for data in shown}) == 1
        assert sum(screen.connections for screen in screens) == SCREENS + held[victim]
        async with asyncio.timeout(30):
            while crowd.pid_of(victim) == pid or await status(crowd, victim) != 200:
                await asyncio.sleep(0.02)
        assert [fault for screen in screens for fault in screen.faults] == []
        assert sum(screen.dropped for screen in screens) == 0


@pytest.mark.slow
async def test_who_moves_between_edges_and_through_a_rolling_restart_never_sees_time_run_backwards(
    crowd: RunningStack, player: Player
) -> None:
    """Some leave after every frame and find any of the edges, which stop and start one after the other.

    Takes about 10 s: each edge starts anew.
    """
    quiz_id = unique("rolling-")
    await import_quiz(endpoints(crowd), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    moving = [Screen(crowd.http, token_of(player), f"quiz:{quiz_id}", leaves_after=1) for _ in range(4)]
    staying = [Screen(crowd.http, token_of(player), f"quiz:{quiz_id}") for _ in range(4)]
    score = 0
    async with watched([*moving, *staying]):
        for worker in WORKERS:
            pid = crowd.pid_of(worker)
            os.kill(pid, signal.SIGTERM)
            async with asyncio.timeout(30):
                while crowd.pid_of(worker) == pid or await status(crowd, worker) != 200:
                    await again(crowd, player, quiz_id)
                    score += 20
                    await asyncio.gather(*(screen.until(shows(player.username, score)) for screen in moving))
        for screen in staying:
            await screen.until(shows(player.username, score))
    for screen in [*moving, *staying]:
        assert screen.faults == []
        assert screen.dropped == 0
    assert all(screen.connections > len(WORKERS) for screen in moving)


@asynccontextmanager
async def watched(screens: list[Screen]) -> AsyncIterator[None]:
    """The screens are on."""
    watching = [asyncio.create_task(screen.watch()) for screen in screens]
    try:
        yield
    finally:
        for task in watching:
            task.cancel()


def token_of(player: Player) -> Callable[[], Awaitable[str]]:
    async def token() -> str:
        return player.access_token

    return token


async def again(stack: RunningStack, player: Player, quiz_id: str) -> None:
    """One more answer, sent until it is answered, from a connection of its own: any worker may be away."""
    action_id = str(uuid.uuid4())
    async with asyncio.timeout(30):
        while True:
            try:
                async with GraphqlClient(endpoints(stack).graphql) as client:
                    sender = Player(client, player.username, player.user_id, player.access_token, "")
                    await sender.submit(quiz_id, RIGHT, action_id)
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)


async def test_a_rate_is_one_rate_over_all_workers(crowd: RunningStack) -> None:
    """A worker that Redis did not answer in time counts for itself, and says so: then it is tried once more."""
    for _ in range(5):
        alone = counted_alone(crowd)
        async with GraphqlClient(endpoints(crowd).graphql) as client:
            player = await register(client)
        statuses = [await write(crowd, player, number) for number in range(3 * WRITES)]
        if counted_alone(crowd) == alone:
            break
    assert Counter(statuses) == {200: WRITES, 429: 2 * WRITES}, crowd.logs()


async def write(stack: RunningStack, player: Player, number: int) -> int:
    """The status of a write over a connection of its own, which may lead to any worker."""
    headers = {"Authorization": f"Bearer {player.access_token}"}
    document = UPDATE % ("VN" if number % 2 else "DE")
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(endpoints(stack).graphql, json={"query": document}) as answer:
            return answer.status


def counted_alone(stack: RunningStack) -> int:
    """How often a worker has begun to count for itself."""
    logs = [(stack.data / "logs" / f"{worker}.log").read_text() for worker in WORKERS]
    return sum(log.count("rates are counted by this process alone") for log in logs)
