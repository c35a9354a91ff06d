"""Defined boards that are being filled: what is on them so far, marked as stale on every read path, and then the whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
from pymongo import AsyncMongoClient
from topten.leaderboard.v1.leaderboard_service_pb2 import WatchRanksRequest, WatchRanksResponse
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub

from services.cli.system.client import GraphqlClient
from services.cli.terminal_board.reading import BoardReader
from services.cli.terminal_board.standings import Standings, State
from services.runtime.clock import utc_now
from services.runtime.grpc.client import open_stream
from services.score.coordination_store import BUILDING_LEASE, CoordinationStore
from tests.deadline import deadline, eventually
from tests.players import Player, endpoints, register, stream, until
from tests.servers import RunningStack, unique
from tests.system.accounts.test_groups import PUT as PUT_GROUP
from tests.system.actions.test_player_actions import admin, define, submit
from tests.system.boards.test_boards_as_data import put, until_ready
from tests.system.graphql import Web
from tests.system.streams.test_stream_boards import position
from tests.system.views.test_frozen_boards import STREAM, answers

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

__all__ = ["admin"]
HOLDER: Final = "test"
QUESTIONS: Final = {
    f"Query.{field.partition('(')[0].partition(' ')[0]}": f"query ({given}) {{ {field} }}"
    for given, field in (
        ("$board: BoardInput!", "getLeaderboard(board: $board) { score }"),
        ("$board: BoardInput!", "leaderboard(board: $board) { totalCount }"),
        ("$board: BoardInput!, $user: ID!", "aroundPlayer(board: $board, userId: $user) { notFound }"),
        ("$board: BoardInput!, $user: ID!", "ranks(board: $board, userIds: [$user]) { entries { rank } notFound }"),
        ("$board: BoardInput!, $user: ID!", "percentile(board: $board, userId: $user)"),
        ("$board: BoardInput!", "scoreForPercentile(board: $board, percentile: 50)"),
        ("$board: BoardInput!", "rankIfScore(board: $board, points: 1)"),
        ("$board: BoardInput!, $group: ID!", "groupLeaderboard(board: $board, groupId: $group) { memberCount }"),
        ("$board: BoardInput!", "me { rank(board: $board) }"),
    )
}
LISTED: Final = "{ boards { key stale totalCount } }"
EXPORT: Final = "{ exportMyData { data } }"


@asynccontextmanager
async def nothing_is_built(stack: RunningStack) -> AsyncIterator[None]:
    """Hold the lease of those that fill boards: of a new board there is what is counted meanwhile, and no more."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with client:
        coordination = CoordinationStore(client["topten_score"])

        async def is_taken() -> bool:
            return await coordination.take_lease(HOLDER, timedelta(hours=1), BUILDING_LEASE)

        await eventually(is_taken, "the lease")
        try:
            yield
        finally:
            await coordination.release_lease(HOLDER, BUILDING_LEASE)


async def release(stack: RunningStack) -> None:
    """Let boards be filled again."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with client:
        await CoordinationStore(client["topten_score"]).release_lease(HOLDER, BUILDING_LEASE)


@asynccontextmanager
async def ranks_of(
    stack: RunningStack, board: str, *players: Player
) -> AsyncIterator[AsyncIterator[WatchRanksResponse]]:
    """Watch the standings of players."""
    async with grpc.aio.insecure_channel(stack.endpoints["grpc"]["leaderboard"]) as channel:
        stub = cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel))
        request = WatchRanksRequest(board=board, user_ids=[player.user_id for player in players])
        async with open_stream(stub.WatchRanks, request, token=players[0].access_token) as responses:
            yield aiter(responses)


async def newcomer_on(client: GraphqlClient, name: str, walk: str) -> Player:
    """Return a player who first acted when every worker knew the board, which therefore has them."""
    found: list[Player] = []

    async def is_on_it() -> bool:
        found.append(await register(client))
        await submit(found[-1], walk, wait="COUNTED")
        board = {"kind": "CUSTOM", "name": name}
        return any(entry["userId"] == found[-1].user_id for entry in await found[-1].top(board, limit=100))

    await eventually(is_on_it, "a newcomer on the board")
    return found[-1]


async def is_known(client: GraphqlClient, token: str, name: str) -> bool:
    """Whether readers know the board, and that it is being filled."""
    key = f"custom:{name}"
    return any(board["key"] == key and board["stale"] for board in (await client.execute(LISTED, {}, token))["boards"])


async def test_board_is_read_as_far_as_it_is_filled_on_every_path_and_then_whole(
    stack: RunningStack, client: GraphqlClient, web: Web, admin: str
) -> None:
    walk, name, veteran = await define(client, admin, "fixed"), unique("filling-")[:32], await register(client)
    for _ in range(2):
        await submit(veteran, walk, wait="COUNTED")
    board, seen = {"kind": "CUSTOM", "name": name}, []
    async with nothing_is_built(stack):
        await put(client, admin, name=name, sources=[f"action:{walk}"])
        await eventually(lambda: is_known(client, admin, name), "readers know the board")
        newcomer = await newcomer_on(client, name, walk)
        made = await client.execute(PUT_GROUP, {"input": {"title": "G"}}, newcomer.access_token)
        group_id = made["putGroup"]["group"]["groupId"]
        found = await answers(stack, web, name, newcomer, group_id)
        unmarked = {path for path, said in found.items() if '"stale": true' not in said}
        assert {path for path in unmarked if not path.startswith("Query.")} == {f"{STREAM} me"}, (
            "a frame says it for both"
        )
        for path in unmarked - {f"{STREAM} me"}:
            variables = {"board": board, "user": newcomer.user_id, "group": group_id}
            answer = await web.graphql(QUESTIONS[path], variables, token=newcomer.access_token)
            assert answer.body["extensions"]["stale"] is True, path
        page = await web.graphql(QUESTIONS["Query.ranks"], {"board": board, "user": veteran.user_id}, token=admin)
        assert page.body["data"]["ranks"] == {"entries": [], "notFound": [veteran.user_id]}, "who is not on it yet"
        result = await submit(newcomer, walk, wait="COUNTED", boards=[board])
        assert result["standings"] is None, "a place on a board that lacks players is no place"
        data = (await client.execute(EXPORT, {}, newcomer.access_token))["exportMyData"]["data"]
        assert {each["stale"] for each in data["standings"] if each["board"] == f"custom:{name}"} == {True}
        async with BoardReader(endpoints(stack)) as reader:
            standings = Standings(f"custom:{name}", reader.user_id)
            await reader.read(standings, utc_now())
            assert (standings.state, bool(standings.entries)) == (State.STALE, True)
        async with (
            stream(stack.http, newcomer.access_token, f"custom:{name}") as events,
            ranks_of(stack, f"custom:{name}", newcomer, veteran) as ranks,
        ):
            first = await until(events, lambda data: data["stale"] and bool(data["leaderboard"]))
            sent = await anext(ranks)
            assert (sent.stale, {each.user_id for each in sent.standings if each.rank}) == (True, {newcomer.user_id})
            seen.append(position(first.id))
            await release(stack)
            async with deadline("the stream shows the whole board"):
                async for event in events:
                    if event.name == "update":
                        seen.append(position(event.id))
                        if not event.data["stale"]:
                            break
            assert (veteran.username, 10) in [(each["username"], each["score"]) for each in event.data["leaderboard"]]
            async with deadline("the ranks are those of the whole board"):
                while sent.stale or len(sent.standings) < 2:
                    sent = await anext(ranks)
            assert {each.user_id for each in sent.standings if each.rank} == {newcomer.user_id, veteran.user_id}
    assert seen == sorted(seen), "frames never go backwards"
    await until_ready(client, admin, name)


async def test_changed_board_keeps_its_standings_until_the_new_ones_are_written(
    stack: RunningStack, client: GraphqlClient, admin: str
) -> None:
    walk, run = await define(client, admin, "fixed"), await define(client, admin, "fixed")
    name, player, seen = unique("changed-")[:32], await register(client), []
    await submit(player, walk, wait="COUNTED")
    for _ in range(2):
        await submit(player, run, wait="COUNTED")
    await put(client, admin, name=name, sources=[f"action:{walk}"])
    await until_ready(client, admin, name)
    async with stream(stack.http, player.access_token, f"custom:{name}") as events:
        await until(events, lambda data: not data["stale"] and scores(data) == [5])
        async with nothing_is_built(stack):
            await put(client, admin, name=name, sources=[f"action:{run}"])
            held = await until(events, lambda data: bool(data["stale"]))
            assert scores(held.data) == [5], "the former standings"
            seen.append(position(held.id))
        async with deadline("the new standings"):
            async for event in events:
                if event.name == "update":
                    seen.append(position(event.id))
                    assert (
                        scores(event.data) == [10] if not event.data["stale"] else scores(event.data) in ([5], [], [10])
                    )
                    if not event.data["stale"]:
                        break
    assert seen == sorted(seen), "frames never go backwards"


def scores(data: dict[str, Any]) -> list[int]:
    return [entry["score"] for entry in data["leaderboard"]]
