"""Several edges on one port: the kernel spreads connections over them, and clients cannot tell them apart."""

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

from services.cli.system.client import GraphqlClient
from tests.deadline import deadline, deadline_seconds, eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, shows
from tests.screens import Screen
from tests.servers import RunningStack, running_stack, unique
from tests.unit.edge.edge_process import while_redis_responds

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
        # An edge that is behind a client catches up with it, however busy the machine is.
        "TOPTEN_EDGE_STREAM_CATCH_UP": f"{deadline_seconds():g}s",
    }
    with running_stack(settings, "--workers", str(len(WORKERS))) as system:
        yield system


@pytest.fixture
async def player(crowd: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(crowd).graphql) as client:
        yield await register(client)


async def streams(stack: RunningStack, worker: str) -> int:
    """Return how many streams a worker has open; 0 while it is down."""
    try:
        async with aiohttp.ClientSession() as session, session.get(stack.endpoints["metrics"][worker]) as response:
            families = text_string_to_metric_families(await response.text())
    except aiohttp.ClientError:
        return 0
    return int(sum(s.value for f in families for s in f.samples if s.name == "topten_sse_connections"))


async def status(stack: RunningStack, worker: str) -> int:
    """Return the status of a worker's readiness probe; 0 while it is down."""
    try:
        address = stack.endpoints["metrics"][worker].replace("/metrics", "/readyz")
        async with aiohttp.ClientSession() as session, session.get(address) as response:
            return response.status
    except aiohttp.ClientError:
        return 0


@pytest.mark.slow
async def test_clients_of_a_killed_worker_move_to_another_and_all_see_the_same(
    crowd: RunningStack, player: Player
) -> None:
    """Takes about 15 s, most of it the start of a system with two edges."""
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

        async def all_reconnected() -> bool:
            return sum([await streams(crowd, worker) for worker in WORKERS]) == SCREENS

        await eventually(all_reconnected, "every screen has reconnected")
        await submit_again(crowd, player, quiz_id)
        shown = [await screen.until(shows(player.username, 40)) for screen in screens]
        assert len({(data["version"], str(data["leaderboard"])) for data in shown}) == 1
        assert sum(screen.connections for screen in screens) == SCREENS + held[victim]
        await eventually(lambda: is_restarted(crowd, victim, pid), "the killed worker is ready again")
        assert [fault for screen in screens for fault in screen.faults] == []
        assert sum(screen.dropped for screen in screens) == 0


@pytest.mark.slow
async def test_no_client_goes_back_in_time_during_a_rolling_restart(crowd: RunningStack, player: Player) -> None:
    """Some clients reconnect after every frame, to any of the edges, which restart one after the other.

    Takes about 10 s: each edge starts again.
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
            async with deadline("the worker is ready again"):
                while not await is_restarted(crowd, worker, pid):
                    await submit_again(crowd, player, quiz_id)
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
    """Keep the screens connected."""
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


async def is_restarted(stack: RunningStack, worker: str, old_pid: int) -> bool:
    return stack.pid_of(worker) != old_pid and await status(stack, worker) == 200


async def submit_again(stack: RunningStack, player: Player, quiz_id: str) -> None:
    """Submit one more action, over a new connection per attempt, until a worker responds."""
    action_id = str(uuid.uuid4())
    async with deadline("a worker accepts the action"):
        while True:
            try:
                async with GraphqlClient(endpoints(stack).graphql) as client:
                    sender = Player(client, player.username, player.user_id, player.access_token, "")
                    await sender.submit(quiz_id, RIGHT, action_id)
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)


async def test_a_rate_is_one_rate_over_all_workers(crowd: RunningStack) -> None:
    """Repeats while a worker logs that Redis was too slow, for such a worker counts by itself."""

    async def count() -> None:
        async with GraphqlClient(endpoints(crowd).graphql) as client:
            player = await register(client)
        statuses = [await write(crowd, player, number) for number in range(3 * WRITES)]
        assert Counter(statuses) == {200: WRITES, 429: 2 * WRITES}, crowd.logs()

    await while_redis_responds(
        count, lambda: [(crowd.data / "logs" / f"{worker}.log").read_text() for worker in WORKERS]
    )


async def write(stack: RunningStack, player: Player, number: int) -> int:
    """Return the status of a write over a new connection, to whichever worker accepts it."""
    headers = {"Authorization": f"Bearer {player.access_token}"}
    document = UPDATE % ("VN" if number % 2 else "DE")
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(endpoints(stack).graphql, json={"query": document}) as response:
            return response.status
