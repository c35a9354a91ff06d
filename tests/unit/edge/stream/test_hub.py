"""The hub over real connections: the end of a period, by a clock that the test moves, and the stop of the process."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from edge.config import EdgeConfig
from edge.http.callers.sessions import Sessions
from edge.stream.hub import ENDED_AT_ONCE, PACE_SECONDS, Hub, paced
from edge.stream.latency import ScreenLatency
from edge.stream.subscriber import Subscriber, retry_after
from edge.upstreams import open_upstreams
from services.boards.definition import Definition
from services.runtime.auth.claims import Claims
from services.runtime.auth.service_token import ServiceToken
from services.runtime.config.settings import TlsConfig, UpstreamConfig
from services.runtime.errors import Reason
from tests.deadline import deadline, deadline_seconds
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard, frame, scripted_leaderboard
from tests.unit.runtime.issuer import Issuer

BOARD = "weekly:2026-47"
ENDS_AT = datetime(2026, 11, 23, tzinfo=UTC)


@asynccontextmanager
async def opened_hub(
    now: Callable[[], datetime], heartbeat: timedelta = timedelta(hours=1)
) -> AsyncIterator[tuple[Hub, ScriptedLeaderboard]]:
    """A hub and the leaderboard service behind it."""
    async with (
        Issuer() as issuer,
        scripted_leaderboard() as leaderboard,
        ServiceToken(issuer.token_url, "edge", "s") as token,
    ):
        addresses = UpstreamConfig(leaderboard=leaderboard.address, identity=leaderboard.address)
        async with open_upstreams(addresses, TlsConfig(), token) as upstreams:
            config = EdgeConfig(stream_heartbeat=heartbeat)
            hub = Hub(upstreams, config, Sessions(upstreams), ScreenLatency(), now=now)
            await hub.start()
            yield hub, leaderboard
            await hub.stop()


@asynccontextmanager
async def connection(
    *, expires_at: float, board_version: int = 0, group_id: str = ""
) -> AsyncIterator[tuple[Subscriber, asyncio.StreamReader]]:
    """A subscriber and the client's end of its connection."""
    server_end, client_end = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=client_end)
    _, sending = await asyncio.open_connection(sock=server_end)
    try:
        claims = Claims("ada", "Ada", frozenset({"player"}), "", "", "access", expires_at)
        subscriber = Subscriber(
            claims, chunked=False, retry=timedelta(seconds=2), board_version=board_version, group_id=group_id
        )
        sending.transport.set_protocol(subscriber)
        subscriber.connection_made(sending.transport)
        yield subscriber, reader
    finally:
        sending.transport.abort()
        writer.transport.abort()


async def test_a_period_that_ends_shows_its_last_frame_then_its_end_and_is_not_watched_again() -> None:
    now = ENDS_AT - timedelta(minutes=1)
    async with opened_hub(lambda: now) as (hub, leaderboard):
        leaderboard.publish(frame(5, board=BOARD))
        async with connection(expires_at=now.timestamp() + 3600) as (subscriber, reader), deadline("the stream ends"):
            with hub.feed(BOARD) as feed:
                await feed.wait_ready(timedelta(seconds=deadline_seconds()))
                disconnected = asyncio.Event()
                feed.subscribe(subscriber, disconnected.set)
                assert b"id: 1-5\n" in await reader.readuntil(b"\n\n")

                now = ENDS_AT
                leaderboard.publish(frame(6, board=BOARD))
                leaderboard.end(BOARD)
                await disconnected.wait()

                assert b"id: 1-6\n" in await reader.readuntil(b"\n\n")
                assert await reader.readuntil(b"\n\n") == b'event: end\ndata: {"board":"weekly:2026-47"}\n\n'
                with hub.feed(BOARD) as same:
                    assert same.closed
            assert leaderboard.opened[BOARD] == 1


async def test_a_stream_ends_when_its_token_expires() -> None:
    now = ENDS_AT - timedelta(minutes=1)
    expires_at = now + timedelta(seconds=30)
    async with opened_hub(lambda: now, timedelta(milliseconds=100)) as (hub, leaderboard):
        leaderboard.publish(frame(5, board=BOARD))
        async with connection(expires_at=expires_at.timestamp()) as (subscriber, reader), deadline("the stream ends"):
            with hub.feed(BOARD) as feed:
                await feed.wait_ready(timedelta(seconds=deadline_seconds()))
                feed.subscribe(subscriber, lambda: None)
                while await reader.readuntil(b"\n\n") != b":\n\n":
                    pass  # until a heartbeat has found the token valid
                now = expires_at
                assert b"retry: " in await reader.read()


async def test_a_stream_ends_whose_board_was_hidden_while_it_opened() -> None:
    now = ENDS_AT - timedelta(minutes=1)
    async with opened_hub(lambda: now) as (hub, leaderboard):
        hub.catalog.update([Definition("own")], edition=1, numbers=0)
        leaderboard.publish(frame(5, board="custom:own"))
        version = hub.version("custom:own")
        async with (
            connection(expires_at=now.timestamp() + 3600, board_version=version) as (subscriber, reader),
            deadline("the stream ends"),
        ):
            with hub.feed("custom:own") as feed:
                await feed.wait_ready(timedelta(seconds=deadline_seconds()))
                hub.catalog.update([Definition("own", visibility="moderators", version=2)], edition=2, numbers=0)
                feed.subscribe(subscriber, lambda: None)
                assert b"retry: " in await reader.read()


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_stream_ends_when_its_player_leaves_the_group_but_not_when_identity_is_away(
    monkeypatch: pytest.MonkeyPatch, is_deleted: bool
) -> None:
    monkeypatch.setattr("edge.stream.hub.SESSION_CHECK_INTERVAL", timedelta(milliseconds=20))
    now = ENDS_AT - timedelta(minutes=1)
    async with opened_hub(lambda: now) as (hub, leaderboard):
        groups = leaderboard.groups
        hub.catalog.update([Definition("own", segment="group:g", visibility="members")], edition=1, numbers=0)
        leaderboard.publish(frame(5, board="custom:own"))
        version = hub.version("custom:own")
        async with (
            connection(expires_at=now.timestamp() + 3600, board_version=version, group_id="g") as (subscriber, reader),
            connection(expires_at=now.timestamp() + 3600, board_version=version) as (moderator, _),
            deadline("the stream ends"),
        ):
            with hub.feed("custom:own") as feed:
                await feed.wait_ready(timedelta(seconds=deadline_seconds()))
                for each in (subscriber, moderator):
                    feed.subscribe(each, lambda: None)
                assert [await groups.asked.get() for _ in range(2)] == ["g", "g"]
                groups.refuses = Reason.UNAVAILABLE
                while not groups.asked.empty():
                    groups.asked.get_nowait()
                for _ in range(2):
                    await groups.asked.get()
                assert subscriber.is_open, "who is away has not said that the player left"
                groups.members, groups.refuses = set(), Reason.GROUP_NOT_FOUND if is_deleted else None
                assert b"retry: " in await reader.read()
                assert moderator.is_open


@pytest.mark.parametrize("count", [0, 1, ENDED_AT_ONCE, ENDED_AT_ONCE + 1, 100_000])
@pytest.mark.parametrize("seconds", [1, 20, 600])
def test_a_process_that_stops_ends_many_streams_one_after_another_within_its_grace(count: int, seconds: int) -> None:
    batches = paced(range(count), timedelta(seconds=seconds))
    assert [stream for batch in batches for stream in batch] == list(range(count))
    assert len(batches) <= math.ceil(count / ENDED_AT_ONCE), "few streams do not wait"
    assert (len(batches) - 1) * PACE_SECONDS < seconds / 2


def test_a_client_of_a_stopped_process_is_back_within_two_seconds() -> None:
    """As EventSource does it: `retry:` is all that it waits for, again after each refused connection.

    Of two processes, a proxy may send connections to the dead one for a second or so.
    """
    longest = max(int(retry_after(EdgeConfig().stream_retry).plain.split()[1]) for _ in range(100))
    assert longest <= 400, "the rest is for the attempts that the dead process refuses, and the next frame"


async def test_a_stream_that_opens_while_the_process_stops_is_ended() -> None:
    now = ENDS_AT - timedelta(minutes=1)
    async with opened_hub(lambda: now) as (hub, leaderboard):
        leaderboard.publish(frame(5, board=BOARD))
        async with connection(expires_at=now.timestamp() + 3600) as (subscriber, reader), deadline("the hub stops"):
            with ExitStack() as stack:
                feed = stack.enter_context(hub.feed(BOARD))
                await feed.wait_ready(timedelta(seconds=deadline_seconds()))
                stopping = asyncio.ensure_future(hub.stop())
                await asyncio.sleep(0)  # it has ended the streams that are open, and waits for this one
                feed.subscribe(subscriber, stack.pop_all().close)
            assert (await reader.read()).startswith(b"retry: "), "the client is told when to reconnect"
            await stopping
