"""A period that is over: closed when nothing of it can come any more, kept once, and the same for ever."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest_asyncio
from topten.quiz.v1 import quiz_service_pb2 as messages
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceServicer, add_QuizServiceServicer_to_server

from services.leaderboard.boards import Boards
from services.leaderboard.closed import ClosedBoards
from services.leaderboard.shelf import Shelf
from services.runtime.boards import Board, period, points_of
from services.runtime.clock import utc_now
from services.runtime.closed import DATABASE
from services.score.meta import Meta
from tests.servers import HOST, RunningServer
from tests.system.score import PATIENCE_SECONDS, QuizCompleted, ScoreSystem, completed, many, score_system, totals_of
from tests.unit.partly import partly
from tests.unit.runtime.issuer import Issuer

OFTEN = {"TOPTEN_SCORE_CLOSE_AFTER": "0", "TOPTEN_SCORE_CLOSE_INTERVAL": "100ms"}
THIS_WEEK = Board.parse("weekly", utc_now())


def last_week() -> datetime:
    """A time in the week that ended last."""
    counted = period(THIS_WEEK)
    assert counted is not None
    return counted.starts_at - timedelta(days=2)


LAST_WEEK = Board.parse("weekly", last_week())


@partly
class Quiz(QuizServiceServicer):
    """A quiz service of which only the outbox is asked."""

    address = ""
    oldest: datetime | None = None

    async def GetOutbox(self, request: messages.GetOutboxRequest, context: Any) -> messages.GetOutboxResponse:
        answer = messages.GetOutboxResponse()
        if self.oldest is not None:
            answer.oldest_waiting_at.FromDatetime(self.oldest)
        return answer

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
            **OFTEN,
            "TOPTEN_UPSTREAM_QUIZ": quiz.address,
            "TOPTEN_AUTH_TOKEN_URL": issuer.token_url,
            "TOPTEN_AUTH_CLIENT_ID": "score",
            "TOPTEN_AUTH_CLIENT_SECRET": "a secret of the test",
        }
        yield fresh


def closed_of(system: ScoreSystem) -> ClosedBoards:
    """A reader that remembers nothing yet."""
    database = system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"]
    return ClosedBoards(database, timeout=timedelta(seconds=5))


async def kept(system: ScoreSystem, board: Board = LAST_WEEK) -> list[tuple[str, int]]:
    """Players and points of a closed board in order, as soon as it is kept."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (reader := await closed_of(system).reader(board)) is None:
            await asyncio.sleep(0.05)
    head = await reader.head(board, 10_000)
    return [(user_id, points_of(value)) for user_id, value in head.members]


def in_last_week(events: list[QuizCompleted]) -> list[QuizCompleted]:
    for number, event in enumerate(events):
        event.payload.timestamp.FromDatetime(last_week() + timedelta(seconds=number))
    return events


async def test_a_period_is_kept_once_with_what_was_recorded_by_its_end(system: ScoreSystem, quiz: Quiz) -> None:
    quiz.oldest = last_week()
    events = in_last_week(many(300, players=40, seed=5))
    totals = {user: total for user, total in totals_of(events).items() if total > 0}
    async with system.worker():
        await system.publish(*events[:200])
        await system.settled()
        assert (await Meta(system.database).boards()).closed_through == 0, "something of it is not even published"
        await system.publish(*events[200:])
        await system.settled()
        expected = await system.board(LAST_WEEK.text)
        assert dict(expected) == totals
        quiz.oldest = utc_now()
        assert await kept(system) == expected

        late = in_last_week([completed("player-0", 7, quiz_id="late"), completed("newcomer", 9)])
        await system.publish(*late, completed("newcomer", 1, quiz_id="now"))
        await system.settled()
        assert await system.board(LAST_WEEK.text) == expected
        assert dict(await system.board("all"))["newcomer"] == 10
        assert dict(await system.board("all"))["player-0"] == totals.get("player-0", 0) + 7
        assert await system.board("weekly") == [("newcomer", 1)]
        assert await system.verified() == []

        before = await system.whole()
        await system.redis.flushall()
        await system.whole(than=before)
        assert await system.board(LAST_WEEK.text) == expected
    assert await kept(system) == expected


async def test_a_worker_that_stands_still_is_waited_for(system: ScoreSystem, quiz: Quiz) -> None:
    """It holds rows of the period that it will still insert; what is kept must have them, or they must be late."""
    quiz.oldest = last_week()
    events = in_last_week(many(3000, players=40, seed=6))
    async with system.worker(TOPTEN_SCORE_BATCH="20") as standing, system.worker(TOPTEN_SCORE_BATCH="20"):
        publishing = asyncio.create_task(system.publish(*events))
        await system.until_counted(200)
        os.kill(standing.pid, signal.SIGSTOP)
        rows = await system.database["ledger"].estimated_document_count()
        await system.until_counted(min(rows + 300, len(events)))
        await publishing
        # As if all of it had been recorded later: the rest of the stream may count or be late, but only one of both.
        counted = period(LAST_WEEK)
        assert counted is not None
        await Meta(system.database).close(int(counted.ends_at.timestamp() * 1000))
        os.kill(standing.pid, signal.SIGCONT)
        quiz.oldest = None
        found = await kept(system)
        await system.settled()
        assert found == await system.board(LAST_WEEK.text)
        assert await system.verified() == []
        documents = system.mongo.client[f"{system.environ['TOPTEN_MONGO_DATABASE']}_{DATABASE}"]
        assert await documents["closed"].count_documents({"_id": LAST_WEEK.text}) == 1
        assert await documents["closing"].count_documents({}) == 0
        assert await documents["closed_entries"].count_documents({}) >= len(found)


async def test_every_question_has_the_answer_that_the_open_board_had(system: ScoreSystem, quiz: Quiz) -> None:
    quiz.oldest = last_week()
    async with system.worker():
        await system.publish(*in_last_week(many(400, players=60, seed=7)))
        await system.settled()
        live = Boards(system.redis, timeout=timedelta(seconds=5))
        board, players = LAST_WEEK, [user for user, _ in await system.board(LAST_WEEK.text)]
        total = len(players)

        async def answers(reader: Any) -> list[Any]:
            found: list[Any] = [(await reader.head(board, 10)).members]
            places = await reader.places(board, [*players[::7], "nobody"])
            found.append({user: (place.rank, place.value) for user, place in places.items()})
            after = None
            for _ in range(4):
                page = await reader.page(board, 17, after, players[5])
                found.append((page.total, page.first, page.members, page.own and page.own.rank))
                after = page.members[-1] if page.members else after
            for user in (players[0], players[1], players[total // 2], players[-1], "nobody"):
                window = await reader.around(board, user, 3)
                found.append((window.total, window.members, window.members and window.first))
            found += [await reader.ahead(board, value, players[3]) for value in (0.5, 40.0, 10_000.0)]
            found += [await reader.quantile(board, share) for share in (0.1, 25, 50, 90, 100)]
            return found

        before = await answers(live)
        quiz.oldest = None
        await kept(system)
        shelf = Shelf(live, closed_of(system), now=utc_now)
        await system.redis.delete(board.key)
        assert await answers(shelf) == before
        listed = await closed_of(system).listed("weekly", None, 5)
        assert [(each.text, each.players) for each in listed] == [(LAST_WEEK.text, total)]
        assert await closed_of(system).listed("weekly", listed[0].ends_at, 5) == []
        assert listed[0].ends_at.tzinfo is UTC or listed[0].ends_at.utcoffset() == timedelta(0)
