"""The services behind the edge: channels, stubs, and whether they serve.

Owns which methods may be sent twice. Must never hold a player's token: every call is handed one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from topten.quiz.v1 import quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.runtime.errors import ServiceError
from services.runtime.grpc_client import call, open_channel
from services.runtime.service_token import ServiceToken
from services.runtime.settings import TlsConfig, UpstreamConfig

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub

# Sent again on UNAVAILABLE. SubmitAction is one of them: an action counts once, however often it is sent.
IDEMPOTENT = (
    "/topten.identity.v1.IdentityService/AdmitPlayer",
    "/topten.identity.v1.IdentityService/GetUsers",
    "/topten.identity.v1.IdentityService/IssueStreamToken",
    "/topten.identity.v1.IdentityService/UpdateProfile",
    "/topten.identity.v1.IdentityService/BlockUser",
    "/topten.identity.v1.IdentityService/UnblockUser",
    "/topten.identity.v1.IdentityService/ExportAccount",
    "/topten.identity.v1.IdentityService/DeleteAccount",
    "/topten.quiz.v1.QuizService/ExportPlayer",
    "/topten.quiz.v1.QuizService/ListQuizzes",
    "/topten.quiz.v1.QuizService/GetQuiz",
    "/topten.quiz.v1.QuizService/SubmitAction",
    "/topten.quiz.v1.QuizService/VoidAction",
    "/topten.quiz.v1.QuizService/AdjustScore",
    "/topten.score.v1.ScoreService/ExportPlayer",
    "/topten.score.v1.ScoreService/GetScore",
    "/topten.score.v1.ScoreService/ListScoreHistory",
    "/topten.score.v1.ScoreService/ListFlags",
    "/topten.score.v1.ScoreService/CloseFlag",
    "/topten.leaderboard.v1.LeaderboardService/GetLeaderboard",
    "/topten.leaderboard.v1.LeaderboardService/GetRanks",
    "/topten.leaderboard.v1.LeaderboardService/ListEntries",
    "/topten.leaderboard.v1.LeaderboardService/GetAround",
    "/topten.leaderboard.v1.LeaderboardService/GetPercentile",
    "/topten.leaderboard.v1.LeaderboardService/GetScoreForPercentile",
    "/topten.leaderboard.v1.LeaderboardService/GetRankIfScore",
    "/topten.leaderboard.v1.LeaderboardService/ListBoards",
    "/topten.leaderboard.v1.LeaderboardService/ListClosedPeriods",
    "/topten.leaderboard.v1.LeaderboardService/ExportPlayer",
)
CHECK_SECONDS = 1.0
_log = structlog.get_logger("upstreams")


@dataclass(frozen=True)
class Upstreams:
    """The stubs, by service, and this process's own token."""

    identity: IdentityServiceAsyncStub
    quiz: QuizServiceAsyncStub
    score: ScoreServiceAsyncStub
    leaderboard: LeaderboardServiceAsyncStub
    health: Mapping[str, Any]
    service_token: ServiceToken


@asynccontextmanager
async def open_upstreams(
    config: UpstreamConfig, tls: TlsConfig, service_token: ServiceToken
) -> AsyncIterator[Upstreams]:
    """Stubs for the addresses of `config`. Nothing is connected before the first call."""
    addresses = {
        "identity": config.identity,
        "quiz": config.quiz,
        "score": config.score,
        "leaderboard": config.leaderboard,
    }
    async with AsyncExitStack() as stack:
        channels = {
            name: await stack.enter_async_context(
                open_channel(
                    address, tls, upstream=name, idempotent=[path for path in IDEMPOTENT if f".{name}." in path]
                )
            )
            for name, address in addresses.items()
        }
        yield Upstreams(
            identity=cast("IdentityServiceAsyncStub", IdentityServiceStub(channels["identity"])),
            quiz=cast("QuizServiceAsyncStub", QuizServiceStub(channels["quiz"])),
            score=cast("ScoreServiceAsyncStub", ScoreServiceStub(channels["score"])),
            leaderboard=cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channels["leaderboard"])),
            health={name: health_pb2_grpc.HealthStub(channel) for name, channel in channels.items()},
            service_token=service_token,
        )


class Readiness:
    """Whether the edge can do its work: every service serves and there is a quiz. Looked up at most once a second."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._checks: dict[str, bool] = {}
        self._checked_at = float("-inf")
        self._checking = asyncio.Lock()

    async def checks(self) -> Mapping[str, bool]:
        """What was asked, and whether it is good."""
        if self._old():
            async with self._checking:
                if self._old():
                    names = [*self._upstreams.health, "quizzes"]
                    outcomes = await asyncio.gather(*(self._check(name) for name in names))
                    self._checks = dict(zip(names, outcomes, strict=True))
                    self._checked_at = time.monotonic()
        return self._checks

    def _old(self) -> bool:
        return time.monotonic() - self._checked_at >= CHECK_SECONDS

    async def _check(self, name: str) -> bool:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await (self._has_quizzes() if name == "quizzes" else self._serves(name))
        except (ServiceError, TimeoutError) as error:
            _log.debug("not ready", check=name, error=type(error).__name__)
            return False

    async def _serves(self, name: str) -> bool:
        answer = await call(self._upstreams.health[name].Check, health_pb2.HealthCheckRequest(), timeout=CHECK_SECONDS)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _has_quizzes(self) -> bool:
        request = quiz_service_pb2.ListQuizzesRequest(page_size=1)
        token = await self._upstreams.service_token.get()
        answer = await call(self._upstreams.quiz.ListQuizzes, request, token=token, timeout=CHECK_SECONDS)
        return bool(answer.quizzes)
