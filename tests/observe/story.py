"""One story on a running system: play, then one fault after another, each until the metric named for it has moved.

The scrapes are kept, so that each test looks at what was really said: the metrics' own, the alerts', the dashboards'.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
import nats
import pytest

from services.local.client import GraphqlClient, GraphqlError
from tests.observe.scrapes import Scrape, eventually, scrape
from tests.players import PASSWORD, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, second, unique

QUIZ, RIGHT = "arithmetic-sprint", [("q5", "true")]
# Each for one player, so that he is in the head of its board whoever else plays.
COUNTRIES = iter("IS MT LU CY EE LV LT SI HR BG RO HU SK CZ PL FI NO SE DK IE PT ES FR BE NL DE CH AT IT GR".split())
LOGOUT = "mutation ($token: String) { logout(refreshToken: $token) }"
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }"


@dataclass
class Story:
    """What was said at the beginning, after play, in each fault (by its name), and at the end."""

    start: Scrape
    played: Scrape = field(default_factory=Scrape)
    during: dict[str, Scrape] = field(default_factory=dict)
    end: Scrape = field(default_factory=Scrape)


async def told(stack: RunningStack) -> Story:
    """Tells it; takes about 20 s. The system is whole again when it is over."""
    story = Story(start=await scrape(stack))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        await dead_worker(stack, client)
        watcher = await register(client)
        async with watching(stack, watcher):
            player = await register(client)
            await wave(stack, client)
            story.played = await eventually(stack, lambda now: now.total("topten_action_to_screen_seconds_count") > 0)
            await intruders(stack, client)
            story.during["intruders"] = await scrape(stack)
            await unreadable_event(stack)
            story.during["dead letter"] = await eventually(
                stack, lambda now: now.total("topten_dead_letters_total") > 0
            )
            await two_workers(stack, client)
            with stopped(stack, "redis"):
                story.during["redis"] = await eventually(stack, lambda now: now.total("topten_board_stale") > 0)
            with stopped(stack, "nats"):
                await player.submit("world-capitals", [])
                story.during["nats"] = await eventually(stack, lambda now: now.total("topten_outbox_lag_seconds") > 1)
            with stopped(stack, "mongo"):
                with pytest.raises(GraphqlError):
                    await player.submit("solar-system", [])
                story.during["mongo"] = await scrape(stack)
            await eventually(
                stack,
                lambda now: (
                    not now.total("topten_board_stale")
                    and not now.total("topten_outbox_lag_seconds")
                    and not now.total("topten_consumer_pending")
                ),
            )
            await client.execute(LOGOUT, {"token": watcher.refresh_token})
            story.end = await eventually(stack, lambda now: any(now.values_of("topten_sse_dropped_total")))
    return story


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


async def intruders(stack: RunningStack, client: GraphqlClient) -> None:
    """Passwords are tried, tokens are forged, and somebody plays faster than anybody can."""
    victim = await register(client)
    for _ in range(8):
        with pytest.raises(GraphqlError):
            await client.execute(LOGIN, {"input": {"username": victim.username, "password": "not " + PASSWORD}})
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": "Bearer e30.e30.e30"}
        async with session.post(
            f"{stack.http}/graphql", json={"query": "{ me { userId } }"}, headers=headers
        ) as answer:
            assert answer.status == 401
    bot = await register(client)
    for _ in range(15):
        await bot.submit(QUIZ, RIGHT)
    await eventually(stack, lambda now: any(now.values_of("topten_flags_total")))


async def unreadable_event(stack: RunningStack) -> None:
    """Something that is no event comes onto the stream."""
    connection = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        await connection.jetstream().publish("quiz.events.nobody", b"\xff\xff\xff")
    finally:
        await connection.close()


async def dead_worker(stack: RunningStack, client: GraphqlClient) -> None:
    """A worker dies with an event in its hands, and the next one is handed it again."""
    player = await register(client)
    connection = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        with stopped(stack, "score"):
            await player.submit(QUIZ, RIGHT)
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
async def watching(stack: RunningStack, player: Player) -> AsyncIterator[None]:
    """Somebody has the board on his screen all the while."""
    async with stream(stack.http, player.access_token) as events:

        async def read() -> None:
            async for _ in events:
                pass

        task = asyncio.create_task(read())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
