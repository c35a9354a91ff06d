"""The stream on the whole system: which boards an action updates, and that frames are never repeated or reordered."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest, WatchLeaderboardRequest
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.clock import utc_now
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call, open_stream
from tests.deadline import deadline
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
    """A quiz that can be repeated, each time for 2 000 points."""
    made = unique("stream-")
    await import_quiz(endpoints(stack), quiz_definition(made, points=1000, counting=quiz_pb2.COUNTING_SUM))
    return made


def position(event_id: str) -> tuple[int, int]:
    generation, _, version = event_id.partition("-")
    return int(generation), int(version)


@pytest.mark.parametrize("board", ["all", "weekly", "monthly", "country:IS", "quiz"])
async def test_an_action_updates_every_board_it_counts_on(
    stack: RunningStack, player: Player, quiz_id: str, board: str
) -> None:
    text = f"quiz:{quiz_id}" if board == "quiz" else board
    async with stream(stack.http, player.access_token, text) as events:
        for _ in range(10):  # enough for the top 10 of a board that other tests have played on
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
    assert set(entry) == {"rank", "userId", "username", "score", "country", "previousRank", "gapToNext"}
    assert (entry["userId"], entry["country"]) == (player.user_id, "IS")
    assert [e["rank"] for e in update.data["leaderboard"]] == list(range(1, len(update.data["leaderboard"]) + 1))


async def test_frames_are_ordered_and_a_reconnect_repeats_none(
    stack: RunningStack, player: Player, quiz_id: str
) -> None:
    board = f"quiz:{quiz_id}"
    seen = []
    async with stream(stack.http, player.access_token, board) as events:
        for number in range(1, 6):
            await player.submit(quiz_id, RIGHT)
            seen.append(await until(events, shows(player.username, number * 2000)))
    # Nothing has changed since, so a client that reconnects with the last id gets only the next frame.
    async with stream(stack.http, player.access_token, board, **{"Last-Event-ID": seen[-1].id}) as events:
        await player.submit(quiz_id, RIGHT)
        next_event = await anext(events)
    positions = [position(event.id) for event in [*seen, next_event]]
    assert positions == sorted(set(positions))
    assert shows(player.username, 12_000)(next_event.data)


async def test_the_stream_and_a_query_show_the_same_entries(stack: RunningStack, player: Player, quiz_id: str) -> None:
    await player.submit(quiz_id, RIGHT)
    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        update = await until(events, shows(player.username, 2000))
    assert update.data["leaderboard"] == await player.top({"kind": "QUIZ", "quizId": quiz_id})


async def test_a_watch_over_grpc_receives_the_same_frames(stack: RunningStack, player: Player, quiz_id: str) -> None:
    board = f"quiz:{quiz_id}"
    async with (
        stream(stack.http, player.access_token, board) as events,
        endpoints(stack).channel("leaderboard") as channel,
        open_stream(
            cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel)).WatchLeaderboard,
            WatchLeaderboardRequest(board=board),
            token=player.access_token,
        ) as responses,
    ):
        for score in (2000, 4000, 6000):
            await player.submit(quiz_id, RIGHT)
            update = await until(events, shows(player.username, score))
            async with deadline("the frame arrives over gRPC"):
                async for response in responses:
                    if response.frame.entries and response.frame.entries[0].score >= score:
                        break
            frame = response.frame
            assert update.id == f"{frame.generation}-{frame.version}"
            assert update.data["board"] == frame.board
            shown = [(entry.rank, entry.user_id, entry.username, entry.score) for entry in frame.entries]
            assert [(e["rank"], e["userId"], e["username"], e["score"]) for e in update.data["leaderboard"]] == shown


async def test_action_to_screen_latency_is_measured(stack: RunningStack, player: Player, quiz_id: str) -> None:
    async def measured() -> float:
        async with aiohttp.ClientSession() as session, session.get(stack.endpoints["metrics"]["edge"]) as response:
            families = text_string_to_metric_families(await response.text())
        samples = [sample for family in families for sample in family.samples]
        return sum(s.value for s in samples if s.name == "topten_action_to_screen_seconds_count")

    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        await until(events, lambda data: True)
        before = await measured()
        await player.submit(quiz_id, RIGHT)
        await until(events, shows(player.username, 2000))
        assert await measured() == before + 1


async def test_uuids_are_read_in_any_case_and_names_in_one_everywhere(
    stack: RunningStack, player: Player, quiz_id: str
) -> None:
    action_id = str(uuid.uuid4())
    first = await player.submit(quiz_id, RIGHT, action_id.upper())
    again = await player.submit(quiz_id, RIGHT, action_id)
    assert (again["duplicate"], again["pointsAwarded"]) == (True, first["pointsAwarded"])
    board = {"kind": "QUIZ", "quizId": quiz_id}
    async with stream(stack.http, player.access_token, f"quiz:{quiz_id}") as events:
        await until(events, shows(player.username, 2000))
    around = "query ($board: BoardInput, $id: ID) { aroundPlayer(board: $board, userId: $id) { entries { userId } } }"
    data = await player.client.execute(around, {"board": board, "id": player.user_id.upper()}, player.access_token)
    assert [entry["userId"] for entry in data["aroundPlayer"]["entries"]] == [player.user_id]
    for kind, name in (("QUIZ", f"quiz:{quiz_id.upper()}"), ("COUNTRY", "country:is")):
        member = {"QUIZ": "quizId", "COUNTRY": "country"}[kind]
        with pytest.raises(GraphqlError) as refused:
            await player.top({"kind": kind, member: name.partition(":")[2]})
        assert refused.value.reason == "BOARD_NOT_FOUND"
        async with endpoints(stack).channel("leaderboard") as channel:
            stub = cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel))
            with pytest.raises(ServiceError) as missing:
                await call(stub.GetLeaderboard, GetLeaderboardRequest(board=name), token=player.access_token)
        assert missing.value.reason == "BOARD_NOT_FOUND"
        url, headers = f"{stack.http}/api/v1/leaderboard/stream", {"Authorization": f"Bearer {player.access_token}"}
        async with aiohttp.ClientSession() as web, web.get(url, params={"board": name}, headers=headers) as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (404, "BOARD_NOT_FOUND")
