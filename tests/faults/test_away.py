"""Services and stores that are killed or hang: what still works, what is refused, and that everything recovers."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from services.runtime.grpc.breaker import FAILURES
from tests.deadline import POLL_SECONDS, deadline_seconds
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, SUBMIT, Player, endpoints, register, shows, stream, until
from tests.replicas import second_instance
from tests.servers import RunningStack, running_stack, unique
from tests.system.graphql import LOGIN, Answer, Web, browsing
from tests.system.processes import Service, service_process

HEAD = "{ getLeaderboard(limit: 5) { userId username score rank } }"
PAGE = "{ leaderboard(first: 5) { stale totalCount me { rank score } edges { node { username } } } }"
UNCACHED = "{ getLeaderboard(limit: 7) { userId } }"
RANK = "{ rankIfScore(points: 5) }"
ONE_QUIZ = "query ($id: ID!) { quiz(id: $id) { id } }"
QUIZ = "query ($id: ID!) { quiz(id: $id) { id title } quizzes(first: 3) { totalCount edges { node { id } } } }"
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { success } }"


@pytest.fixture(scope="module")
def system() -> Iterator[RunningStack]:
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms"}) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module")
async def quiz_id(system: RunningStack) -> str:
    quiz_id = unique("away-")
    await import_quiz(endpoints(system), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    return quiz_id


@pytest.fixture
async def client(system: RunningStack) -> AsyncIterator[GraphqlClient]:
    async with GraphqlClient(endpoints(system).graphql) as client:
        yield client


@pytest.fixture
async def web(system: RunningStack) -> AsyncIterator[Web]:
    async with browsing(system.http) as opened:
        yield opened


@contextmanager
def stopped(system: RunningStack, name: str) -> Iterator[None]:
    """Stop a process of the system with SIGSTOP."""
    pid = system.pid_of(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def eventually(request: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    """Repeat the request until its result satisfies `holds`, and return that."""
    result = None
    try:
        async with asyncio.timeout(deadline_seconds()):
            while not holds(result := await request()):
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"the last result was {result}") from None
    return result


async def metric(url: str, name: str, **labels: str) -> float:
    """The value of one sample."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        families = text_string_to_metric_families(await response.text())
    samples = (sample for family in families for sample in family.samples)
    return next(sample.value for sample in samples if sample.name == name and sample.labels == labels)


async def breaker_state(metrics: str, upstream: str) -> float:
    """The state of the edge's circuit breaker: 0 closed, 1 half open, 2 open."""
    return await metric(metrics, "topten_breaker_state", upstream=upstream)


async def submit(web: Web, player: Player, quiz_id: str, action_id: str = "") -> Answer:
    """Submit once and return the response, whatever it is."""
    action = {
        "quizId": quiz_id,
        "actionId": action_id or str(uuid.uuid4()),
        "answers": [{"questionId": "q1", "selectedOption": "a"}],
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return await web.graphql(SUBMIT, {"input": action}, player.access_token)


def assert_unavailable(answer: Answer) -> None:
    assert answer.reason == "UNAVAILABLE", answer.body


async def test_without_the_leaderboard_the_last_boards_are_served_as_stale(
    system: RunningStack, quiz_id: str, client: GraphqlClient
) -> None:
    inherited = system.environ_of("leaderboard").items()
    environ = {name: value for name, value in inherited if "TOPTEN_" in name and "_ADDRESS" not in name}
    with service_process("leaderboard", environ) as leaderboard:
        await leaderboard.start()
        with second_instance(system, "edge", UPSTREAM_LEADERBOARD=leaderboard.grpc) as edge:
            http, ops = (f"http://{edge[f'TOPTEN_EDGE_{kind}_ADDRESS']}" for kind in ("HTTP", "OPS"))
            async with browsing(http) as web:
                player = await register(client)
                await player.submit(quiz_id, [("q1", "a")])
                await _stops_and_recovers(web, f"{ops}/metrics", player, quiz_id, leaderboard)


async def _stops_and_recovers(web: Web, metrics: str, player: Player, quiz_id: str, leaderboard: Service) -> None:
    token = player.access_token
    asked = await eventually(lambda: web.graphql(HEAD, token=token), lambda a: bool(a.body["data"]["getLeaderboard"]))
    page = await web.graphql(PAGE, token=token)
    board = f"quiz:{quiz_id}"
    async with stream(web.http, token, board) as events:
        await until(events, shows(player.username, 10))
        leaderboard.kill()
        await until(events, lambda data: data["stale"] and shows(player.username, 10)(data))
        for _ in range(FAILURES + 1):
            old = await web.graphql(HEAD, token=token)
            assert old.body["data"] == asked.body["data"]
            assert old.body["extensions"]["stale"] is True
        assert await breaker_state(metrics, "leaderboard") > 0
        old = await web.graphql(PAGE, token=token)
        assert old.body["data"]["leaderboard"] == page.body["data"]["leaderboard"] | {"stale": True}
        held = await web.graphql(
            "query ($b: BoardInput) { getLeaderboard(board: $b, limit: 1) { username } }",
            {"b": {"kind": "QUIZ", "quizId": quiz_id}},
            token,
        )
        assert held.body["data"]["getLeaderboard"] == [{"username": player.username}]
        assert held.body["extensions"]["stale"] is True
        for document in (UNCACHED, RANK):
            refused = await web.graphql(document, token=token)
            assert_unavailable(refused)
            assert refused.body["errors"][0]["extensions"]["retryAfter"] >= 1
        assert (await player.submit(quiz_id, [("q1", "a")]))["pointsAwarded"] == 10
        await leaderboard.start()
        await until(events, lambda data: not data["stale"] and shows(player.username, 20)(data))
    fresh = await eventually(lambda: web.graphql(HEAD, token=token), lambda a: "extensions" not in a.body)
    assert fresh.body["data"]["getLeaderboard"][0]["username"]
    await eventually(lambda: breaker_state(metrics, "leaderboard"), lambda state: state == 0)


async def test_without_mongodb_quizzes_are_read_and_submissions_refused(
    system: RunningStack, quiz_id: str, client: GraphqlClient, web: Web
) -> None:
    player = await register(client)
    asked = await web.graphql(QUIZ, {"id": quiz_id}, player.access_token)
    assert asked.body["data"]["quizzes"]["totalCount"] > 0
    action_id = str(uuid.uuid4())
    with stopped(system, "mongo"):
        refused = await submit(web, player, quiz_id, action_id)
        assert_unavailable(refused)
        assert refused.body["errors"][0]["extensions"]["retryAfter"] >= 1
        for _ in range(3):
            read = await web.graphql(QUIZ, {"id": quiz_id}, player.access_token)
            assert read.body["data"] == asked.body["data"]
    again = await eventually(
        lambda: submit(web, player, quiz_id, action_id), lambda answer: "errors" not in answer.body
    )
    assert again.body["data"]["submitQuizAction"]["pointsAwarded"] == 10


async def test_without_identity_signed_in_players_play_on_and_blocked_ones_do_not(
    system: RunningStack, quiz_id: str, client: GraphqlClient, web: Web
) -> None:
    player, blocked = await register(client), await register(client)
    account = system.endpoints["moderator"]
    moderator = await client.login(account["username"], account["password"])
    await client.execute(BLOCK, {"input": {"userId": blocked.user_id, "reason": "a test"}}, moderator)
    assert (await submit(web, blocked, quiz_id)).reason == "PLAYER_BLOCKED"
    await player.submit(quiz_id, [("q1", "a")])
    board = f"quiz:{quiz_id}"
    async with stream(system.http, player.access_token, board) as events:
        await until(events, shows(player.username, 10))
    with stopped(system, "identity"):
        assert (await player.submit(quiz_id, [("q1", "a")]))["pointsAwarded"] == 10
        assert (await submit(web, blocked, quiz_id)).reason == "PLAYER_BLOCKED"
        async with stream(system.http, player.access_token, board) as events:
            await until(events, shows(player.username, 20))
        login = {"input": {"username": player.username, "password": PASSWORD}}
        assert_unavailable(await web.graphql(LOGIN, login))
    await eventually(lambda: web.graphql(LOGIN, login), lambda answer: "errors" not in answer.body)


async def test_process_restarted_without_identity_verifies_tokens_by_its_stored_keys(
    system: RunningStack, quiz_id: str, client: GraphqlClient, web: Web
) -> None:
    player = await register(client)
    await player.submit(quiz_id, [("q1", "a")])
    with stopped(system, "identity"):
        for name in ("quiz", "leaderboard", "edge"):
            before = system.pid_of(name)
            os.kill(before, signal.SIGKILL)
            await eventually(partial(asyncio.to_thread, system.pid_of, name), before.__ne__)
        answer = await eventually(lambda: attempt(web, player, quiz_id), lambda answer: answer is not None)
        assert answer.body["data"]["submitQuizAction"]["pointsAwarded"] == 10
        await eventually(
            lambda: web.graphql(PAGE, token=player.access_token),
            lambda answer: "errors" not in answer.body and answer.body["data"]["leaderboard"]["me"]["score"] == 20,
        )
        forged = await web.graphql("{ me { userId } }", token=player.access_token[:-8] + "AAAAAAAA")
        assert forged.status == 401
    login = {"input": {"username": player.username, "password": PASSWORD}}
    await eventually(lambda: web.graphql(LOGIN, login), lambda answer: "errors" not in answer.body)


NEXT = 'mutation { nextStep(pin: "1000000") { applied } }'


async def attempt(web: Web, player: Player, quiz_id: str) -> Answer | None:
    """Submit; None unless it was accepted, since the processes may not be back yet."""
    try:
        answer = await submit(web, player, quiz_id)
    except aiohttp.ClientError:
        return None
    return None if "errors" in answer.body else answer


async def test_requests_over_the_limit_are_refused_at_once(
    system: RunningStack, quiz_id: str, client: GraphqlClient
) -> None:
    """Two submissions hang, which is the limit of this edge: the next request gets 503 with Retry-After."""
    player = await register(client)
    with second_instance(system, "edge", MAX_RUNNING="2") as edge:
        http, ops = (f"http://{edge[f'TOPTEN_EDGE_{kind}_ADDRESS']}" for kind in ("HTTP", "OPS"))
        metrics, running = f"{ops}/metrics", "topten_requests_running"
        async with browsing(http) as web, stream(http, player.access_token) as events:
            with stopped(system, "quiz"):
                # The command of a host, for whom a room waits, takes no place.
                leading = asyncio.create_task(web.graphql(NEXT, token=player.access_token))
                await eventually(lambda: metric(metrics, running, at="graphql"), lambda count: count == 1)
                hanging = [asyncio.create_task(submit(web, player, quiz_id)) for _ in range(2)]
                await eventually(lambda: metric(metrics, running, at="graphql"), lambda count: count == 3)
                refused = await web.graphql("{ me { userId } }")
                assert refused.status == 503
                assert_unavailable(refused)
                assert refused.headers["Retry-After"] == "1"
                assert refused.body["errors"][0]["extensions"]["retryAfter"] == 1
            await asyncio.gather(leading, *hanging)
            await player.submit(quiz_id, [("q1", "a")])
            await until(events, lambda data: True)  # streams have their own limit
            assert (await web.graphql("{ me { userId } }", token=player.access_token)).body["data"]["me"]
        assert await metric(metrics, "topten_requests_shed_total", at="graphql") == 1
        await eventually(lambda: metric(metrics, running, at="graphql"), lambda count: count == 0)


async def test_breaker_opens_for_an_upstream_that_hangs_and_closes_after_a_probe(
    system: RunningStack, quiz_id: str, client: GraphqlClient, web: Web
) -> None:
    player = await register(client)
    metrics = system.endpoints["metrics"]["edge"]
    with stopped(system, "quiz"):
        # Each of these is a call, while submissions that arrive together share one.
        reads = (web.graphql(ONE_QUIZ, {"id": quiz_id}, player.access_token) for _ in range(FAILURES))
        for answer in await asyncio.gather(*reads):
            assert_unavailable(answer)
        assert await breaker_state(metrics, "quiz") == 2
        refused = await submit(web, player, quiz_id)
        assert_unavailable(refused)
        assert refused.body["errors"][0]["extensions"]["retryAfter"] >= 1
    await eventually(lambda: submit(web, player, quiz_id), lambda answer: "errors" not in answer.body)
    assert await breaker_state(metrics, "quiz") == 0
