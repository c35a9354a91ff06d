"""The stream of a real edge process: what a reader is sent, by what he has seen."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from topten.leaderboard.v1.leaderboard_service_pb2 import Standing

from tests.players import Event, stream
from tests.servers import unique
from tests.unit.edge.announcer import Announcer, EdgeProcess, edge_process, frame
from tests.unit.edge.streams import PATH, following, raw
from tests.unit.runtime.issuer import Issuer


async def test_a_reader_gets_the_current_frame_at_once_and_then_each_newer_one(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        first = await following(events)
        announcer.announce(frame(6, board=board))
        second = await following(events)
    assert [first.id, second.id] == ["1-5", "1-6"]
    assert first.name == "update"
    assert first.data == {
        "timestamp": "2026-11-23T20:00:00.000Z",
        "board": board,
        "version": 5,
        "stale": False,
        "leaderboard": [
            {"rank": 1, "userId": "u1", "username": "Ada", "score": 999, "country": None, "previousRank": None}
        ],
    }


async def test_a_reader_is_told_where_he_stands_himself(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(5, board=board))
    ada, bob = unique("ada-"), unique("bob-")
    announcer.standings[ada] = Standing(user_id=ada, rank=17, score=40, previous_rank=19)
    announcer.standings[bob] = Standing(user_id=bob)
    expected = {ada: (17, 40, 19), bob: (None, 0, None)}
    async with AsyncExitStack() as stack:
        for user_id in (ada, bob, ada):
            token = issuer.token(sub=user_id, userId=user_id)
            events = await stack.enter_async_context(stream(edge.http, token, board))
            seen = [await following(events), await following(events)]
            me = next(event for event in seen if event.name == "me")
            rank, score, previous = expected[user_id]
            assert (me.id, me.data) == ("", {"board": board, "rank": rank, "score": score, "previousRank": previous})
    assert [sorted(ids) for ids in announcer.asked[-2:]] == [[ada], sorted([ada, bob])], "one upstream for both"


async def test_no_proxy_may_hold_or_change_a_stream(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(5, board=board))
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{edge.http}{PATH}", params={"board": board}, headers=headers) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.headers["Cache-Control"] == "no-cache, no-transform"
            assert response.headers["X-Accel-Buffering"] == "no"
            assert response.headers["X-Request-Id"]
            assert (await response.content.readline()).startswith(b"retry: ")


async def test_many_readers_share_one_upstream_which_ends_after_the_last(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(1, board=board))
    token = issuer.token()
    async with stream(edge.http, token, board) as one, stream(edge.http, token, board) as two:
        assert (await following(one)).id == (await following(two)).id == "1-1"
        announcer.announce(frame(2, board=board))
        assert (await following(one)).id == (await following(two)).id == "1-2"
        assert announcer.opened[board] == 1
    await announcer.until_open(board, 0)
    await edge.until_metric("topten_sse_connections", 0)


async def test_a_lower_frame_is_never_sent(edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str) -> None:
    announcer.announce(frame(5, generation=2, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        await following(events)
        for generation, version in ((2, 4), (1, 9), (2, 5), (2, 6)):
            announcer.announce(frame(version, generation=generation, board=board))
        assert (await following(events)).id == "2-6"


@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_reader_who_has_the_current_frame_gets_only_the_next(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str, by: str
) -> None:
    announcer.announce(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        assert (await following(events)).id == "1-5"
        resumed = {"Last-Event-ID": "1-5"} if by == "header" else {}
        address = board if by == "header" else board + "&lastEventId=1-5"
        url = f"{edge.http}{PATH}?board={address}"
        headers = {"Authorization": f"Bearer {issuer.token()}"} | resumed
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            lines = response.content
            while not (line := await lines.readline()).startswith(b":"):  # a heartbeat, so it has been joined
                assert not line.startswith(b"data")
            announcer.announce(frame(6, board=board))
            while not (line := await lines.readline()).startswith(b"id"):
                pass
            assert line == b"id: 1-6\n"


async def test_a_reader_who_has_less_gets_the_current_frame(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board, **{"Last-Event-ID": "1-3"}) as events:
        assert (await following(events)).id == "1-5"


async def test_a_reader_who_has_more_waits_for_it(
    issuer: Issuer, announcer: Announcer, board: str, tmp_path: Path
) -> None:
    announcer.announce(frame(5, board=board))
    async with edge_process(issuer, announcer, tmp_path / "log", STREAM_CATCH_UP="20s") as edge:
        ahead = asyncio.ensure_future(anext_of(edge, issuer, board, "1-7"))
        await announcer.until_open(board, 1)
        for version in (6, 7, 8):
            announcer.announce(frame(version, board=board))
        # 7 is what the reader has already, so whichever was there when it came, 5 and 6 were not sent.
        assert (await ahead).id in ("1-7", "1-8")


async def anext_of(edge: EdgeProcess, issuer: Issuer, board: str, last: str) -> Event:
    async with stream(edge.http, issuer.token(), board, **{"Last-Event-ID": last}) as events:
        return await following(events)


@pytest.mark.parametrize(("last", "shown"), [("1-7", "1-8"), ("1-99", "2-1")])
async def test_a_reader_who_has_more_is_sent_nothing_lower_however_far_behind_the_edge_is(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str, last: str, shown: str
) -> None:
    announcer.announce(frame(5, board=board))
    async with (
        stream(edge.http, issuer.token(), board) as here,
        stream(edge.http, issuer.token(), board, **{"Last-Event-ID": last}) as ahead,
    ):
        assert (await following(here)).id == "1-5", "who has seen nothing is shown what there is"
        for generation, version in ((1, 6), (1, 8), (2, 1), (2, 2)):
            announcer.announce(frame(version, generation=generation, board=board))
            assert (await following(here)).id == f"{generation}-{version}"
        assert (await following(ahead)).id == shown


async def test_a_board_that_follows_the_calendar_begins_its_counts_anew(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer
) -> None:
    announcer.announce(frame(1, board="weekly"))
    assert (await anext_of(edge, issuer, "weekly", "1-900")).id == "1-1"


async def test_a_stream_opened_by_a_client_of_http_1_0_is_not_chunked(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(5, board=board))
    request = f"GET {PATH}?board={board} HTTP/1.0\r\nAuthorization: Bearer {issuer.token()}\r\n\r\n"
    async with raw(edge, request) as (reader, _), asyncio.timeout(10):
        text = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" not in text
        text = await reader.readuntil(b"]}\n\n")
    assert text.startswith(b"retry: ")
    assert b"\r\n" not in text


async def test_heartbeats_are_comments(edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str) -> None:
    announcer.announce(frame(5, board=board))
    request = f"GET {PATH}?board={board} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {issuer.token()}\r\n\r\n"
    async with raw(edge, request) as (reader, _), asyncio.timeout(10):
        await reader.readuntil(b"3\r\n:\n\n\r\n")
        await reader.readuntil(b"3\r\n:\n\n\r\n")


async def test_hostile_names_change_nothing(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    name = 'x\n\ndata: {}\r\nevent: end\x00\x85\u2028\u2029<script>"\\'
    announcer.announce(frame(5, board=board, name=name))
    async with stream(edge.http, issuer.token(), board) as events:
        event = await following(events)
    assert event.name == "update"
    assert event.data["leaderboard"][0]["username"] == name


async def test_what_the_edge_holds_is_answered_without_a_call(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    """The announcer answers no GetLeaderboard, so that an answer can only be of the frame that is held."""
    announcer.announce(frame(5, board=board, entries=3))
    where = f'{{kind: QUIZ, quizId: "{board.removeprefix("quiz:")}"}}'

    async def asked(limit: int) -> Any:
        body = {"query": f"{{ getLeaderboard(board: {where}, limit: {limit}) {{ rank username }} }}"}
        headers = {"Authorization": f"Bearer {issuer.token()}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{edge.http}/graphql", json=body, headers=headers) as response,
        ):
            return await response.json()

    assert (await asked(2))["data"] == {"getLeaderboard": None}
    async with stream(edge.http, issuer.token(), board) as events:
        await following(events)
        found = await asked(2)
        assert [entry["rank"] for entry in found["data"]["getLeaderboard"]] == [1, 2]
        assert "extensions" not in found
        assert (await asked(4))["data"] == {"getLeaderboard": None}, "more than is held"
        assert await asked(2) == found, "as it was kept"
        announcer.announce(frame(6, board=board, entries=3, name="Bob"))
        await following(events)
        changed = (await asked(2))["data"]["getLeaderboard"]
        assert changed == [{"rank": 1, "username": "Bob"}, found["data"]["getLeaderboard"][1] | {"username": "Bob"}]
        url = f"{edge.http}/graphql"
        body = {"query": f"{{ getLeaderboard(board: {where}, limit: 2) {{ rank username }} }}"}
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            nobody = await response.json()
        assert nobody["errors"][0]["extensions"]["reason"] == "UNAUTHENTICATED", (
            "kept, but not for who is not signed in"
        )
