"""The stream of a real edge process: which events a client receives, by what it has seen before."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from topten.leaderboard.v1.leaderboard_service_pb2 import Standing

from tests.deadline import deadline, deadline_seconds
from tests.players import Event, stream
from tests.servers import unique
from tests.unit.edge.edge_process import EdgeProcess, edge_process
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard, frame
from tests.unit.edge.stream.streams import PATH, next_event, raw_stream
from tests.unit.runtime.issuer import Issuer


async def test_a_client_gets_the_current_frame_at_once_and_then_each_newer_one(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        first = await next_event(events)
        leaderboard.publish(frame(6, board=board))
        second = await next_event(events)
    assert [first.id, second.id] == ["1-5", "1-6"]
    assert first.name == "update"
    assert first.data == {
        "timestamp": "2026-11-23T20:00:00.000Z",
        "board": board,
        "version": 5,
        "stale": False,
        "frozenSince": None,
        "leaderboard": [
            {
                "rank": 1,
                "userId": "u1",
                "username": "Ada",
                "score": 999,
                "country": None,
                "previousRank": None,
                "gapToNext": None,
            }
        ],
    }


async def test_a_player_gets_their_own_standing_over_a_shared_upstream(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    ada, bob = unique("ada-"), unique("bob-")
    leaderboard.standings[ada] = Standing(user_id=ada, rank=17, score=40, previous_rank=19, gap_to_next=0)
    leaderboard.standings[bob] = Standing(user_id=bob)
    expected = {ada: (17, 40, 19, 0), bob: (None, 0, None, None)}
    async with AsyncExitStack() as stack:
        for user_id in (ada, bob, ada):
            token = issuer.token(sub=user_id, userId=user_id)
            events = await stack.enter_async_context(stream(edge.http, token, board))
            seen = [await next_event(events), await next_event(events)]
            me = next(event for event in seen if event.name == "me")
            names = ("rank", "score", "previousRank", "gapToNext")
            assert (me.id, me.data) == ("", {"board": board, **dict(zip(names, expected[user_id], strict=True))})
    assert [sorted(ids) for ids in leaderboard.rank_requests[-2:]] == [[ada], sorted([ada, bob])], (
        "one upstream for both"
    )


async def test_headers_forbid_proxies_to_buffer_or_change_a_stream(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{edge.http}{PATH}", params={"board": board}, headers=headers) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.headers["Cache-Control"] == "no-cache, no-transform"
            assert response.headers["X-Accel-Buffering"] == "no"
            assert response.headers["X-Request-Id"]
            assert (await response.content.readline()).startswith(b"retry: ")


async def test_streams_share_one_upstream_which_ends_after_the_last(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(1, board=board))
    token = issuer.token()
    async with stream(edge.http, token, board) as one, stream(edge.http, token, board) as two:
        assert (await next_event(one)).id == (await next_event(two)).id == "1-1"
        leaderboard.publish(frame(2, board=board))
        assert (await next_event(one)).id == (await next_event(two)).id == "1-2"
        assert leaderboard.opened[board] == 1
    await leaderboard.wait_open(board, 0)
    await edge.until_metric("topten_sse_connections", 0)


async def test_an_older_frame_is_never_sent(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, generation=2, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        await next_event(events)
        for generation, version in ((2, 4), (1, 9), (2, 5), (2, 6)):
            leaderboard.publish(frame(version, generation=generation, board=board))
        assert (await next_event(events)).id == "2-6"


@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_client_that_has_the_current_frame_gets_only_the_next_if_it_comes_soon(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path, by: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    settings = {"STREAM_CATCH_UP": f"{deadline_seconds():g}s", "STREAM_HEARTBEAT": "200ms"}
    async with edge_process(issuer, leaderboard, tmp_path / "log", **settings) as edge:
        resumed = {"Last-Event-ID": "1-5"} if by == "header" else {}
        query = {"board": board} if by == "header" else {"board": board, "lastEventId": "1-5"}
        headers = {"Authorization": f"Bearer {issuer.token()}"} | resumed
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{edge.http}{PATH}", params=query, headers=headers) as response,
            deadline("the next frame arrives"),
        ):
            lines = response.content
            while not (line := await lines.readline()).startswith(b":"):  # a heartbeat, so it has been joined
                assert not line.startswith(b"id")
            leaderboard.publish(frame(6, board=board))
            while not (line := await lines.readline()).startswith(b"id"):
                pass
            assert line == b"id: 1-6\n"


async def test_a_client_that_is_behind_gets_the_current_frame(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board, **{"Last-Event-ID": "1-3"}) as events:
        assert (await next_event(events)).id == "1-5"


async def test_a_stream_starts_once_the_edge_has_caught_up_with_its_client(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with edge_process(issuer, leaderboard, tmp_path / "log", STREAM_CATCH_UP=f"{deadline_seconds():g}s") as edge:
        ahead = asyncio.ensure_future(first_event(edge, issuer, board, "1-7"))
        await leaderboard.wait_open(board, 1)
        for version in (6, 7, 8):
            leaderboard.publish(frame(version, board=board))
        # The client has 7, so whichever frame is current by then, 5 and 6 are not sent.
        assert (await ahead).id in ("1-7", "1-8")


async def first_event(edge: EdgeProcess, issuer: Issuer, board: str, last: str) -> Event:
    async with stream(edge.http, issuer.token(), board, **{"Last-Event-ID": last}) as events:
        return await next_event(events)


async def test_a_client_that_is_ahead_gets_no_older_frame_while_the_edge_may_catch_up(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with (
        edge_process(issuer, leaderboard, tmp_path / "log", STREAM_CATCH_UP=f"{deadline_seconds():g}s") as edge,
        stream(edge.http, issuer.token(), board) as here,
        stream(edge.http, issuer.token(), board, **{"Last-Event-ID": "1-7"}) as ahead,
        stream(edge.http, issuer.token(), board, **{"Last-Event-ID": "1-99"}) as further,
    ):
        assert (await next_event(here)).id == "1-5", "a new client gets the current frame"
        for generation, version in ((1, 6), (1, 8), (2, 1), (2, 2)):
            leaderboard.publish(frame(version, generation=generation, board=board))
            assert (await next_event(here)).id == f"{generation}-{version}"
        assert (await next_event(ahead)).id == "1-8"
        assert (await next_event(further)).id == "2-1"


@pytest.mark.parametrize(
    "last_seen",
    [
        "1-5",
        "1-7",
        "1-999999999999999999",
        "2-1",
        "0-9",
        "",
        "5",
        "1-5-1",
        "-1-5",
        "1-٥",
        "1-" + "9" * 30,
        "quiz:x/1-5",
    ],
)
async def test_whatever_a_resume_id_says_the_current_frame_is_sent_within_two_ticks(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, last_seen: str
) -> None:
    """It may be of another board or period, of a store that is gone, or made up. The frame never changes here."""
    leaderboard.publish(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board, **{"Last-Event-ID": last_seen}) as events:
        assert (await next_event(events)).id == "1-5"
        leaderboard.publish(frame(6, board=board))
        assert (await next_event(events)).id == "1-6"


async def test_a_board_whose_store_went_back_is_shown_again(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, generation=2, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        assert (await next_event(events)).id == "2-5"
        for event_id in ("1-1", "1-2"):
            generation, _, version = event_id.partition("-")
            leaderboard.publish(frame(int(version), generation=int(generation), board=board))
            assert (await next_event(events)).id == event_id


async def test_a_calendar_board_ignores_the_last_event_id_of_an_earlier_period(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard
) -> None:
    leaderboard.publish(frame(1, board="weekly"))
    assert (await first_event(edge, issuer, "weekly", "1-900")).id == "1-1"


async def test_a_stream_over_http_1_0_is_not_chunked(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with raw_stream(edge, board, issuer.token(), version="1.0") as (reader, _), deadline("the frame arrives"):
        text = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" not in text
        text = await reader.readuntil(b"]}\n\n")
    assert text.startswith(b"retry: ")
    assert b"\r\n" not in text


async def test_a_heartbeat_is_a_comment_and_a_ping(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with raw_stream(edge, board, issuer.token()) as (reader, _), deadline("heartbeats arrive"):
        for _ in range(2):
            await reader.readuntil(b"3\r\n:\n\n\r\n")
            ping = (await reader.readuntil(b"\n\n\r\n")).partition(b"\r\n")[2]
            assert re.fullmatch(rb'event: ping\ndata: {"timestamp":"[-0-9T:.]+Z","interval":[0-9.]+}\n\n\r\n', ping)


async def test_hostile_names_stay_inside_their_event(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    name = 'x\n\ndata: {}\r\nevent: end\x00\x85\u2028\u2029<script>"\\'
    leaderboard.publish(frame(5, board=board, name=name))
    async with stream(edge.http, issuer.token(), board) as events:
        event = await next_event(events)
    assert event.name == "update"
    assert event.data["leaderboard"][0]["username"] == name


async def test_the_head_of_a_watched_board_is_read_without_a_call(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    """The scripted service has no GetLeaderboard, so data can only come from the frame that the edge holds."""
    leaderboard.publish(frame(5, board=board, entries=3))
    where = f'{{kind: QUIZ, quizId: "{board.removeprefix("quiz:")}"}}'

    async def top(limit: int) -> Any:
        body = {"query": f"{{ getLeaderboard(board: {where}, limit: {limit}) {{ rank username }} }}"}
        headers = {"Authorization": f"Bearer {issuer.token()}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{edge.http}/graphql", json=body, headers=headers) as response,
        ):
            return await response.json()

    assert (await top(2))["data"] == {"getLeaderboard": None}
    async with stream(edge.http, issuer.token(), board) as events:
        await next_event(events)
        response = await top(2)
        assert [entry["rank"] for entry in response["data"]["getLeaderboard"]] == [1, 2]
        assert "extensions" not in response
        assert (await top(4))["data"] == {"getLeaderboard": None}, "the frame has fewer entries"
        assert await top(2) == response, "from the cache"
        leaderboard.publish(frame(6, board=board, entries=3, name="Bob"))
        await next_event(events)
        changed = (await top(2))["data"]["getLeaderboard"]
        assert changed == [{"rank": 1, "username": "Bob"}, response["data"]["getLeaderboard"][1] | {"username": "Bob"}]
        url = f"{edge.http}/graphql"
        body = {"query": f"{{ getLeaderboard(board: {where}, limit: 2) {{ rank username }} }}"}
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as reply:
            anonymous = await reply.json()
        assert anonymous["errors"][0]["extensions"]["reason"] == "UNAUTHENTICATED", "cached for signed-in callers"
