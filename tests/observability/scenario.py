"""One scenario on a running system: players play, then one fault follows another until its metric has moved.

The scrapes are kept, so that the tests of metrics, alerts and dashboards read what a real system reported.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
import nats
import pytest
from nats.js import JetStreamContext

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import POLL_SECONDS, deadline, deadline_seconds
from tests.observability.scrapes import Scrape, eventually, scrape
from tests.players import PASSWORD, Player, endpoints, register, shows, stream, until
from tests.replicas import second_instance
from tests.servers import RunningStack, topten, unique
from tests.system.score import completed

SCREEN = "topten_action_to_screen_seconds"
QUIZ, RIGHT = "arithmetic-sprint", [("q5", "true")]
# One country for each player, so that they lead its board whatever others play.
COUNTRIES = iter(
    "IS MT LU CY EE LV LT SI HR BG RO HU SK CZ PL FI NO SE DK IE PT ES FR BE NL DE CH AT IT GR JP KR TH SG MY ID PH AU NZ BR "
    "AR CL PE UY PY BO EC CO MX CA US ZA EG KE NG GH SN MA TN TR IL JO SA AE QA OM IN NP LK BD".split()
)
LOGOUT = "mutation ($token: String) { logout(refreshToken: $token) }"
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }"


@dataclass
class Scenario:
    """Scrapes from the start, after play, before and during each fault (by its name), and from the end.

    `doctor` is the output of `topten doctor` for the system that has just started, `ready` the status of each process's
    readiness probe during a fault.
    """

    start: Scrape
    doctor: subprocess.CompletedProcess[str]
    played: Scrape = field(default_factory=Scrape)
    before: dict[str, Scrape] = field(default_factory=dict)
    during: dict[str, Scrape] = field(default_factory=dict)
    ready: dict[str, dict[str, int]] = field(default_factory=dict)
    end: Scrape = field(default_factory=Scrape)

    @asynccontextmanager
    async def fault(
        self, name: str, stack: RunningStack, shows: Callable[[Scrape], bool], *, hanging: str = ""
    ) -> AsyncIterator[None]:
        """The block causes the fault, which is observed once the condition holds for a scrape; `hanging` is a process."""
        self.before[name] = await whole_scrape(stack, hanging=hanging)
        yield
        self.during[name] = await whole_scrape(stack, shows, hanging=hanging)
        self.ready[name] = await readiness(stack, hanging)


async def play_scenario(stack: RunningStack) -> Scenario:
    """Play the scenario, in about 25 s. The system has recovered when it ends."""
    scenario = Scenario(await whole_scrape(stack), await healthy_doctor(stack))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        await kill_worker(stack, client)
        watcher = await register(client)
        async with watching(stack, watcher):
            await play_round(stack, client)
            scenario.played = await whole_scrape(stack, lambda now: now.total(f"{SCREEN}_count") > 0)
            await players_misbehave(scenario, stack, client)
            await two_workers(stack, client)
            await components_hang(scenario, stack, client)
            await eventually(
                stack,
                lambda now: (
                    not now.total("topten_board_stale")
                    and not now.total("topten_outbox_lag_seconds")
                    and all(now.values_of("topten_store_up"))
                    and settled(now)
                ),
            )
            await client.execute(LOGOUT, {"token": watcher.refresh_token})
            scenario.end = await whole_scrape(stack, lambda now: any(now.values_of("topten_sse_dropped_total")))
    return scenario


async def healthy_doctor(stack: RunningStack) -> subprocess.CompletedProcess[str]:
    """Run `topten doctor` until it finds nothing: a process that has just started may not have reached every store."""
    async with deadline("the new system is healthy"):
        while True:
            done = await asyncio.to_thread(doctor, "--data", str(stack.data))
            if done.returncode == 0:
                return done


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `topten doctor`."""
    environ = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(
        topten("doctor", *arguments),
        capture_output=True,
        text=True,
        timeout=deadline_seconds(),
        env=environ,
        check=False,
    )


async def players_misbehave(scenario: Scenario, stack: RunningStack, client: GraphqlClient) -> None:
    """An attacker tries accounts, and garbage is published."""
    async with scenario.fault(
        "intruders", stack, lambda now: any(now.values_of("topten_flags_total")) and settled(now)
    ):
        await intruders(client, stack.http)
    async with scenario.fault(
        "garbage", stack, lambda now: now.total("topten_dead_letters_total") > 0 and settled(now)
    ):
        await publish(stack, b"\xff\xff\xff")


async def components_hang(scenario: Scenario, stack: RunningStack, client: GraphqlClient) -> None:
    """Each store and service hangs in turn while a player plays."""
    country = next(COUNTRIES)
    player = await register(client, country=country)
    slow = late(await scrape(stack))
    # They lead the board of their country, whatever others played on this system.
    async with (
        watching(stack, player, f"country:{country}"),
        scenario.fault("slow screens", stack, lambda now: late(now) > slow and settled(now)),
    ):
        with stopped(stack, "leaderboard"):
            await player.submit(QUIZ, RIGHT)
            await asyncio.sleep(1.1)  # the fault itself: no screen changes for so long
    with stopped(stack, "redis"):
        async with scenario.fault(
            "redis", stack, lambda now: now.total("topten_board_stale") > 0 and away(now, "redis")
        ):
            pass
    with stopped(stack, "nats"):
        async with scenario.fault(
            "nats", stack, lambda now: now.total("topten_outbox_lag_seconds") > 1 and away(now, "nats")
        ):
            await player.submit("world-capitals", [])
    await eventually(stack, lambda now: not now.total("topten_outbox_lag_seconds"))
    with stopped(stack, "mongo"):
        async with scenario.fault(
            "mongo", stack, lambda now: any(now.values_of("topten_consumer_pending")) and away(now, "mongo")
        ):
            with pytest.raises(GraphqlError):
                await player.submit("solar-system", [])
            await publish(stack, completed(player.user_id, 5, quiz_id="solar-system").SerializeToString())
    with stopped(stack, "score"):
        async with scenario.fault(
            "score", stack, lambda now: not list(now.values_of("topten_consumer_pending")), hanging="score"
        ):
            pass


async def whole_scrape(
    stack: RunningStack, holds: Callable[[Scrape], bool] = lambda _: True, *, hanging: str = ""
) -> Scrape:
    """Scrape until the condition holds and no process is missing, as one on a busy machine may be; `hanging` must be."""
    expected = stack.endpoints["metrics"].keys() - {hanging}

    def is_whole(now: Scrape) -> bool:
        return {dict(series.labels)["job"] for series in now} == expected and holds(now)

    return await eventually(stack, is_whole)


def settled(now: Scrape) -> bool:
    """Whether no event is pending."""
    return not now.total("topten_consumer_pending")


def away(now: Scrape, store: str) -> bool:
    """Whether every process that uses this store reports it as unavailable."""
    return not any(now.values_of("topten_store_up", store=store))


async def readiness(stack: RunningStack, hanging: str) -> dict[str, int]:
    """The status of each process's readiness probe, except for the one that hangs."""
    statuses = {}
    async with aiohttp.ClientSession() as session, deadline("the probes respond"):
        for process, url in stack.endpoints["metrics"].items():
            if process != hanging:
                async with session.get(url.replace("/metrics", "/readyz")) as answer:
                    statuses[process] = answer.status
    return statuses


def late(now: Scrape) -> float:
    """How many actions took longer than a second to reach the screens."""
    return now.total(f"{SCREEN}_count") - now.total(f"{SCREEN}_bucket", le="1.0")


async def play_round(stack: RunningStack, client: GraphqlClient) -> None:
    """A few players play, and a client sends unknown methods, paths and names."""
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            country = next(COUNTRIES)
            player = await register(client, country=country)
            async with stream(stack.http, player.access_token, f"country:{country}") as events:
                await player.submit(QUIZ, RIGHT)
                await until(events, shows(player.username, 5))
            with pytest.raises(GraphqlError):
                await player.submit(unique("no-such-quiz-"), [])
            await player.top()
            for method in ("GET", "POST", "BREW", unique("M").upper()):
                async with session.request(method, f"{stack.http}/{unique('path')}/{quote(player.username)}"):
                    pass


async def intruders(client: GraphqlClient, http: str) -> None:
    """Try passwords, forge a token, and play faster than a person can."""
    victim = await register(client)
    for _ in range(8):
        with pytest.raises(GraphqlError):
            await client.execute(LOGIN, {"input": {"username": victim.username, "password": "not " + PASSWORD}})
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": "Bearer e30.e30.e30"}
        async with session.post(f"{http}/graphql", json={"query": "{ me { userId } }"}, headers=headers) as answer:
            assert answer.status == 401
    bot = await register(client)
    for _ in range(15):
        await bot.submit(QUIZ, RIGHT)


async def publish(stack: RunningStack, event: bytes) -> None:
    """Publish to the stream without the quiz service."""
    connection = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        await connection.jetstream().publish("quiz.events.nobody", event)
    finally:
        await connection.close()


async def kill_worker(stack: RunningStack, client: GraphqlClient) -> None:
    """Kill a worker with an unacknowledged event, which is then redelivered."""
    player = await register(client)
    connection = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        async with deadline("a stopped worker has an event"):
            while True:
                with stopped(stack, "score"):
                    await player.submit(QUIZ, [])  # worth no points, so that no screen waits for it
                    if await is_delivered(connection.jetstream()):
                        os.kill(stack.pid_of("score"), signal.SIGKILL)
                        break
    finally:
        await connection.close()
    await eventually(stack, lambda now: any(now.values_of("topten_redeliveries_total")))


async def is_delivered(jetstream: JetStreamContext) -> bool:
    """Wait until the event is delivered; False if the worker was stopped between two pulls, so that it never will be."""
    while True:
        info = await jetstream.consumer_info("QUIZ_EVENTS", "score")
        if info.num_ack_pending:
            return True
        if info.num_pending and not info.num_waiting:
            return False
        await asyncio.sleep(POLL_SECONDS)


async def two_workers(stack: RunningStack, client: GraphqlClient) -> None:
    """Run a second worker beside the first until one loses a race for a row of the ledger."""
    player = await register(client)
    with second_instance(stack, "score") as other:
        url = f"http://{other['TOPTEN_SCORE_OPS_ADDRESS']}/metrics"
        async with aiohttp.ClientSession() as session, deadline("two workers conflict"):
            while not (await scrape(stack)).total("topten_ledger_conflicts_total"):
                await asyncio.gather(*(player.submit(QUIZ, RIGHT) for _ in range(4)))
                async with session.get(url) as answer:
                    assert answer.status == 200


@contextmanager
def stopped(stack: RunningStack, name: str) -> Iterator[None]:
    """Stop one of its processes or stores with SIGSTOP."""
    pid = stack.pid_of(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have been killed in the meantime
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def watching(stack: RunningStack, player: Player, board: str = "all") -> AsyncIterator[None]:
    """Keep a stream of the board open."""
    async with stream(stack.http, player.access_token, board) as events:

        async def read() -> None:
            async for _ in events:
                pass

        task = asyncio.create_task(read())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
