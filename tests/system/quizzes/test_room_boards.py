"""The board of a room, `room:<room id>`, as any other is read: over GraphQL and the stream, at each step of the room."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from pymongo import AsyncMongoClient

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline, eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, Event, endpoints, register, room_stream, stream
from tests.servers import RunningStack, unique
from tests.system.quizzes.test_rooms import OPEN, Room

ENTRY = "{ userId username score rank country previousRank gapToNext user { username } }"
TOP = f"query ($board: BoardInput) {{ getLeaderboard(board: $board) {ENTRY} }}"
PAGE = """query ($board: BoardInput, $first: Int!, $after: String) {
  leaderboard(board: $board, first: $first, after: $after) {
    board { key kind period totalCount } totalCount stale pageInfo { hasNextPage endCursor }
    me { userId rank } edges { cursor node { username } }
  }
  me { rank(board: $board) }
}"""
AROUND = f"""query ($board: BoardInput, $userId: ID) {{
  aroundPlayer(board: $board, userId: $userId, radius: 1) {{ entries {ENTRY} notFound }}
}}"""
RANKS = (
    f"query ($board: BoardInput, $ids: [ID!]!) {{ ranks(board: $board, userIds: $ids) {{ entries {ENTRY} notFound }} }}"
)
KICK = "mutation ($pin: ID!, $seatId: ID!) { kickPlayer(pin: $pin, seatId: $seatId) { version } }"


@dataclass
class Game:
    """A room whose host and players have joined: seats by nickname, and the user ID of each account."""

    room: Room
    room_id: str
    seats: dict[str, str]
    user_ids: dict[str, str]

    @property
    def name(self) -> str:
        return f"room:{self.room_id}"

    @property
    def board(self) -> dict[str, str]:
        return {"kind": "ROOM", "roomId": self.room_id}

    async def ask(self, document: str, nickname: str = "", **variables: Any) -> dict[str, Any]:
        """What a player reads of the board, or the host."""
        token = self.room.players.get(nickname, self.room.host)
        data: dict[str, Any] = await self.room.client.execute(document, {"board": self.board, **variables}, token)
        return data

    async def until(self, phase: str) -> dict[str, Any]:
        while (state := await self.room.state())["phase"] != phase:
            await self.room.next()
        return state

    async def refused(self, document: str, token: str, **variables: Any) -> str:
        with pytest.raises(GraphqlError) as refusal:
            await self.room.client.execute(document, {"board": self.board, **variables}, token)
        return refusal.value.reason


@pytest.fixture
async def game(stack: RunningStack, client: GraphqlClient) -> Game:
    quiz_id = unique("room-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    host = await register(client)
    await grant_role(endpoints(stack), host.username, "author")
    token = await client.login(host.username, PASSWORD)
    opened = (await client.execute(OPEN, {"input": {"quizId": quiz_id, "options": {}}}, token))["openRoom"]
    ada, ben = await register(client), await register(client)
    room = Room(client, opened["pin"], token, {"Ada": ada.access_token, "Ben": ben.access_token})
    seats = {each: (await room.join(each, room.players[each]))["outcome"]["seatId"] for each in ("Ada", "Ben")}
    joined = await room.join("Gus", None)
    room.players["Gus"] = joined["accessToken"]
    seats["Gus"] = joined["outcome"]["seatId"]
    return Game(room, opened["roomId"], seats, {"Ada": ada.user_id, "Ben": ben.user_id})


async def next_of(events: AsyncIterator[Event], name: str) -> dict[str, Any]:
    """The next event with this name."""
    async with deadline(f"the stream sends {name}"):
        async for event in events:
            if event.name == name:
                return event.data
    raise AssertionError(f"the stream has ended without {name}")


async def status_of(stack: RunningStack, board: str, token: str) -> tuple[int, str]:
    url, headers = f"{stack.http}/api/v1/leaderboard/stream", {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, params={"board": board}, headers=headers) as response,
    ):
        is_problem = response.content_type == "application/problem+json"
        return response.status, (await response.json(content_type=None))["code"] if is_problem else ""


async def test_a_room_is_read_as_a_board_and_nobody_is_ahead_of_its_host(
    stack: RunningStack, game: Game, client: GraphqlClient
) -> None:
    room, seats = game.room, game.seats
    async with AsyncExitStack() as streams:
        ada, host = [
            await streams.enter_async_context(stream(stack.http, token, game.name))
            for token in (room.players["Ada"], room.host)
        ]
        first = await next_of(ada, "update")
        assert (first["board"], first["leaderboard"], first["stale"]) == (game.name, [], False)
        await room.command("startRoom")
        await room.answer("Ada", "q1", "a")
        await room.answer("Gus", "q1", "b")
        assert (await room.command("reveal"))[1]["phase"] == "REVEAL"
        for nickname in ("", "Ada"):
            assert (await game.ask(TOP, nickname))["getLeaderboard"] == [], "the host has shown no board"
        assert (await game.ask(PAGE, "Ada", first=10))["me"]["rank"] is None
        state = await game.until("BOARD")
        top = (await game.ask(TOP, "Gus"))["getLeaderboard"]
        assert [{"nickname": e["username"], "rank": e["rank"], "points": e["score"]} for e in top] == state["board"]
        assert [e["userId"] for e in top] == [seats["Ada"], seats["Ben"], seats["Gus"]]
        assert [(e["gapToNext"], e["previousRank"], e["country"], e["user"]) for e in top] == [
            (None, None, None, None),
            (10, None, None, None),
            (0, None, None, None),
        ]
        assert [(e["username"], e["rank"]) for e in top] == [("Ada", 1), ("Ben", 2), ("Gus", 2)]
        for events in (ada, host):
            update = first if events is ada else {}
            while update.get("version") != state["version"]:
                update = await next_of(events, "update")
            assert [(e["userId"], e["score"]) for e in update["leaderboard"]] == [
                (e["userId"], e["score"]) for e in top
            ]
        standing: dict[str, Any] = {}
        while not standing.get("rank"):
            standing = await next_of(ada, "me")
        assert standing == {"board": game.name, "rank": 1, "score": 10, "previousRank": None, "gapToNext": None}
        await game.until("QUESTION")
        await room.answer("Ben", "q2", "a")
        await room.command("reveal")
        assert (await game.ask(TOP, "Ben"))["getLeaderboard"] == top, "the second board is yet to be shown"
        await game.until("ENDED")
        final = await next_of(ada, "update")
        while final["leaderboard"][0]["score"] != final["leaderboard"][1]["score"]:
            final = await next_of(ada, "update")
        assert await next_of(ada, "end") == {"board": game.name}
    assert [(e["username"], e["score"]) for e in final["leaderboard"]] == [("Ada", 10), ("Ben", 10), ("Gus", 0)]
    assert await status_of(stack, game.name, room.players["Ada"]) == (204, "")
    assert [e["score"] for e in (await game.ask(TOP, "Ada"))["getLeaderboard"]] == [10, 10, 0]
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        await mongo["topten_quiz"]["rooms"].delete_one({"_id": game.room_id})
    assert await game.refused(TOP, room.players["Ada"]) == "BOARD_NOT_FOUND"
    assert await status_of(stack, game.name, room.players["Ada"]) == (404, "BOARD_NOT_FOUND")


async def test_own_places_pages_and_neighbors_are_those_of_the_room(game: Game) -> None:
    room, seats = game.room, game.seats
    await room.command("startRoom")
    await room.answer("Ben", "q1", "a")
    await game.until("BOARD")
    data = await game.ask(PAGE, "Gus", first=2)
    page = data["leaderboard"]
    assert page["board"] == {"key": game.name, "kind": "ROOM", "period": None, "totalCount": 3}
    assert (page["totalCount"], page["stale"], page["pageInfo"]["hasNextPage"]) == (3, False, True)
    assert [edge["node"]["username"] for edge in page["edges"]] == ["Ben", "Ada"]
    assert (page["me"]["userId"], page["me"]["rank"], data["me"]["rank"]) == (seats["Gus"], 2, 2)
    rest = (await game.ask(PAGE, first=2, after=page["pageInfo"]["endCursor"]))["leaderboard"]
    assert [edge["node"]["username"] for edge in rest["edges"]] == ["Gus"]
    assert (rest["pageInfo"]["hasNextPage"], rest["me"]) == (False, None), "the host has no seat"
    assert await game.refused(PAGE, room.host, first=2, after="eyJ9") == "INVALID_ARGUMENT"
    assert await game.refused(PAGE, room.host, first=0) == "INVALID_ARGUMENT"
    around = (await game.ask(AROUND, "Ada"))["aroundPlayer"]
    assert [entry["username"] for entry in around["entries"]] == ["Ben", "Ada", "Gus"]
    around = (await game.ask(AROUND, "Ada", userId=seats["Ben"]))["aroundPlayer"]
    assert [entry["username"] for entry in around["entries"]] == ["Ben", "Ada", "Gus"]
    assert (await game.ask(AROUND))["aroundPlayer"]["entries"] == []
    # Others are known by their seats alone: who they are elsewhere is not told.
    asked = [seats["Ben"], game.user_ids["Ben"], game.user_ids["Ada"], str(uuid.uuid4()), "x" * 100]
    ranks = (await game.ask(RANKS, "Ada", ids=[each.upper() for each in asked[:4]] + asked[4:]))["ranks"]
    assert [(entry["username"], entry["rank"]) for entry in ranks["entries"]] == [("Ben", 1), ("Ada", 2)]
    assert ranks["notFound"] == [asked[1], asked[3], asked[4]]
    capitals = {"kind": "ROOM", "roomId": game.room_id.upper()}
    page = (await game.ask(PAGE, "Gus", first=2, board=capitals))["leaderboard"]
    assert (page["board"]["key"], page["me"]["rank"]) == (game.name, 2), "ids in capitals are the same ids"


async def test_the_board_of_a_room_is_for_its_players_and_hosts(
    stack: RunningStack, game: Game, client: GraphqlClient
) -> None:
    room, eve = game.room, await register(client)
    moderator = await client.login(*endpoints(stack).moderator())
    assert (await client.execute(TOP, {"board": game.board}, moderator))["getLeaderboard"] == []
    assert await game.refused(TOP, eve.access_token) == "BOARD_NOT_FOUND"
    assert await status_of(stack, game.name, eve.access_token) == (404, "BOARD_NOT_FOUND")
    capitals = f"room:{game.room_id.upper()}"
    async with stream(stack.http, room.players["Ada"], capitals) as board:
        assert (await next_of(board, "update"))["board"] == game.name
    for name in ("room:", f"room:{room.pin}", f"room:{uuid.uuid4()}", f"{game.name}x"):
        assert await status_of(stack, name, room.host) == (404, "BOARD_NOT_FOUND")
    for room_id in ("x", str(uuid.uuid4())):
        with pytest.raises(GraphqlError) as unknown:
            await client.execute(TOP, {"board": {"kind": "ROOM", "roomId": room_id}}, room.host)
        assert unknown.value.reason == "BOARD_NOT_FOUND"
    # A player who is removed reads neither the board nor the room any more, and their streams end.
    async with stream(stack.http, room.players["Ben"], game.name) as board:
        await next_of(board, "update")
        async with room_stream(stack.http, room.players["Ben"], room.pin) as events:
            await next_of(events, "state")
            await client.execute(KICK, {"pin": room.pin, "seatId": game.seats["Ben"]}, room.host)
            assert await next_of(events, "end") == {"reason": "ROOM_CLOSED"}
        async with deadline("the stream of the board ends"):
            assert "end" not in [event.name async for event in board]
    assert await status_of(stack, game.name, room.players["Ben"]) == (404, "BOARD_NOT_FOUND")
    assert await game.refused(TOP, room.players["Ben"]) == "BOARD_NOT_FOUND"
    room_of = f'query {{ room(pin: "{room.pin}") {{ phase }} }}'
    assert await game.refused(room_of, room.players["Ben"]) == "ROOM_CLOSED"


async def test_what_is_not_read_of_a_room_says_so(stack: RunningStack, game: Game, client: GraphqlClient) -> None:
    token = await client.login(*endpoints(stack).moderator())
    fields = (
        "percentile(board: $board)",
        "scoreForPercentile(board: $board, percentile: 50)",
        "rankIfScore(board: $board, points: 1)",
        "closedPeriods(board: $board) { pageInfo { endCursor } }",
        "proof(board: $board) { head }",
    )
    documents = [f"query ($board: BoardInput!) {{ {field} }}" for field in fields]
    documents.append("mutation ($board: BoardInput!) { boardToken(board: $board) { token } }")
    for document in documents:
        with pytest.raises(GraphqlError, match="read of the board of a room") as unread:
            await client.execute(document, {"board": game.board}, token)
        assert unread.value.reason == "INVALID_ARGUMENT"
    with pytest.raises(GraphqlError) as missing:
        await client.execute(TOP, {"board": {"kind": "ROOM"}}, token)
    assert missing.value.reason == "INVALID_ARGUMENT"
    # Teams define boards of their own names alone.
    username = (await register(client)).username
    await grant_role(endpoints(stack), username, "admin")
    admin = await client.login(username, PASSWORD)
    define = 'mutation ($name: String!) { putBoard(input: {name: $name, title: "T", sources: ["all"]}) { changed } }'
    with pytest.raises(GraphqlError) as refused:
        await client.execute(define, {"name": game.name}, admin)
    assert refused.value.reason == "BOARD_DEFINITION_INVALID"


async def test_the_stream_of_a_room_board_goes_on_after_quiz_was_away(stack: RunningStack, game: Game) -> None:
    room = game.room
    async with stream(stack.http, room.players["Ada"], game.name) as events:
        await next_of(events, "update")
        pid = stack.pid_of("quiz")
        os.kill(pid, signal.SIGKILL)

        async def is_back() -> bool:
            try:
                return stack.pid_of("quiz") != pid and bool(await room.state())
            except (GraphqlError, aiohttp.ClientError):
                return False

        await eventually(is_back, "quiz is back")
        await room.command("startRoom")
        await room.answer("Ada", "q1", "a")
        await game.until("BOARD")
        update = await next_of(events, "update")
        while not update["leaderboard"] or update["stale"]:
            update = await next_of(events, "update")
        assert [entry["score"] for entry in update["leaderboard"]] == [10, 0, 0]


async def test_streams_of_a_room_that_went_back_show_it_as_it_is(stack: RunningStack, game: Game) -> None:
    """MongoDB was restored to an older moment of it. It goes on from there, also on screens that were ahead."""
    room, ada = game.room, game.room.players["Ada"]
    await room.command("startRoom")
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo, stream(stack.http, ada, game.name) as board, room_stream(stack.http, ada, room.pin) as events:
        rooms = mongo["topten_quiz"]["rooms"]
        before = await rooms.find_one({"_id": game.room_id})
        assert before is not None
        ahead = await game.until("BOARD")
        assert (await until_version(events, "state", ahead["version"]))["phase"] == "board"
        await until_version(board, "update", ahead["version"])
        await rooms.replace_one({"_id": game.room_id}, before)
        assert (await until_version(events, "state", before["revision"]))["phase"] == "question"
        assert (await until_version(board, "update", before["revision"]))["leaderboard"] == []
        again = await game.until("BOARD")
        assert (await until_version(events, "state", again["version"]))["phase"] == "board"
        assert len((await until_version(board, "update", again["version"]))["leaderboard"]) == len(game.seats)


async def until_version(events: AsyncIterator[Event], name: str, version: int) -> dict[str, Any]:
    """The next event with this name and version."""
    while (data := await next_of(events, name))["version"] != version:
        pass
    return data
