"""Players' own outcomes on the stream of a room, by a real edge process in front of a scripted service."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import count

import pytest
from topten.room.v1 import room_pb2

from edge.stream.frames import Message
from edge.stream.room_feed import outcomes_of
from edge.stream.room_outcomes import BATCH_SIZE, RoomOutcomeFeed
from edge.stream.subscriber import Subscriber
from edge.upstreams import open_upstreams
from services.runtime.auth.claims import Claims
from services.runtime.auth.service_token import ServiceToken
from services.runtime.config.settings import TlsConfig, UpstreamConfig
from tests.deadline import eventually
from tests.players import Event, room_stream, stream
from tests.servers import unique
from tests.unit.edge.edge_process import EdgeProcess
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard, ScriptedRooms
from tests.unit.edge.stream.streams import get, next_event
from tests.unit.runtime.issuer import Issuer

_pins = count(100_000)


@pytest.fixture
def rooms(leaderboard: ScriptedLeaderboard) -> ScriptedRooms:
    scripted = leaderboard.rooms
    scripted.requests.clear()
    scripted.answering.set()
    scripted.fails = False
    scripted.removed = set()
    return scripted


@pytest.fixture
def pin(rooms: ScriptedRooms) -> str:
    pin = str(next(_pins))
    rooms.phases[pin] = room_pb2.ROOM_PHASE_REVEAL
    return pin


class Streams:
    """The streams of a room, by user."""

    def __init__(self, edge: EdgeProcess, issuer: Issuer, pin: str, stack: AsyncExitStack) -> None:
        self._edge, self._issuer, self._pin, self._stack = edge, issuer, pin, stack

    async def open(self, user_id: str) -> AsyncIterator[Event]:
        token = self._issuer.token(sub=user_id, userId=user_id)
        return await self._stack.enter_async_context(room_stream(self._edge.http, token, self._pin))


async def seen(events: AsyncIterator[Event]) -> tuple[str, int]:
    event = await next_event(events)
    return event.name, event.data["version"]


async def asked_for(rooms: ScriptedRooms, user_id: str) -> None:
    async def has_asked() -> bool:
        return any(user_id in user_ids for _, user_ids in rooms.requests)

    await eventually(has_asked, f"the outcome of {user_id} is read")


async def test_each_player_with_a_seat_gets_their_own_outcome_after_the_state(
    edge: EdgeProcess, issuer: Issuer, rooms: ScriptedRooms, pin: str
) -> None:
    ada, ben, eve = unique("ada-"), unique("ben-"), unique("eve-")
    rooms.points |= {ada: 10, ben: 20}
    async with AsyncExitStack() as stack:
        streams = Streams(edge, issuer, pin, stack)
        ada_1, ada_2, ben_1, watcher = [await streams.open(user_id) for user_id in (ada, ada, ben, eve)]
        for events in (ada_1, ada_2, ben_1):
            assert [await seen(events), await seen(events)] == [("state", 1), ("me", 1)]
        assert await seen(watcher) == ("state", 1)
        await asked_for(rooms, eve)
        rooms.requests.clear()
        rooms.show(pin, 2)
        for events, user_id, points in ((ada_1, ada, 10), (ada_2, ada, 10), (ben_1, ben, 20)):
            assert await seen(events) == ("state", 2)
            me = await next_event(events)
            assert (me.name, me.id) == ("me", "")
            assert me.data == {
                "version": 2,
                "seatId": f"seat of {user_id}",
                "nickname": "",
                "answer": None,
                "verdict": None,
                "pointsAwarded": 0,
                "points": points,
                "rank": None,
                "extraTime": "NONE",
                "fullPoints": False,
                "deadline": None,
            }
        assert [(revision, sorted(users)) for revision, users in rooms.requests] == [(2, sorted([ada, ben, eve]))]
        rooms.show(pin, 3)
        assert await seen(watcher) == ("state", 2)
        assert await seen(watcher) == ("state", 3)


async def test_outcomes_of_a_version_that_is_over_are_dropped_and_all_are_asked_for_again(
    edge: EdgeProcess, issuer: Issuer, rooms: ScriptedRooms, pin: str
) -> None:
    ada = unique("ada-")
    rooms.points[ada] = 10
    async with AsyncExitStack() as stack:
        events = await Streams(edge, issuer, pin, stack).open(ada)
        assert [await seen(events), await seen(events)] == [("state", 1), ("me", 1)]
        rooms.answering.clear()
        rooms.requests.clear()
        rooms.show(pin, 2)
        assert await seen(events) == ("state", 2)
        await asked_for(rooms, ada)
        for version in (3, 4):
            rooms.show(pin, version)
            assert await seen(events) == ("state", version), "states do not wait for outcomes"
        rooms.answering.set()
        assert await seen(events) == ("me", 4)
        assert [revision for revision, _ in rooms.requests] == [2, 4]
        assert await edge.metric("topten_sse_room_outcomes_total", result="outdated") == 1


async def test_a_read_that_fails_costs_outcomes_until_the_next_transition(
    edge: EdgeProcess, issuer: Issuer, rooms: ScriptedRooms, pin: str
) -> None:
    ada = unique("ada-")
    rooms.points[ada] = 10
    async with AsyncExitStack() as stack:
        events = await Streams(edge, issuer, pin, stack).open(ada)
        assert [await seen(events), await seen(events)] == [("state", 1), ("me", 1)]
        rooms.fails = True
        rooms.show(pin, 2)
        assert await seen(events) == ("state", 2)
        await edge.until_metric("topten_sse_room_outcomes_total", 1, result="failed")
        rooms.fails = False
        rooms.show(pin, 3)
        assert [await seen(events), await seen(events)] == [("state", 3), ("me", 3)]


class Recorded(Subscriber):
    """A stream that keeps what is written to it."""

    def __init__(self, user_id: str) -> None:
        claims = Claims(user_id, "", frozenset({"player"}), "", "", "access", 0)
        super().__init__(claims, chunked=False, retry=timedelta(seconds=2))
        self.written: list[bytes] = []

    def write(self, message: Message) -> None:
        self.written.append(message.plain)


async def test_outcomes_of_many_players_are_read_in_batches(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, rooms: ScriptedRooms, pin: str
) -> None:
    players = [Recorded(unique("player-")) for _ in range(2 * BATCH_SIZE + 1)]
    rooms.points |= {player.user_id: 10 for player in players}
    upstream = UpstreamConfig(leaderboard=leaderboard.address, quiz=leaderboard.address)
    async with (
        ServiceToken(issuer.token_url, "edge", "s") as token,
        open_upstreams(upstream, TlsConfig(), token) as upstreams,
    ):
        outcomes = RoomOutcomeFeed(pin, outcomes_of(pin, upstreams))
        outcomes.follow(1, [*players, Recorded("")])
        outcomes.unsubscribe(players[-1])
        outcomes.follow(1, players)

        async def all_have_theirs() -> bool:
            return all(player.written for player in players[:-1])

        await eventually(all_have_theirs, "each player has their outcome")
        await outcomes.close()
    assert [len(user_ids) for _, user_ids in rooms.requests] == [BATCH_SIZE, BATCH_SIZE]
    assert not players[-1].written
    for player in players[:-1]:
        (written,) = player.written
        assert f"seat of {player.user_id}".encode() in written


async def test_a_removed_player_is_told_and_shown_the_room_no_more(
    edge: EdgeProcess, issuer: Issuer, rooms: ScriptedRooms, pin: str
) -> None:
    ada, ben = unique("ada-"), unique("ben-")
    rooms.points |= {ada: 10, ben: 20}
    async with AsyncExitStack() as stack:
        streams = Streams(edge, issuer, pin, stack)
        ada_1, ada_2, ben_1 = [await streams.open(user_id) for user_id in (ada, ada, ben)]
        for events in (ada_1, ada_2, ben_1):
            assert [await seen(events), await seen(events)] == [("state", 1), ("me", 1)]
        rooms.removed = {ada}
        rooms.show(pin, 2)
        for events in (ada_1, ada_2):
            assert await seen(events) == ("state", 2)
            end = await next_event(events)
            assert (end.name, end.id, end.data) == ("end", "", {"reason": "ROOM_CLOSED"})
            assert [event async for event in events] == []
        assert [await seen(ben_1), await seen(ben_1)] == [("state", 2), ("me", 2)]
        headers = {"Authorization": f"Bearer {issuer.token(sub=ada, userId=ada)}"}
        for _ in range(2):
            status, _, body = await get(edge, f"/api/v1/rooms/{pin}/stream", **headers)
            assert (status, body["code"]) == (409, "ROOM_CLOSED")
        assert [await seen(await streams.open(ben))] == [("state", 2)]
        assert await edge.metric("topten_sse_dropped_total", reason="removed") == 2


async def test_a_room_whose_store_went_back_is_shown_again(
    edge: EdgeProcess, issuer: Issuer, rooms: ScriptedRooms, pin: str
) -> None:
    ada = unique("ada-")
    rooms.points[ada] = 10
    async with AsyncExitStack() as stack:
        events = await Streams(edge, issuer, pin, stack).open(ada)
        assert [await seen(events), await seen(events)] == [("state", 1), ("me", 1)]
        rooms.show(pin, 4)
        assert [await seen(events), await seen(events)] == [("state", 4), ("me", 4)]
        rooms.show(pin, 3)  # another instance of quiz may be behind for a moment
        rooms.show(pin, 5)
        assert [await seen(events), await seen(events)] == [("state", 5), ("me", 5)]
        rooms.show(pin, 2)
        assert [await seen(events), await seen(events)] == [("state", 2), ("me", 2)]
        rooms.show(pin, 3)
        assert [await seen(events), await seen(events)] == [("state", 3), ("me", 3)]


async def test_the_board_of_a_room_whose_store_went_back_is_shown_again(
    edge: EdgeProcess, issuer: Issuer, rooms: ScriptedRooms
) -> None:
    room_id = str(uuid.uuid4())
    rooms.phases[room_id] = room_pb2.ROOM_PHASE_BOARD
    async with stream(edge.http, issuer.token(), f"room:{room_id}") as events:
        for revision in (1, 5, 2, 3):
            if revision > 1:
                rooms.show(room_id, revision)
            assert await shown_board(events) == revision


async def shown_board(events: AsyncIterator[Event]) -> int:
    """The version of the next frame of a board."""
    while (event := await next_event(events)).name != "update":
        pass
    version: int = event.data["version"]
    return version
