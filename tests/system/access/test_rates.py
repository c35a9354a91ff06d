"""Rate limits of two edges that share one Redis, also while it is away."""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edge.rates.attempts import PasswordAttempts
from edge.rates.limiter import open_limiter
from edge.rates.rates import parse_rates
from services.runtime.config.settings import RedisConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.redis import open_redis
from tests.deadline import deadline, deadline_seconds
from tests.servers import RunningServer, running, unique
from tests.unit.edge.edge_process import EdgeProcess, edge_process, while_redis_responds
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard, scripted_leaderboard
from tests.unit.runtime.issuer import Issuer

ME = "{ me { username } }"
LOGIN = 'mutation { login(input: {username: "%s", password: "wrong"}) { expiresIn } }'
CHANGE_PASSWORD = 'mutation { changePassword(input: {currentPassword: "wrong", newPassword: "another horse"}) }'
DELETE = 'mutation { deleteMyAccount(password: "wrong") }'
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
async def leaderboard() -> AsyncIterator[ScriptedLeaderboard]:
    async with scripted_leaderboard() as serving:
        yield serving


class Edge:
    """An edge and a client of it."""

    def __init__(self, process: EdgeProcess, session: aiohttp.ClientSession) -> None:
        self.process = process
        self._session = session

    async def ask(self, document: str, token: str = "") -> tuple[int, str, dict[str, str]]:
        """Send a document: status, reason of the first error (or nothing) and headers."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{self.process.http}/graphql"
        async with self._session.post(url, json={"query": document}, headers=headers) as response:
            body: Any = await response.json()
            errors = body.get("errors") or [{"extensions": {"reason": ""}}]
            return response.status, errors[0]["extensions"]["reason"], dict(response.headers)


@pytest.fixture(scope="module")
async def edges(
    redis: RunningServer,
    issuer: Issuer,
    leaderboard: ScriptedLeaderboard,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Edge, Edge]]:
    folder = tmp_path_factory.mktemp("edges")
    rates = {"RATE_QUERY": "7/h,-", "RATE_WRITE": "5/h,-", "RATE_LOGIN": "3/h,6/h", "RATE_STREAM": "1/h,-"}
    rates |= {"RATE_PASSWORD": "2/h,-", "RATE_ROOM_JOIN": "2/h,-"}
    rates |= {"MAX_COST": "100000"}  # so that only the rate refuses a hundred logins

    @asynccontextmanager
    async def edge(name: str) -> AsyncIterator[Edge]:
        async with (
            edge_process(issuer, leaderboard, folder / name, **rates) as process,
            aiohttp.ClientSession() as session,
        ):
            yield Edge(process, session)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPTEN_REDIS_URL", redis.url)
        async with edge("one") as one, edge("two") as two:
            yield one, two


def counted_together(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Repeat a test of what two edges count together if one of them counted alone; without counts of other tests."""

    @functools.wraps(test)
    async def repeated(edges: tuple[Edge, Edge], **fixtures: Any) -> None:
        async def attempt() -> None:
            async with open_redis(RedisConfig(url=os.environ["TOPTEN_REDIS_URL"]), "test") as client:
                await client.flushdb()
            await test(edges=edges, **fixtures)

        await while_redis_responds(attempt, lambda: [edge.process.log for edge in edges])

    return repeated


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limiters of this process wait for Redis as long as the test does."""
    monkeypatch.setattr("edge.rates.limiter.ANSWER_SECONDS", deadline_seconds())


@counted_together
async def test_two_edges_keep_to_one_rate_together(edges: tuple[Edge, Edge], issuer: Issuer) -> None:
    ada, before = issuer.token(sub=unique("ada"), userId=None, sid=None), await refusals(edges)
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
    assert await refusals(edges) == before + 13


async def refusals(edges: tuple[Edge, Edge]) -> float:
    return sum([await edge.process.metric("topten_rate_limited_total", operation="query") for edge in edges])


@counted_together
async def test_each_alias_counts_and_so_does_an_invalid_document(edges: tuple[Edge, Edge], issuer: Issuer) -> None:
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


@counted_together
async def test_password_attempts_count_for_the_username_and_for_the_address(edges: tuple[Edge, Edge]) -> None:
    name = unique("ada")
    spelt = [name, name.upper(), name, name.title()]
    reasons = [(await edges[number % 2].ask(LOGIN % text))[1] for number, text in enumerate(spelt)]
    assert [reason == "RATE_LIMITED" for reason in reasons] == [False, False, False, True]
    others = [(await edges[0].ask(LOGIN % unique("bob")))[1] for _ in range(3)]
    assert [reason == "RATE_LIMITED" for reason in others] == [False, False, True], "four were of the first name"


@pytest.mark.usefixtures("patient")
async def test_wrong_passwords_of_a_stranger_leave_the_owners_attempts(redis: RunningServer) -> None:
    owner, name = "192.0.2.1", unique("ada")
    rates = {"login": parse_rates("3/h,-"), "account": parse_rates("5/h,-")}

    async def refused(username: str, address: str) -> bool:
        try:
            await attempts.take(username, address)
        except ServiceError as error:
            assert error.reason is Reason.RATE_LIMITED  # both outcomes are tested
            return True
        return False

    async with open_limiter(RedisConfig(url=redis.url), rates) as limiter:
        attempts = PasswordAttempts(limiter)
        await attempts.succeeded(name, owner)
        outcomes = [await refused(name.upper(), f"198.51.100.{number}") for number in range(8)]
        assert outcomes == [False] * 5 + [True] * 3, "a name has its wider limit at all unknown addresses together"
        assert not await refused(name.title(), owner), "an address from which the account signed in is known"
        assert not await refused(unique("bob"), "198.51.100.9"), "another name is not affected"
        assert [await refused(name, owner) for _ in range(3)] == [False, False, True], "it has the limit of its address"
        await attempts.succeeded(name, "2001:db8:1:2::1")
        assert not await refused(name, "2001:db8:1:2:ffff::1"), "an IPv6 client has many addresses"


@counted_together
async def test_wrong_passwords_for_a_name_leave_the_sessions_of_its_owner(
    edges: tuple[Edge, Edge], issuer: Issuer
) -> None:
    name = unique("ada")
    reasons = [(await edges[0].ask(LOGIN % name))[1] for _ in range(8)]
    assert reasons[-1] == "RATE_LIMITED"
    own, stolen = (issuer.token(sub=name, userId=name, username=name, sid=unique("s")) for _ in range(2))
    for document in (CHANGE_PASSWORD, DELETE):
        assert (await edges[0].ask(document, own))[1] != "RATE_LIMITED"
    assert (await edges[1].ask(CHANGE_PASSWORD, own))[1] == "RATE_LIMITED", "a session has its own attempts"
    assert (await edges[1].ask(CHANGE_PASSWORD, stolen))[1] != "RATE_LIMITED"


@counted_together
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


@counted_together
async def test_players_who_enter_a_room_count_for_the_room(edges: tuple[Edge, Edge], issuer: Issuer) -> None:
    async def reason(number: int, document: str) -> str | None:
        player = issuer.token(sub=unique("ada"), userId=None, sid=None)
        return (await edges[number % 2].ask(document, player))[1]

    join, move = (
        'mutation { joinRoom(input: {pin: "%s"}) { rejoined } }',
        'mutation { moveSeat(pin: "%s", code: "ABCDEFGH") { rejoined } }',
    )
    reasons = [await reason(number, document % "123456") for number, document in enumerate((join, move, join, move))]
    assert [each == "RATE_LIMITED" for each in reasons] == [False, False, True, True]
    assert await reason(0, join % "123457") != "RATE_LIMITED", "another room"


@counted_together
async def test_opened_streams_count_on_all_edges(edges: tuple[Edge, Edge], issuer: Issuer) -> None:
    ada = issuer.token(sub=unique("ada"), userId=None, sid=None)
    statuses = []
    for edge in edges:
        url, headers = f"{edge.process.http}/api/v1/leaderboard/stream", {"Authorization": f"Bearer {ada}"}
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            statuses.append((response.status, response.content_type))
    assert statuses == [(200, "text/event-stream"), (429, "application/problem+json")]


async def test_without_redis_each_edge_counts_alone(
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
    # After a pause the edges ask Redis again, and count together.
    rest = ""
    async with deadline("the edges count together"):
        while not rest.startswith('"query";r=5;'):
            bob = issuer.token(sub=unique("bob"), userId=None, sid=None)
            rest = [(await edge.ask(ME, bob))[2]["RateLimit"] for edge in edges][1]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("operation", "count", "prepaid"), [("query", 240, 4), ("submit", 60, 5)])
async def test_what_is_prepaid_never_exceeds_the_rate(
    redis: RunningServer, operation: str, count: int, prepaid: int
) -> None:
    rates, ada, begun = {operation: parse_rates(f"{count}/m,-")}, unique("ada"), time.monotonic()
    config = RedisConfig(url=redis.url)
    async with open_limiter(config, rates) as one, open_limiter(config, rates) as two:

        async def ask(number: int) -> bool:
            try:
                await (one, two)[number % 2].take(operation, caller=ada)
            except ServiceError as error:
                assert error.reason is Reason.RATE_LIMITED
                return False
            return True

        answered = sum(await asyncio.gather(*(ask(number) for number in range(400))))
    come_back = count / 60 * (time.monotonic() - begun)
    assert count - 2 * prepaid <= answered <= count + come_back + 1


async def test_only_trusted_proxies_set_the_address(
    redis: RunningServer,
    issuer: Issuer,
    leaderboard: ScriptedLeaderboard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
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

    async def trusts() -> None:
        one, two, forged = (f"2001:db8:{secrets.token_hex(2)}::{number}" for number in range(3))
        assert await statuses(behind, [one, f"{forged}, {one}", one, f"{two}, {one}"]) == [200, 200, 429, 429]
        assert await statuses(behind, [two]) == [200]

    async def trusts_nobody() -> None:
        async with open_redis(RedisConfig(url=redis.url), "test") as client:
            await client.flushdb()
        assert await statuses(exposed, [f"2001:db8:{number}::1" for number in range(3)]) == [200, 200, 429]

    rates = {"RATE_QUERY": "-,2/h"}
    async with edge_process(issuer, leaderboard, tmp_path / "behind", **rates, TRUSTED_PROXIES="127.0.0.0/8") as behind:
        await while_redis_responds(trusts, lambda: [behind.log])
    async with edge_process(issuer, leaderboard, tmp_path / "open", **rates) as exposed:
        await while_redis_responds(trusts_nobody, lambda: [exposed.log])
