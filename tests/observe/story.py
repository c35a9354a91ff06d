"""One story on a running system: play, then one fault after another, each until the metric named for it has moved.

The scrapes are kept, so that each test looks at what was really said: the metrics' own, the alerts', the dashboards'.
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

from services.local.client import GraphqlClient, GraphqlError
from tests.observe.scrapes import Scrape, eventually, scrape
from tests.players import PASSWORD, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, second, topten, unique
from tests.system.score import completed

SCREEN = "topten_action_to_screen_seconds"
QUIZ, RIGHT = "arithmetic-sprint", [("q5", "true")]
# Each for one player, so that he is in the head of its board whoever else plays.
COUNTRIES = iter("IS MT LU CY EE LV LT SI HR BG RO HU SK CZ PL FI NO SE DK IE PT ES FR BE NL DE CH AT IT GR".split())
LOGOUT = "mutation ($token: String) { logout(refreshToken: $token) }"
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }"


@dataclass
class Story:
    """What was said at the beginning, after play, before and in each fault (by its name), and at the end.

    `doctor` is what `topten doctor` said of the system that had only just started, `ready` what each process answered to a
    probe of readiness in a fault.
    """

    start: Scrape
    doctor: subprocess.CompletedProcess[str]
    played: Scrape = field(default_factory=Scrape)
    before: dict[str, Scrape] = field(default_factory=dict)
    during: dict[str, Scrape] = field(default_factory=dict)
    ready: dict[str, dict[str, int]] = field(default_factory=dict)
    end: Scrape = field(default_factory=Scrape)

    @asynccontextmanager
    async def fault(self, name: str, stack: RunningStack, shows: Callable[[Scrape], bool]) -> AsyncIterator[None]:
        """What is done in the block is a fault; it has been seen when this holds."""
        self.before[name] = await scrape(stack)
        yield
        self.during[name] = await eventually(stack, shows)
        self.ready[name] = await probed(stack)


async def told(stack: RunningStack) -> Story:
    """Tells it; takes about 25 s. The system is whole again when it is over."""
    story = Story(await scrape(stack), await asyncio.to_thread(doctor, "--data", str(stack.data)))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        await dead_worker(stack, client)
        watcher = await register(client)
        async with watching(stack, watcher):
            await wave(stack, client)
            story.played = await eventually(stack, lambda now: now.total(f"{SCREEN}_count") > 0)
            await people_go_wrong(story, stack, client)
            await two_workers(stack, client)
            await parts_stand_still(story, stack, client)
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
            story.end = await eventually(stack, lambda now: any(now.values_of("topten_sse_dropped_total")))
    return story


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What `topten doctor` says."""
    environ = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(
        topten("doctor", *arguments), capture_output=True, text=True, timeout=60, env=environ, check=False
    )


async def people_go_wrong(story: Story, stack: RunningStack, client: GraphqlClient) -> None:
    """Somebody breaks in, somebody publishes nonsense."""
    async with story.fault("intruders", stack, lambda now: any(now.values_of("topten_flags_total")) and settled(now)):
        await intruders(client, stack.http)
    async with story.fault("garbage", stack, lambda now: now.total("topten_dead_letters_total") > 0 and settled(now)):
        await published(stack, b"\xff\xff\xff")


async def parts_stand_still(story: Story, stack: RunningStack, client: GraphqlClient) -> None:
    """One after another, while somebody plays."""
    country = next(COUNTRIES)
    player = await register(client, country=country)
    slow = late(await scrape(stack))
    # At the head of his own country's board, whoever else has played on this system.
    async with (
        watching(stack, player, f"country:{country}"),
        story.fault("slow screens", stack, lambda now: late(now) > slow and settled(now)),
    ):
        with stopped(stack, "leaderboard"):
            await player.submit(QUIZ, RIGHT)
            await asyncio.sleep(1.1)  # nobody is shown anything for so long: this is the fault itself
    with stopped(stack, "redis"):
        async with story.fault("redis", stack, lambda now: now.total("topten_board_stale") > 0 and away(now, "redis")):
            pass
    with stopped(stack, "nats"):
        async with story.fault(
            "nats", stack, lambda now: now.total("topten_outbox_lag_seconds") > 1 and away(now, "nats")
        ):
            await player.submit("world-capitals", [])
    await eventually(stack, lambda now: not now.total("topten_outbox_lag_seconds"))
    with stopped(stack, "mongo"):
        async with story.fault(
            "mongo", stack, lambda now: any(now.values_of("topten_consumer_pending")) and away(now, "mongo")
        ):
            with pytest.raises(GraphqlError):
                await player.submit("solar-system", [])
            await published(stack, completed(player.user_id, 5, quiz_id="solar-system").SerializeToString())
    with stopped(stack, "score"):
        async with story.fault("score", stack, lambda now: not list(now.values_of("topten_consumer_pending"))):
            pass


def settled(said: Scrape) -> bool:
    """Whether nothing waits to be counted."""
    return not said.total("topten_consumer_pending")


def away(said: Scrape, store: str) -> bool:
    """Whether each process that has this store says that it does not answer."""
    return not any(said.values_of("topten_store_up", store=store))


async def probed(stack: RunningStack) -> dict[str, int]:
    """What each process answers to a probe of its readiness; nothing of one that does not answer."""
    found = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
        for process, url in stack.endpoints["metrics"].items():
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url.replace("/metrics", "/readyz")) as answer:
                    found[process] = answer.status
    return found


def late(said: Scrape) -> float:
    """How many actions took longer than a second to the screens."""
    return said.total(f"{SCREEN}_count") - said.total(f"{SCREEN}_bucket", le="1.0")


async def wave(stack: RunningStack, client: GraphqlClient) -> None:
    """A few players do what players do, and somebody asks for whatever comes to mind."""
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
    """Passwords are tried, tokens are forged, and somebody plays faster than anybody can."""
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


async def published(stack: RunningStack, event: bytes) -> None:
    """Something comes onto the stream by another way than quiz."""
    connection = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        await connection.jetstream().publish("quiz.events.nobody", event)
    finally:
        await connection.close()


async def dead_worker(stack: RunningStack, client: GraphqlClient) -> None:
    """A worker dies with an event in its hands, and the next one is handed it again."""
    player = await register(client)
    connection = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        with stopped(stack, "score"):
            await player.submit(QUIZ, [])  # worth nothing, so that no screen waits for it
            async with asyncio.timeout(20):
                while not (await connection.jetstream().consumer_info("QUIZ_EVENTS", "score")).num_ack_pending:
                    await asyncio.sleep(0.02)
            os.kill(stack.pid_of("score"), signal.SIGKILL)
    finally:
        await connection.close()
    await eventually(stack, lambda now: any(now.values_of("topten_redeliveries_total")))


async def two_workers(stack: RunningStack, client: GraphqlClient) -> None:
    """A second worker takes turns with the first, until one has found that the other had counted before it."""
    player = await register(client)
    with second(stack, "score") as other:
        url = f"http://{other['TOPTEN_SCORE_OPS_ADDRESS']}/metrics"
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            while not (await scrape(stack)).total("topten_ledger_conflicts_total"):
                await asyncio.gather(*(player.submit(QUIZ, RIGHT) for _ in range(4)))
                async with session.get(url) as answer:
                    assert answer.status == 200


@contextmanager
def stopped(stack: RunningStack, name: str) -> Iterator[None]:
    """One of its processes or stores stands still."""
    pid = stack.pid_of(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have been killed meanwhile
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def watching(stack: RunningStack, player: Player, board: str = "all") -> AsyncIterator[None]:
    """Somebody has the board on his screen all the while."""
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
