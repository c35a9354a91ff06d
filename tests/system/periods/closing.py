"""Boards of a period that has just ended, and the score system that closes and archives them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest_asyncio
from topten.identity.v1 import identity_events_pb2
from topten.quiz.v1 import quiz_service_pb2 as messages
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceServicer, add_QuizServiceServicer_to_server

from services.boards.board import Board, period_of
from services.boards.encoding import points_of
from services.boards.periods.closed import DATABASE
from services.leaderboard.reading.archive import Archive
from services.runtime.clock import utc_now
from services.score.coordination_store import CoordinationStore
from services.score.periods.archive_store import ArchiveStore
from services.score.periods.resealing import PeriodResealer
from services.streams import PLAYER_BLOCKED, PLAYER_ERASED
from tests.deadline import deadline, deadline_seconds
from tests.servers import HOST, RunningServer
from tests.system.score import (
    QuizCompleted,
    ScoreSystem,
    score_system,
)
from tests.unit.partly import partly
from tests.unit.runtime.issuer import Issuer

FAST = {"TOPTEN_SCORE_CLOSE_AFTER": "0", "TOPTEN_SCORE_CLOSE_INTERVAL": "100ms"}
THIS_WEEK = Board.parse("weekly", utc_now())


def last_week() -> datetime:
    """Return a time in the previous week."""
    period = period_of(THIS_WEEK)
    assert period is not None
    return period.starts_at - timedelta(days=2)


LAST_WEEK = Board.parse("weekly", last_week())


@partly
class Quiz(QuizServiceServicer):
    """A quiz service that only serves its outbox."""

    address = ""
    oldest: datetime | None = None

    async def GetOutbox(self, request: messages.GetOutboxRequest, context: Any) -> messages.GetOutboxResponse:
        response = messages.GetOutboxResponse()
        if self.oldest is not None:
            response.oldest_waiting_at.FromDatetime(self.oldest)
        return response

    async def ListSubmittedEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED)
        yield


@pytest_asyncio.fixture
async def quiz() -> AsyncIterator[Quiz]:
    servicer = Quiz()  # type: ignore[abstract]  # only one method is called
    server = grpc.aio.server()
    add_QuizServiceServicer_to_server(servicer, server)
    servicer.address = f"{HOST}:{server.add_insecure_port(f'{HOST}:0')}"
    await server.start()
    yield servicer
    await server.stop(None)


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer], quiz: Quiz) -> AsyncIterator[ScoreSystem]:
    async with Issuer() as issuer, score_system(servers) as fresh:
        fresh.environ |= {
            **FAST,
            "TOPTEN_UPSTREAM_QUIZ": quiz.address,
            "TOPTEN_AUTH_TOKEN_URL": issuer.token_url,
            "TOPTEN_AUTH_CLIENT_ID": "score",
            "TOPTEN_AUTH_CLIENT_SECRET": "a secret of the test",
        }
        yield fresh


def archive_of(system: ScoreSystem) -> Archive:
    """Return a reader of the archive."""
    database = system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"]
    return Archive(database, timeout=timedelta(seconds=deadline_seconds()))


def archive_of_database(system: ScoreSystem) -> Any:
    """Return the database of closed boards."""
    return system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"]


async def archived(system: ScoreSystem, board: Board = LAST_WEEK) -> list[tuple[str, int]]:
    """Wait until a board is archived, and return its players and points in order."""
    async with deadline():
        while (found := await archive_of(system).find(board)) is None:
            await asyncio.sleep(0.05)
    head = await found.head(10_000)
    return [(user_id, points_of(value)) for user_id, value in head.members]


def in_last_week(events: list[QuizCompleted]) -> list[QuizCompleted]:
    for number, event in enumerate(events):
        event.payload.timestamp.FromDatetime(last_week() + timedelta(seconds=number))
    return events


def account_change(user_id: str, version: int, kind: str) -> bytes:
    event = identity_events_pb2.PlayerChangedEvent(event_id=str(uuid.uuid4()), event_type=kind)
    event.payload.user_id, event.payload.version = user_id, version
    event.payload.blocked, event.payload.country = kind in (PLAYER_BLOCKED, PLAYER_ERASED), "VN"
    event.payload.timestamp.FromDatetime(utc_now())
    return event.SerializeToString()


def resealer_of(system: ScoreSystem, archive: ArchiveStore) -> PeriodResealer:
    return PeriodResealer(system.store, CoordinationStore(system.database), archive, system.placement, now=utc_now)
