"""The services behind the edge: channels, stubs, and readiness.

Must never keep a player's token: every call is passed one.
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
from topten.action.v1.action_service_pb2_grpc import ActionServiceStub
from topten.attempt.v1.attempt_service_pb2_grpc import AttemptServiceStub
from topten.authoring.v1.authoring_service_pb2_grpc import AuthoringServiceStub
from topten.board.v1.board_service_pb2_grpc import BoardServiceStub
from topten.group.v1.group_service_pb2_grpc import GroupServiceStub
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from topten.quiz.v1 import quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub
from topten.room.v1.room_service_pb2_grpc import RoomServiceStub
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub
from topten.status.v1.status_service_pb2_grpc import StatusServiceStub
from topten.webhook.v1.webhook_service_pb2_grpc import WebhookServiceStub

from edge.action_groups import ActionGroups
from edge.action_kinds import PlayerActions, QuizAnswers
from edge.room_kinds import JoinedSeat, RoomAnswers, RoomJoins
from edge.shared_reads import SharedReads
from services.runtime.auth.service_token import ServiceToken
from services.runtime.config.settings import TlsConfig, UpstreamConfig
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call, open_channel

if TYPE_CHECKING:
    from topten.action.v1.action_pb2 import ActionResult
    from topten.action.v1.action_service_pb2 import SubmitActionsRequest
    from topten.action.v1.action_service_pb2_grpc import ActionServiceAsyncStub
    from topten.attempt.v1.attempt_service_pb2_grpc import AttemptServiceAsyncStub
    from topten.authoring.v1.authoring_service_pb2_grpc import AuthoringServiceAsyncStub
    from topten.board.v1.board_service_pb2_grpc import BoardServiceAsyncStub
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2 import SubmitActionRequest, SubmitActionResponse
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub
    from topten.room.v1.room_service_pb2 import (
        AnswerRoomQuestionRequest,
        AnswerRoomQuestionResponse,
        JoinRoomRequest,
    )
    from topten.room.v1.room_service_pb2_grpc import RoomServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub
    from topten.status.v1.status_service_pb2_grpc import StatusServiceAsyncStub
    from topten.webhook.v1.webhook_service_pb2_grpc import WebhookServiceAsyncStub

CHECK_SECONDS = 1.0
_log = structlog.get_logger("upstreams")


@dataclass(frozen=True)
class Upstreams:
    """The stubs, by service, what submits actions of each kind through quiz, and this process's own token."""

    identity: IdentityServiceAsyncStub
    group: GroupServiceAsyncStub
    quiz: QuizServiceAsyncStub
    action: ActionServiceAsyncStub
    room: RoomServiceAsyncStub
    authoring: AuthoringServiceAsyncStub
    attempt: AttemptServiceAsyncStub
    score: ScoreServiceAsyncStub
    board: BoardServiceAsyncStub
    webhook: WebhookServiceAsyncStub
    leaderboard: LeaderboardServiceAsyncStub
    shared_reads: SharedReads
    health: Mapping[str, Any]
    quiz_answers: ActionGroups[SubmitActionRequest, SubmitActionResponse]
    player_actions: ActionGroups[SubmitActionsRequest, ActionResult]
    room_joins: ActionGroups[JoinRoomRequest, JoinedSeat]
    room_answers: ActionGroups[AnswerRoomQuestionRequest, AnswerRoomQuestionResponse]
    status: Mapping[str, StatusServiceAsyncStub]
    service_token: ServiceToken


@asynccontextmanager
async def open_upstreams(
    config: UpstreamConfig, tls: TlsConfig, service_token: ServiceToken
) -> AsyncIterator[Upstreams]:
    """Open stubs for the addresses of `config`, which connect at the first call."""
    addresses = {
        "identity": config.identity,
        "quiz": config.quiz,
        "score": config.score,
        "leaderboard": config.leaderboard,
    }
    async with AsyncExitStack() as stack:
        channels = {
            name: await stack.enter_async_context(open_channel(address, tls, upstream=name))
            for name, address in addresses.items()
        }
        quiz = cast("QuizServiceAsyncStub", QuizServiceStub(channels["quiz"]))
        action = cast("ActionServiceAsyncStub", ActionServiceStub(channels["quiz"]))
        room = cast("RoomServiceAsyncStub", RoomServiceStub(channels["quiz"]))
        leaderboard = cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channels["leaderboard"]))
        yield Upstreams(
            identity=cast("IdentityServiceAsyncStub", IdentityServiceStub(channels["identity"])),
            group=cast("GroupServiceAsyncStub", GroupServiceStub(channels["identity"])),
            quiz=quiz,
            action=action,
            attempt=cast("AttemptServiceAsyncStub", AttemptServiceStub(channels["quiz"])),
            room=room,
            authoring=cast("AuthoringServiceAsyncStub", AuthoringServiceStub(channels["quiz"])),
            score=cast("ScoreServiceAsyncStub", ScoreServiceStub(channels["score"])),
            board=cast("BoardServiceAsyncStub", BoardServiceStub(channels["score"])),
            webhook=cast("WebhookServiceAsyncStub", WebhookServiceStub(channels["score"])),
            leaderboard=leaderboard,
            shared_reads=SharedReads(leaderboard, service_token.get),
            health={name: health_pb2_grpc.HealthStub(channel) for name, channel in channels.items()},
            quiz_answers=ActionGroups(QuizAnswers(quiz), service_token.get),
            player_actions=ActionGroups(PlayerActions(action), service_token.get),
            room_joins=ActionGroups(RoomJoins(room), service_token.get),
            room_answers=ActionGroups(RoomAnswers(room), service_token.get),
            status={
                name: cast("StatusServiceAsyncStub", StatusServiceStub(channel)) for name, channel in channels.items()
            },
            service_token=service_token,
        )


class Readiness:
    """Whether a player would be served: every service serves, and there is a quiz. Checked at most once a second."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._checks: dict[str, bool] = {}
        self._has_passed = False
        self._checked_at = float("-inf")
        self._checking = asyncio.Lock()

    async def checks(self) -> Mapping[str, bool]:
        """Return the checks by name, and whether each passed."""
        if self._is_outdated():
            async with self._checking:
                if self._is_outdated():
                    names = [*self._upstreams.health, "quizzes"]
                    outcomes = await asyncio.gather(*(self._check(name) for name in names))
                    self._checks = dict(zip(names, outcomes, strict=True))
                    self._checked_at = time.monotonic()
        return self._checks

    async def takes_players(self) -> bool:
        """Whether players may be sent here: every check has passed once, and some service still responds.

        The outage of one service must not take all edges out of service; an edge that reaches none is cut off.
        """
        checks = await self.checks()
        self._has_passed = self._has_passed or all(checks.values())
        return self._has_passed and any(checks[name] for name in self._upstreams.health)

    def _is_outdated(self) -> bool:
        return time.monotonic() - self._checked_at >= CHECK_SECONDS

    async def _check(self, name: str) -> bool:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await (self._has_quizzes() if name == "quizzes" else self._serves(name))
        except (ServiceError, TimeoutError) as error:
            _log.debug("not ready", check=name, error=type(error).__name__)
            return False

    async def _serves(self, name: str) -> bool:
        check = self._upstreams.health[name].Check
        response = await call(check, health_pb2.HealthCheckRequest(), timeout=CHECK_SECONDS)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def _has_quizzes(self) -> bool:
        request = quiz_service_pb2.ListQuizzesRequest(page_size=1)
        token = await self._upstreams.service_token.get()
        response = await call(self._upstreams.quiz.ListQuizzes, request, token=token, timeout=CHECK_SECONDS)
        return bool(response.quizzes)
