"""gRPC calls with the operator's token: one connection to one service, and the token to send with each call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, cast

from topten.action.v1.action_service_pb2_grpc import ActionServiceStub
from topten.attempt.v1.attempt_service_pb2_grpc import AttemptServiceStub
from topten.board.v1.board_service_pb2_grpc import BoardServiceStub
from topten.group.v1.group_service_pb2_grpc import GroupServiceStub
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub
from topten.room.v1.room_service_pb2_grpc import RoomServiceStub
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub
from topten.webhook.v1.webhook_service_pb2_grpc import WebhookServiceStub

from services.cli.system.client import Endpoints

if TYPE_CHECKING:
    from topten.action.v1.action_service_pb2_grpc import ActionServiceAsyncStub
    from topten.attempt.v1.attempt_service_pb2_grpc import AttemptServiceAsyncStub
    from topten.board.v1.board_service_pb2_grpc import BoardServiceAsyncStub
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub
    from topten.room.v1.room_service_pb2_grpc import RoomServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub
    from topten.webhook.v1.webhook_service_pb2_grpc import WebhookServiceAsyncStub

BULK_CALL_SECONDS: Final = 60.0
"""The timeout of a call about hundreds of things: one that is late on a busy machine ends the command."""


@asynccontextmanager
async def identity_service(endpoints: Endpoints) -> AsyncIterator[tuple[IdentityServiceAsyncStub, str]]:
    """Open the identity service."""
    async with endpoints.operator() as token, endpoints.channel("identity") as channel:
        yield cast("IdentityServiceAsyncStub", IdentityServiceStub(channel)), token


@asynccontextmanager
async def group_service(endpoints: Endpoints) -> AsyncIterator[tuple[GroupServiceAsyncStub, str]]:
    """Open the service of groups of players, which the identity process serves."""
    async with endpoints.operator() as token, endpoints.channel("identity") as channel:
        yield cast("GroupServiceAsyncStub", GroupServiceStub(channel)), token


@asynccontextmanager
async def quiz_service(endpoints: Endpoints) -> AsyncIterator[tuple[QuizServiceAsyncStub, str]]:
    """Open the quiz service."""
    async with endpoints.operator() as token, endpoints.channel("quiz") as channel:
        yield cast("QuizServiceAsyncStub", QuizServiceStub(channel)), token


@asynccontextmanager
async def room_service(endpoints: Endpoints) -> AsyncIterator[tuple[RoomServiceAsyncStub, str]]:
    """Open the service of rooms, which the quiz process serves."""
    async with endpoints.operator() as token, endpoints.channel("quiz") as channel:
        yield cast("RoomServiceAsyncStub", RoomServiceStub(channel)), token


@asynccontextmanager
async def attempt_service(endpoints: Endpoints) -> AsyncIterator[tuple[AttemptServiceAsyncStub, str]]:
    """Open the service of attempts, which the quiz process serves."""
    async with endpoints.operator() as token, endpoints.channel("quiz") as channel:
        yield cast("AttemptServiceAsyncStub", AttemptServiceStub(channel)), token


@asynccontextmanager
async def action_service(endpoints: Endpoints) -> AsyncIterator[tuple[ActionServiceAsyncStub, str]]:
    """Open the service of actions, which the quiz process serves."""
    async with endpoints.operator() as token, endpoints.channel("quiz") as channel:
        yield cast("ActionServiceAsyncStub", ActionServiceStub(channel)), token


@asynccontextmanager
async def score_service(endpoints: Endpoints) -> AsyncIterator[tuple[ScoreServiceAsyncStub, str]]:
    """Open the score service."""
    async with endpoints.operator() as token, endpoints.channel("score") as channel:
        yield cast("ScoreServiceAsyncStub", ScoreServiceStub(channel)), token


@asynccontextmanager
async def board_service(endpoints: Endpoints) -> AsyncIterator[tuple[BoardServiceAsyncStub, str]]:
    """Open the service of board definitions, which the score process serves."""
    async with endpoints.operator() as token, endpoints.channel("score") as channel:
        yield cast("BoardServiceAsyncStub", BoardServiceStub(channel)), token


@asynccontextmanager
async def webhook_service(endpoints: Endpoints) -> AsyncIterator[tuple[WebhookServiceAsyncStub, str]]:
    """Open the service of webhooks, which the score process serves."""
    async with endpoints.operator() as token, endpoints.channel("score") as channel:
        yield cast("WebhookServiceAsyncStub", WebhookServiceStub(channel)), token
