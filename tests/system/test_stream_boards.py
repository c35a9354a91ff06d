"""The stream on the whole system: what moves, what comes back after a break, and that time never runs backwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from topten.leaderboard.v1.leaderboard_service_pb2 import WatchLeaderboardRequest
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from topten.quiz.v1 import quiz_pb2

from services.local.client import GraphqlClient
from services.runtime.clock import utc_now
from services.runtime.grpc_client import open_stream
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, unique

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

RIGHT = [("q1", "a"), ("q2", "a")]


@pytest.fixture
async def player(stack: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield await register(client, country="IS")


@pytest.fixture
async def quiz_id(stack: RunningStack) -> str:
    """A quiz that may be taken again and again, each time for 2 000 points."""
    made = unique("stream-")
    await import_quiz(endpoints(stack), quiz_definition(made, points=1000, counting=quiz_pb2.COUNTING_SUM))
    return made


def position(event_id: str) -> tuple[int, int]:
    generation, _, version = event_id.partition("-")
    return int(generation), int(version)


@pytest.mark.parametrize("board", ["all", "weekly", "monthly", "country:IS", "quiz"])
async def test_an_answer_moves_every_board_it_counts_on(
    stack: RunningStack, player: Player, quiz_id: str, board: str
) -> None:
    text = f"quiz:{quiz_id}" if board == "quiz" else board
    async with stream(stack.http, player.access_token, text) as events:
        for _ in range(10):  # enough to be at the head of a board that others have played on
            await player.submit(quiz_id, RIGHT)
        update = await until(events, shows(player.username, 20_000))
    now = utc_now()
    named = {
        "weekly": "weekly:{}-{:02}".format(*now.isocalendar()[:2]),
        "monthly": f"monthly:{now:%Y-%m}",
    }
    assert update.data["board"] == named.get(text, text)
    assert update.data["stale"] is False
    entry = next(entry for entry in update.data["leaderboard"] if entry["username"] == player.username)
    assert set(entry) == {"rank", "userId", "username", "score", "country", "previousRank"}
    assert (entry["userId"], entry["country"]) == (player.user_id, "IS")
    assert [e["rank"] for e in update.data["leaderboard"]] == list(range(1, len(update.data["leaderboard"]) + 1))


async def test_frames_come_in_one_order_and_a_break_repeats_nothing(
    stack: RunningStack, player: Player, quiz_id: str
) -> None:
    board = f"quiz:{quiz_id}"
    seen = []
    async with stream(stack.http, player.access_token, board) as events:
        for number in range(1, 6):
            await player.submit(quiz_id, RIGHT)
            seen.append(await until(events, shows(player.username, number * 2000)))
    # Meanwhile nothing happened: who comes back with the last id is sent nothing but what happens next.
    async with stream(stack.http, player.access_token, board, **{"Last-Event-ID": seen[-1].id}) as events:
        await player.submit(quiz_id, RIGHT)
        following = await anext(events)
    positions = [position(event.id) for event in [*seen, following]]
    assert positions == sorted(set(positions))
    assert shows(player.username, 12_000)(following.data)


async def test_what_the_stream_shows_is_what_a_query_answers(stack: RunningStack, player: Player, quiz_id: str) -> None:
    await player.submit(quiz_id, RIGHT)
    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        update = await until(events, shows(player.username, 2000))
    assert update.data["leaderboard"] == await player.top({"kind": "QUIZ", "quizId": quiz_id})


async def test_another_team_s_watch_over_grpc_has_the_same_frames(
    stack: RunningStack, player: Player, quiz_id: str
) -> None:
    board = f"quiz:{quiz_id}"
    async with (
        stream(stack.http, player.access_token, board) as events,
        endpoints(stack).channel("leaderboard") as channel,
        open_stream(
            cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel)).WatchLeaderboard,
            WatchLeaderboardRequest(board=board),
            token=player.access_token,
        ) as answers,
    ):
        for score in (2000, 4000, 6000):
            await player.submit(quiz_id, RIGHT)
            update = await until(events, shows(player.username, score))
            async with asyncio.timeout(20):
                async for answer in answers:
                    if answer.frame.entries and answer.frame.entries[0].score >= score:
                        break
            frame = answer.frame
            assert update.id == f"{frame.generation}-{frame.version}"
            assert update.data["board"] == frame.board
            shown = [(entry.rank, entry.user_id, entry.username, entry.score) for entry in frame.entries]
            assert [(e["rank"], e["userId"], e["username"], e["score"]) for e in update.data["leaderboard"]] == shown


async def test_the_time_from_an_answer_to_the_screen_is_measured(
    stack: RunningStack, player: Player, quiz_id: str
) -> None:
    async def measured() -> float:
        async with aiohttp.ClientSession() as session, session.get(stack.endpoints["metrics"]["edge"]) as answer:
            families = text_string_to_metric_families(await answer.text())
        samples = [sample for family in families for sample in family.samples]
        return sum(s.value for s in samples if s.name == "topten_action_to_screen_seconds_count")

    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        await until(events, lambda data: True)
        before = await measured()
        await player.submit(quiz_id, RIGHT)
        await until(events, shows(player.username, 2000))
        assert await measured() == before + 1
