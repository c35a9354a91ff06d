"""Parts of the system that are away, killed or standing still: what goes on, what is refused, and that it comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from topten.quiz.v1 import quiz_pb2

from services.local.client import GraphqlClient
from services.runtime.breaker import FAILURES
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, SUBMIT, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, running_stack, second, unique
from tests.system.graphql import LOGIN, Answer, Web, browsing
from tests.system.processes import Service, made

HEAD = "{ getLeaderboard(limit: 5) { userId username score rank } }"
PAGE = "{ leaderboard(first: 5) { stale totalCount me { rank score } edges { node { username } } } }"
UNASKED = "{ getLeaderboard(limit: 7) { userId } }"
RANK = "{ rankIfScore(points: 5) }"
QUIZ = "query ($id: ID!) { quiz(id: $id) { id title } quizzes(first: 3) { totalCount edges { node { id } } } }"
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { success } }"
PATIENCE_SECONDS = 40


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
def standing_still(system: RunningStack, name: str) -> Iterator[None]:
    """A process of the system that is there and does nothing."""
    pid = system.pid_of(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def eventually(ask: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """The first answer for which this holds."""
    found = None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds(found := await ask()):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"the last answer was {found}") from None
    return found


async def metric(url: str, name: str, **labels: str) -> float:
    """A sample of a process's metrics."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        families = text_string_to_metric_families(await response.text())
    samples = (sample for family in families for sample in family.samples)
    return next(sample.value for sample in samples if sample.name == name and sample.labels == labels)


async def breaker_state(metrics: str, upstream: str) -> float:
    """Whether calls of an edge pass: 0 closed, 1 half open, 2 open."""
    return await metric(metrics, "topten_breaker_state", upstream=upstream)


async def submit(web: Web, player: Player, quiz_id: str, action_id: str = "") -> Answer:
    """One submission, whatever comes of it."""
    action = {
        "quizId": quiz_id,
        "actionId": action_id or str(uuid.uuid4()),
        "answers": [{"questionId": "q1", "selectedOption": "a"}],
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return await web.graphql(SUBMIT, {"input": action}, player.access_token)


def assert_unavailable(answer: Answer) -> None:
    assert answer.reason == "UNAVAILABLE", answer.body


async def test_without_the_leaderboard_the_last_boards_are_served_and_say_so(
    system: RunningStack, quiz_id: str, client: GraphqlClient
) -> None:
    copied = Path(f"/proc/{system.pid_of('leaderboard')}/environ").read_bytes().decode().split("\0")
    environ = dict(entry.split("=", 1) for entry in copied if "TOPTEN_" in entry and "_ADDRESS" not in entry)
    with made("leaderboard", environ) as leaderboard:
        await leaderboard.start()
        with second(system, "edge", UPSTREAM_LEADERBOARD=leaderboard.grpc) as edge:
            http, ops = (f"http://{edge[f'TOPTEN_EDGE_{kind}_ADDRESS']}" for kind in ("HTTP", "OPS"))
            async with browsing(http) as web:
                player = await register(client)
                await player.submit(quiz_id, [("q1", "a")])
                await _goes_and_comes_back(web, f"{ops}/metrics", player, quiz_id, leaderboard)


async def _goes_and_comes_back(web: Web, metrics: str, player: Player, quiz_id: str, leaderboard: Service) -> None:
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
        for document in (UNASKED, RANK):
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
    with standing_still(system, "mongo"):
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


async def test_without_identity_who_is_signed_in_plays_on_and_who_was_blocked_does_not(
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
    with standing_still(system, "identity"):
        assert (await player.submit(quiz_id, [("q1", "a")]))["pointsAwarded"] == 10
        assert (await submit(web, blocked, quiz_id)).reason == "PLAYER_BLOCKED"
        async with stream(system.http, player.access_token, board) as events:
            await until(events, shows(player.username, 20))
        login = {"input": {"username": player.username, "password": PASSWORD}}
        assert_unavailable(await web.graphql(LOGIN, login))
    await eventually(lambda: web.graphql(LOGIN, login), lambda answer: "errors" not in answer.body)


async def test_who_is_restarted_while_identity_does_not_answer_verifies_by_the_keys_it_had(
    system: RunningStack, quiz_id: str, client: GraphqlClient, web: Web
) -> None:
    player = await register(client)
    await player.submit(quiz_id, [("q1", "a")])
    with standing_still(system, "identity"):
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


async def attempt(web: Web, player: Player, quiz_id: str) -> Answer | None:
    """A submission's answer, if it was accepted; what was refused or lost for want of a process may come again."""
    try:
        answer = await submit(web, player, quiz_id)
    except aiohttp.ClientError:
        return None
    return None if "errors" in answer.body else answer


async def test_what_is_too_much_at_once_is_refused_at_once(
    system: RunningStack, quiz_id: str, client: GraphqlClient
) -> None:
    """Two submissions hang, which is all that this edge does at a time: the next request is told so, and when to come."""
    player = await register(client)
    with second(system, "edge", MAX_RUNNING="2") as edge:
        http, ops = (f"http://{edge[f'TOPTEN_EDGE_{kind}_ADDRESS']}" for kind in ("HTTP", "OPS"))
        metrics, running = f"{ops}/metrics", "topten_requests_running"
        async with browsing(http) as web, stream(http, player.access_token) as events:
            with standing_still(system, "quiz"):
                hanging = [asyncio.create_task(submit(web, player, quiz_id)) for _ in range(2)]
                await eventually(lambda: metric(metrics, running, at="graphql"), lambda count: count == 2)
                refused = await web.graphql("{ me { userId } }")
                assert refused.status == 503
                assert_unavailable(refused)
                assert refused.headers["Retry-After"] == "1"
                assert refused.body["errors"][0]["extensions"]["retryAfter"] == 1
            await asyncio.gather(*hanging)
            await player.submit(quiz_id, [("q1", "a")])
            await until(events, lambda data: True)  # streams are bounded by themselves
            assert (await web.graphql("{ me { userId } }", token=player.access_token)).body["data"]["me"]
        assert await metric(metrics, "topten_requests_shed_total", at="graphql") == 1
        await eventually(lambda: metric(metrics, running, at="graphql"), lambda count: count == 0)


async def test_an_upstream_that_hangs_is_given_up_until_a_probe_is_answered(
    system: RunningStack, quiz_id: str, client: GraphqlClient, web: Web
) -> None:
    player = await register(client)
    metrics = system.endpoints["metrics"]["edge"]
    with standing_still(system, "quiz"):
        for answer in await asyncio.gather(*(submit(web, player, quiz_id) for _ in range(FAILURES))):
            assert_unavailable(answer)
        assert await breaker_state(metrics, "quiz") == 2
        refused = await submit(web, player, quiz_id)
        assert_unavailable(refused)
        assert refused.body["errors"][0]["extensions"]["retryAfter"] >= 1
    await eventually(lambda: submit(web, player, quiz_id), lambda answer: "errors" not in answer.body)
    assert await breaker_state(metrics, "quiz") == 0
