"""The score service over gRPC: scores, the check and the rebuild, and who may ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
import pytest_asyncio
from topten.score.v1 import score_service_pb2 as messages
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import call, open_channel, open_stream
from tests.system.processes import Service
from tests.system.score import ScoreSystem, completed, many, score_servers, score_system
from tests.unit.runtime.issuer import Issuer

if TYPE_CHECKING:
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub


class Served(NamedTuple):
    """A score process, whoever signs the tokens it believes, and a client."""

    system: ScoreSystem
    service: Service
    issuer: Issuer
    stub: ScoreServiceAsyncStub

    def token(self, role: str, scope: str | None = None, user_id: str = "ada") -> str:
        return self.issuer.token(sub=user_id, userId=user_id, roles=[role], scope=scope)


@pytest_asyncio.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(score_servers())
        system = await stack.enter_async_context(score_system(servers))
        issuer = await stack.enter_async_context(Issuer())
        service = await stack.enter_async_context(
            system.worker(TOPTEN_AUTH_JWKS_URL=issuer.jwks_url, TOPTEN_AUTH_TOKEN_URL=issuer.token_url)
        )
        channel = await stack.enter_async_context(open_channel(service.grpc))
        await system.publish(completed("ada", 10))
        await system.settled()
        await system.publish(completed("ada", 5, quiz_id="rivers"), completed("ben", 7))
        await system.settled()
        yield Served(system, service, issuer, cast("ScoreServiceAsyncStub", ScoreServiceStub(channel)))


async def refused(served: Served, method: str, request: object, token: str | None) -> Reason:
    """The reason for which a stream is refused."""

    async def read() -> None:
        async with open_stream(getattr(served.stub, method), request, token=token) as steps:
            async for _ in steps:
                pass

    with pytest.raises(ServiceError) as error:
        await read()
    return error.value.reason


async def test_a_player_reads_the_own_score_and_staff_reads_any(served: Served) -> None:
    for token in (served.token("player"), served.token("service", "score:read", user_id="edge")):
        answer = await call(served.stub.GetScore, messages.GetScoreRequest(user_id="ada"), token=token)
        assert (answer.score.user_id, answer.score.total, answer.score.revision) == ("ada", 15, 2)


async def test_who_has_not_scored_has_nothing_at_revision_0(served: Served) -> None:
    request = messages.GetScoreRequest(user_id="nobody")
    answer = await call(served.stub.GetScore, request, token=served.token("moderator"))
    assert (answer.score.total, answer.score.revision) == (0, 0)


async def test_a_player_may_not_read_another_nor_anybody_without_a_token(served: Served) -> None:
    request = messages.GetScoreRequest(user_id="ben")
    for token, reason in ((served.token("player"), Reason.PERMISSION_DENIED), (None, Reason.UNAUTHENTICATED)):
        with pytest.raises(ServiceError) as error:
            await call(served.stub.GetScore, request, token=token)
        assert error.value.reason is reason


async def test_an_empty_player_id_is_refused(served: Served) -> None:
    with pytest.raises(ServiceError) as error:
        await call(served.stub.GetScore, messages.GetScoreRequest(), token=served.token("service", "score:read"))
    assert error.value.reason is Reason.INVALID_ARGUMENT


async def test_only_staff_checks_and_only_admins_and_services_rebuild(served: Served) -> None:
    check, rebuild = messages.VerifyScoresRequest(), messages.RebuildBoardsRequest()
    assert await refused(served, "VerifyScores", check, served.token("player")) is Reason.PERMISSION_DENIED
    assert await refused(served, "RebuildBoards", rebuild, served.token("moderator")) is Reason.PERMISSION_DENIED
    assert await refused(served, "RebuildBoards", rebuild, None) is Reason.UNAUTHENTICATED


async def test_a_check_streams_progress_and_ends_with_its_summary(served: Served) -> None:
    token = served.token("moderator")
    async with open_stream(served.stub.VerifyScores, messages.VerifyScoresRequest(), token=token) as stream:
        steps = [step async for step in stream]
    assert [step.WhichOneof("step") for step in steps[:-1]] == ["progress"] * (len(steps) - 1)
    assert steps[0].progress.stage == "folding the ledger"
    summary = steps[-1].summary
    rows = await served.system.database["ledger"].estimated_document_count()
    assert (summary.rows, summary.findings) == (rows, 0)
    assert summary.players >= 2
    assert summary.boards >= 6


async def test_a_check_names_a_member_that_should_not_be_there(served: Served) -> None:
    await served.system.redis.zadd("leaderboard:quiz:rivers", {"eve": 3})
    token = served.token("admin")
    async with open_stream(served.stub.VerifyScores, messages.VerifyScoresRequest(), token=token) as stream:
        findings = [step.finding async for step in stream if step.HasField("finding")]
    await served.system.redis.zrem("leaderboard:quiz:rivers", "eve")
    assert [(finding.kind, finding.subject) for finding in findings] == [("board", "quiz:rivers")]
    assert "eve" in findings[0].detail


async def test_a_rebuild_while_events_come_leaves_the_boards_right(served: Served) -> None:
    system = served.system
    before = await system.whole()
    await system.redis.zadd("leaderboard:quiz:never-was", {"eve": 3})
    publishing = asyncio.create_task(system.publish(*many(400, players=30, seed=21, lowest=-20)))
    request, token = messages.RebuildBoardsRequest(), served.token("service", "score:repair")
    summaries = []
    for _ in range(3):
        async with open_stream(served.stub.RebuildBoards, request, token=token) as stream:
            steps = [step async for step in stream]
        assert steps[0].HasField("progress")
        summaries.append(steps[-1].summary)
    await publishing
    await system.settled()
    generations = [summary.generation for summary in summaries]
    assert before < generations[0] < generations[1] < generations[2] == await system.whole()
    assert all(summary.boards >= 5 and summary.members >= 5 for summary in summaries)
    assert not await system.redis.exists("leaderboard:quiz:never-was")
    assert await system.verified() == []


async def test_two_rebuilds_at_once_come_one_after_the_other(served: Served) -> None:
    request, token = messages.RebuildBoardsRequest(), served.token("admin")

    async def generation() -> int:
        async with open_stream(served.stub.RebuildBoards, request, token=token) as stream:
            return [step async for step in stream][-1].summary.generation

    first, second = await asyncio.gather(generation(), generation())
    assert first != second
    assert await served.system.whole() == max(first, second)
    assert await served.system.verified() == []
