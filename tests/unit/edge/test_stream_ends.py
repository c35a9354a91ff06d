"""How a stream goes on or ends: what is behind it is lost, its session ends, its reader leaves, its process stops."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import grpc

from tests.players import stream
from tests.unit.edge.announcer import Announcer, EdgeProcess, edge_process, frame
from tests.unit.edge.streams import PATH, answer, following, raw
from tests.unit.runtime.issuer import Issuer


async def test_the_last_frame_is_stale_while_the_upstream_is_lost_and_fresh_when_it_is_back(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        assert not (await following(events)).data["stale"]
        announcer.refuse(board, grpc.StatusCode.UNAVAILABLE)
        lost = await following(events)
        assert (lost.id, lost.data["stale"]) == ("1-5", True)
        async with stream(edge.http, issuer.token(), board) as later:
            assert (await following(later)).data["stale"]
        announcer.refuse(board, None)
        back = await following(events)
        assert (back.id, back.data["stale"]) == ("1-5", False)


async def test_a_stream_opens_while_the_leaderboard_is_away_and_shows_it_when_it_comes(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.refuse(board, grpc.StatusCode.UNAVAILABLE)
    async with stream(edge.http, issuer.token(), board) as events:
        announcer.announce(frame(1, board=board))
        announcer.refuse(board, None)
        assert (await following(events)).id == "1-1"


async def test_a_board_that_the_leaderboard_refuses_is_not_found(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.refuse(board, grpc.StatusCode.INVALID_ARGUMENT)
    status, content_type, body = await answer(edge, f"{PATH}?board={board}", Authorization=f"Bearer {issuer.token()}")
    assert (status, content_type) == (400, "application/problem+json")
    assert body["code"] == "INVALID_ARGUMENT"


async def test_a_period_that_has_closed_answers_204(edge: EdgeProcess, issuer: Issuer, announcer: Announcer) -> None:
    board = "weekly:2020-01"
    announcer.announce(frame(5, board=board))
    ending = asyncio.ensure_future(answer(edge, f"{PATH}?board={board}", Authorization=f"Bearer {issuer.token()}"))
    await announcer.until_open(board, 1)
    announcer.end(board)
    assert (await ending)[0] == 204


async def test_an_upstream_that_ends_for_another_reason_is_opened_again(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        await following(events)
        announcer.end(board)
        await announcer.until_open(board, 0)
        await announcer.until_open(board, 1)
        announcer.announce(frame(6, board=board))
        assert (await following(events)).id == "1-6"


async def test_a_reader_who_never_reads_is_cut_off_and_holds_up_nobody(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(1, board=board))
    cut = await edge.metric("topten_sse_dropped_total", reason="slow")
    request = f"GET {PATH}?board={board} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {issuer.token()}\r\n\r\n"
    async with raw(edge, request, SO_RCVBUF=4096) as (reader, _), stream(edge.http, issuer.token(), board) as events:
        await following(events)
        await reader.readline()
        reader._transport.pause_reading()
        for version in range(2, 62):  # some 40 KB each, which is more than all buffers on the way can hold
            announcer.announce(frame(version, board=board, name="x" * 300, entries=100))
            while (await following(events)).id != f"1-{version}":
                pass
        await edge.until_metric("topten_sse_dropped_total", cut + 1, reason="slow")
        announcer.announce(frame(99, board=board))
        while (await following(events)).id != "1-99":
            pass


async def test_a_stream_ends_with_the_session(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    announcer.announce(frame(5, board=board))
    token = issuer.token(exp=int(time.time()) + 2)
    async with stream(edge.http, token, board) as events:
        await following(events)
        async with asyncio.timeout(10):
            assert [event async for event in events] == []


async def test_readers_who_leave_are_forgotten_at_once(
    issuer: Issuer, announcer: Announcer, board: str, tmp_path: Path
) -> None:
    announcer.announce(frame(5, board=board))
    # No heartbeat comes in the time of this test, so it is the disconnect itself that is noticed.
    async with edge_process(issuer, announcer, tmp_path / "log", STREAM_HEARTBEAT="1h") as edge:
        for _ in range(20):
            async with stream(edge.http, issuer.token(), board) as events:
                await following(events)
        await edge.until_metric("topten_sse_connections", 0)


async def test_streams_end_in_order_when_the_process_stops(
    issuer: Issuer, announcer: Announcer, board: str, tmp_path: Path
) -> None:
    announcer.announce(frame(5, board=board))
    request = f"GET {PATH}?board={board} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {issuer.token()}\r\n\r\n"
    async with edge_process(issuer, announcer, tmp_path / "log") as edge:
        async with raw(edge, request) as (reader, _):
            await reader.readuntil(b"]}\n\n\r\n")
            stopping = asyncio.ensure_future(edge.stop())
            async with asyncio.timeout(10):
                farewell = await reader.read()
            assert b"retry: " in farewell
            assert farewell.endswith(b"0\r\n\r\n")
            assert await stopping == 0
        assert " error " not in edge.log
