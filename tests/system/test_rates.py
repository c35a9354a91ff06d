"""Limits on how often: two edges that share one Redis, and one that has lost it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edge.rates.limiter import open_limiter
from edge.rates.rates import needed_rates
from services.runtime.errors import Reason, ServiceError
from services.runtime.redis_client import open_redis
from services.runtime.settings import RedisConfig
from tests.servers import RunningServer, running, unique
from tests.unit.edge.announcer import Announcer, EdgeProcess, announcing, edge_process
from tests.unit.runtime.issuer import Issuer

ME = "{ me { username } }"
LOGIN = 'mutation { login(input: {username: "%s", password: "wrong"}) { expiresIn } }'
BLOCK = 'mutation { %s: blockUser(input: {userId: "x", reason: "y"}) { success } }'


@pytest.fixture(scope="module")
async def redis() -> AsyncIterator[RunningServer]:
    async with running("redis") as server:
        yield server


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as opened:
        yield opened


@pytest.fixture(scope="module")
async def announcer() -> AsyncIterator[Announcer]:
    async with announcing() as serving:
        yield serving


class Edge:
    """An edge and who asks it."""

    def __init__(self, process: EdgeProcess, session: aiohttp.ClientSession) -> None:
        self.process = process
        self._session = session

    async def ask(self, document: str, token: str = "") -> tuple[int, str, dict[str, str]]:
        """Status, reason of the first error (or nothing) and headers."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{self.process.http}/graphql"
        async with self._session.post(url, json={"query": document}, headers=headers) as response:
            body: Any = await response.json()
            errors = body.get("errors") or [{"extensions": {"reason": ""}}]
            return response.status, errors[0]["extensions"]["reason"], dict(response.headers)


@pytest.fixture
async def edges(
    redis: RunningServer, issuer: Issuer, announcer: Announcer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Edge, Edge]]:
    monkeypatch.setenv("TOPTEN_REDIS_URL", redis.url)
    async with open_redis(RedisConfig(url=redis.url), "test") as client:
        await client.flushdb()  # what other tests did from this address
    rates = {"RATE_QUERY": "7/h,-", "RATE_WRITE": "5/h,-", "RATE_LOGIN": "3/h,6/h", "RATE_STREAM": "1/h,-"}
    rates |= {"MAX_COST": "100000"}  # so that a hundred logins are no more than that

    @asynccontextmanager
    async def edge(name: str) -> AsyncIterator[Edge]:
        async with (
            edge_process(issuer, announcer, tmp_path / name, **rates) as process,
            aiohttp.ClientSession() as session,
        ):
            yield Edge(process, session)

    async with edge("one") as one, edge("two") as two:
        yield one, two


async def test_two_edges_keep_to_one_rate_together(edges: tuple[Edge, Edge], issuer: Issuer) -> None:
    ada = issuer.token(sub=unique("ada"), userId=None, sid=None)
    answers = await asyncio.gather(*(edges[number % 2].ask(ME, ada) for number in range(20)))
    assert Counter(status for status, _, _ in answers) == {200: 7, 429: 13}
    assert {reason for status, reason, _ in answers if status == 429} == {"RATE_LIMITED"}
    refused = next(headers for status, _, headers in answers if status == 429)
    assert 500 < int(refused["Retry-After"]) <= 3600 / 7 + 1
    lefts = {headers["RateLimit"].partition(";t=")[0] for status, _, headers in answers if status == 200}
    assert lefts == {f'"query";r={left}' for left in range(7)}
    assert {headers["RateLimit-Policy"] for status, _, headers in answers if status == 200} == {'"query";q=7;w=3600'}
    for_others = issuer.token(sub=unique("bob"), userId=None, sid=None)
    assert (await edges[0].ask(ME, for_others))[0] == 200
    metrics = [await edge.process.metric("topten_rate_limited_total", operation="query") for edge in edges]
    assert sum(metrics) == 13


async def test_every_alias_counts_and_what_is_no_document_does(edges: tuple[Edge, Edge], issuer: Issuer) -> None:
    ada = issuer.token(sub=unique("ada"), userId=None, sid=None)
    four = (
        "mutation { "
        + " ".join(BLOCK.removeprefix("mutation { ").removesuffix(" }") % f"a{n}" for n in range(4))
        + " }"
    )
    assert (await edges[0].ask(four, ada))[1] != "RATE_LIMITED"
    assert (await edges[1].ask(four, ada))[:2] == (429, "RATE_LIMITED"), "one is left, and none is done"
    assert (await edges[1].ask(BLOCK % "a", ada))[1] != "RATE_LIMITED"
    assert (await edges[0].ask(BLOCK % "a", ada))[:2] == (429, "RATE_LIMITED")
    reasons = [(await edges[0].ask("{ nonsense", ada))[1] for _ in range(8)]
    assert reasons == ["INVALID_ARGUMENT"] * 7 + ["RATE_LIMITED"]


async def test_a_name_is_tried_so_often_from_wherever_and_an_address_tries_so_many(edges: tuple[Edge, Edge]) -> None:
    name = unique("ada")
    spelt = [name, name.upper(), name, name.title()]
    reasons = [(await edges[number % 2].ask(LOGIN % text))[1] for number, text in enumerate(spelt)]
    assert [reason == "RATE_LIMITED" for reason in reasons] == [False, False, False, True]
    others = [(await edges[0].ask(LOGIN % unique("bob")))[1] for _ in range(3)]
    assert [reason == "RATE_LIMITED" for reason in others] == [False, False, True], "four were of the first name"


async def test_each_alias_of_one_document_is_an_attempt(edges: tuple[Edge, Edge]) -> None:
    def document(count: int, name: str) -> str:
        login = LOGIN.removeprefix("mutation { ").removesuffix(" }") % name
        return "mutation { " + " ".join(f"a{number}: {login}" for number in range(count)) + " }"

    a_hundred = await edges[0].ask(document(100, unique("ada")))
    assert a_hundred[:2] == (429, "RATE_LIMITED"), "an address has six, so that not one of them is tried"
    name = unique("bob")
    _, first, _ = await edges[0].ask(document(3, name))
    assert first != "RATE_LIMITED"
    assert (await edges[1].ask(document(1, name)))[1] == "RATE_LIMITED", "all three counted for the name"


async def test_streams_are_opened_so_often(edges: tuple[Edge, Edge], issuer: Issuer) -> None:
    ada = issuer.token(sub=unique("ada"), userId=None, sid=None)
    statuses = []
    for edge in edges:
        url, headers = f"{edge.process.http}/api/v1/leaderboard/stream", {"Authorization": f"Bearer {ada}"}
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            statuses.append((response.status, response.content_type))
    assert statuses == [(200, "text/event-stream"), (429, "application/problem+json")]


async def test_without_redis_each_edge_counts_for_itself(
    edges: tuple[Edge, Edge], redis: RunningServer, issuer: Issuer
) -> None:
    ada = issuer.token(sub=unique("ada"), userId=None, sid=None)
    assert (await edges[0].ask(ME, ada))[0] == 200
    redis.kill()
    try:
        for edge in edges:
            statuses = [(await edge.ask(ME, ada))[0] for _ in range(8)]
            assert statuses == [200] * 7 + [429]
    finally:
        await redis.start()
    # It is asked again after a moment, and then both count together.
    rest = ""
    async with asyncio.timeout(20):
        while not rest.startswith('"query";r=5;'):
            bob = issuer.token(sub=unique("bob"), userId=None, sid=None)
            rest = [(await edge.ask(ME, bob))[2]["RateLimit"] for edge in edges][1]


async def test_what_is_paid_ahead_is_never_more_than_the_rate(redis: RunningServer) -> None:
    rates, ada, begun = {"query": needed_rates("240/m,-")}, unique("ada"), time.monotonic()
    config = RedisConfig(url=redis.url)
    async with open_limiter(config, rates) as one, open_limiter(config, rates) as two:

        async def ask(number: int) -> bool:
            try:
                await (one, two)[number % 2].take("query", caller=ada)
            except ServiceError as error:
                assert error.reason is Reason.RATE_LIMITED
                return False
            return True

        answered = sum(await asyncio.gather(*(ask(number) for number in range(400))))
    come_back = 4 * (time.monotonic() - begun)
    assert 240 - 2 * 4 <= answered <= 240 + come_back + 1


async def test_an_address_is_what_trusted_proxies_say_and_never_what_a_client_writes(
    redis: RunningServer, issuer: Issuer, announcer: Announcer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPTEN_REDIS_URL", redis.url)

    async def statuses(edge: EdgeProcess, addresses: list[str]) -> list[int]:
        found = []
        async with aiohttp.ClientSession() as session:
            for address in addresses:
                headers = {"X-Forwarded-For": address}
                async with session.post(f"{edge.http}/graphql", json={"query": ME}, headers=headers) as response:
                    found.append(response.status)
        return found

    one, two, forged = "2001:db8::1", "2001:db8::2", "2001:db8::3"
    rates = {"RATE_QUERY": "-,2/h"}
    async with edge_process(issuer, announcer, tmp_path / "behind", **rates, TRUSTED_PROXIES="127.0.0.0/8") as behind:
        assert await statuses(behind, [one, f"{forged}, {one}", one, f"{two}, {one}"]) == [200, 200, 429, 429]
        assert await statuses(behind, [two]) == [200]
    async with edge_process(issuer, announcer, tmp_path / "open", **rates) as exposed:
        assert await statuses(exposed, [one, two, forged]) == [200, 200, 429]
