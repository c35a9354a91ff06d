"""The score service over gRPC: scores, verification and rebuilds, and their permissions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
import pytest_asyncio
from topten.score.v1 import score_service_pb2 as messages
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.boards.board import Board, period_of
from services.runtime.clock import milliseconds_of, utc_now
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call, open_channel, open_stream
from services.score.coordination_store import CoordinationStore
from tests.deadline import eventually
from tests.system.processes import Service
from tests.system.score import ScoreSystem, completed, random_events, score_servers, score_system
from tests.unit.runtime.issuer import Issuer

if TYPE_CHECKING:
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub


class Served(NamedTuple):
    """A score process, the issuer of its tokens, and a client."""

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
        await system.until_drained()
        await system.publish(completed("ada", 5, quiz_id="rivers"), completed("ben", 7))
        await system.until_drained()
        yield Served(system, service, issuer, cast("ScoreServiceAsyncStub", ScoreServiceStub(channel)))


async def refused(served: Served, method: str, request: object, token: str | None) -> Reason:
    """Return the reason with which a stream is refused."""

    async def read() -> None:
        async with open_stream(getattr(served.stub, method), request, token=token) as steps:
            async for _ in steps:
                pass

    with pytest.raises(ServiceError) as error:
        await read()
    return error.value.reason


async def test_player_reads_their_own_score_and_staff_reads_any(served: Served) -> None:
    for token in (served.token("player"), served.token("service", "score:read", user_id="edge")):
        response = await call(served.stub.GetScore, messages.GetScoreRequest(user_id="ada"), token=token)
        assert (response.score.user_id, response.score.total, response.score.revision) == ("ada", 15, 2)


async def test_player_without_rows_has_score_0_at_revision_0(served: Served) -> None:
    request = messages.GetScoreRequest(user_id="nobody")
    response = await call(served.stub.GetScore, request, token=served.token("moderator"))
    assert (response.score.total, response.score.revision) == (0, 0)


async def test_reading_another_players_score_needs_permission(served: Served) -> None:
    request = messages.GetScoreRequest(user_id="ben")
    for token, reason in ((served.token("player"), Reason.PERMISSION_DENIED), (None, Reason.UNAUTHENTICATED)):
        with pytest.raises(ServiceError) as error:
            await call(served.stub.GetScore, request, token=token)
        assert error.value.reason is reason


async def test_empty_player_id_is_refused(served: Served) -> None:
    with pytest.raises(ServiceError) as error:
        await call(served.stub.GetScore, messages.GetScoreRequest(), token=served.token("service", "score:read"))
    assert error.value.reason is Reason.INVALID_ARGUMENT


async def test_only_staff_verifies_and_only_admins_and_services_rebuild(served: Served) -> None:
    verify, rebuild = messages.VerifyScoresRequest(), messages.RebuildBoardsRequest()
    assert await refused(served, "VerifyScores", verify, served.token("player")) is Reason.PERMISSION_DENIED
    assert await refused(served, "RebuildBoards", rebuild, served.token("moderator")) is Reason.PERMISSION_DENIED
    assert await refused(served, "RebuildBoards", rebuild, None) is Reason.UNAUTHENTICATED


async def test_verification_streams_progress_and_ends_with_its_summary(served: Served) -> None:
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


async def test_verification_reports_a_member_without_a_row(served: Served) -> None:
    await served.system.redis.zadd("leaderboard:quiz:rivers", {"eve": 3})
    token = served.token("admin")
    async with open_stream(served.stub.VerifyScores, messages.VerifyScoresRequest(), token=token) as stream:
        findings = [step.finding async for step in stream if step.HasField("finding")]
    await served.system.redis.zrem("leaderboard:quiz:rivers", "eve")
    assert [(finding.kind, finding.subject) for finding in findings] == [("board", "quiz:rivers")]
    assert "eve" in findings[0].detail


async def test_rebuild_during_counting_leaves_boards_correct(served: Served) -> None:
    system = served.system
    before = await system.until_complete()
    await system.redis.zadd("leaderboard:quiz:never-was", {"eve": 3})
    publishing = asyncio.create_task(system.publish(*random_events(400, players=30, seed=21, lowest=-20)))
    request, token = messages.RebuildBoardsRequest(), served.token("service", "score:repair")
    summaries = []
    for _ in range(3):
        async with open_stream(served.stub.RebuildBoards, request, token=token) as stream:
            steps = [step async for step in stream]
        assert steps[0].HasField("progress")
        summaries.append(steps[-1].summary)
    await publishing
    await system.until_drained()
    generations = [summary.generation for summary in summaries]
    assert before < generations[0] < generations[1] < generations[2] == await system.until_complete()
    assert all(summary.boards >= 5 and summary.members >= 5 for summary in summaries)
    assert not await system.redis.exists("leaderboard:quiz:never-was")
    assert await system.verify() == []


async def test_concurrent_rebuilds_run_one_after_the_other(served: Served) -> None:
    request, token = messages.RebuildBoardsRequest(), served.token("admin")

    async def generation() -> int:
        async with open_stream(served.stub.RebuildBoards, request, token=token) as stream:
            return [step async for step in stream][-1].summary.generation

    first, second = await asyncio.gather(generation(), generation())
    assert first != second
    assert await served.system.until_complete() == max(first, second)
    assert await served.system.verify() == []


async def test_repair_seals_a_gap_and_the_next_verification_names_the_seal(served: Served) -> None:
    system = served.system
    for number, points in enumerate((100, 200, 300, 400)):
        await system.publish(completed("gail", points, quiz_id=f"gap-{number}"))
        await system.until_drained()
    chain = system.store.digests.chain("gail")
    await system.database["ledger"].delete_many({"chain": chain, "revision": {"$in": [2, 3]}})
    token = served.token("admin", user_id="operator")

    async def verified(*, repair: bool) -> list[messages.VerifyScoresResponse]:
        request = messages.VerifyScoresRequest(repair=repair)
        async with open_stream(served.stub.VerifyScores, request, token=token) as steps:
            return [step async for step in steps if not step.HasField("progress")]

    first = await verified(repair=True)
    assert "chain" in {step.finding.kind for step in first if step.HasField("finding")}
    for last in (first, await verified(repair=False), await verified(repair=True)):
        (seal,) = (step.seal for step in last if step.HasField("seal"))
        assert (seal.user_id, seal.first_revision, seal.last_revision) == ("gail", 2, 3)
        assert (seal.delta, seal.actor) == (500, "operator")
        assert last[-1].summary.seals == 1
    assert last[-1].summary.findings == 0
    assert dict(await system.board("all"))["gail"] == 500
    # An event that was lost in the gap and is still on record counts again.
    await system.publish(completed("gail", 300, quiz_id="gap-2"))
    await system.until_drained()
    assert dict(await system.board("all"))["gail"] == 800
    assert await system.verify() == []
    history = messages.ListScoreHistoryRequest(user_id="gail")
    changes = (await call(served.stub.ListScoreHistory, history, token=token)).changes
    assert [change.kind for change in changes] == [
        "QUIZ_COMPLETED",
        "CHAIN_CORRECTED",
        "QUIZ_COMPLETED",
        "CHAIN_SEALED",
        "QUIZ_COMPLETED",
    ]
    assert changes[3].actor == "operator"


async def test_effect_of_an_event_names_what_it_did_not_reach(served: Served) -> None:
    system, token = served.system, served.token("moderator")
    last_week = utc_now() - timedelta(days=7)
    board = Board.parse("weekly", last_week)
    period = period_of(board)
    assert period is not None
    coordination = CoordinationStore(system.database)
    await coordination.close_periods(milliseconds_of(period.ends_at))
    await eventually(
        lambda: coordination.all_closed(milliseconds_of(period.ends_at), timedelta(minutes=1)), "the workers' adoption"
    )
    late = completed("hugo", 30, at=last_week)
    await system.publish(late)
    effect = await call(served.stub.GetEventEffect, messages.GetEventEffectRequest(event_id=late.event_id), token=token)
    assert (effect.counted, effect.score_delta, effect.new_score) == (True, 30, 30)
    assert "all" in effect.boards_changed
    assert board.name in effect.closed_boards_unchanged
    unknown = messages.GetEventEffectRequest(event_id="unknown")
    assert await call(served.stub.GetEventEffect, unknown, token=token) == messages.GetEventEffectResponse()
    # The boards of the period can only be resealed once they are archived, which no worker here does.
    request = messages.ResealPeriodRequest(board="all", reason="a test")
    with pytest.raises(ServiceError) as error:
        await call(served.stub.ResealPeriod, request, token=token)
    assert error.value.reason is Reason.INVALID_ARGUMENT
