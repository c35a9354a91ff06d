"""What a stream survives, and what ends it: a lost upstream, a slow or departed client, the stop of the process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import grpc

from tests.deadline import deadline
from tests.players import stream
from tests.unit.edge.edge_process import EdgeProcess, edge_process
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard, frame
from tests.unit.edge.stream.streams import PATH, get, next_event, next_update, raw_stream
from tests.unit.runtime.issuer import Issuer


async def test_frames_are_stale_while_the_upstream_is_lost_and_fresh_once_it_is_back(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        assert not (await next_event(events)).data["stale"]
        leaderboard.fail(board, grpc.StatusCode.UNAVAILABLE)
        lost = await next_event(events)
        assert (lost.id, lost.data["stale"]) == ("1-5", True)
        async with stream(edge.http, issuer.token(), board) as later:
            assert (await next_event(later)).data["stale"]
        leaderboard.fail(board, None)
        back = await next_event(events)
        assert (back.id, back.data["stale"]) == ("1-5", False)


async def test_a_stream_opens_while_the_leaderboard_is_unavailable_and_shows_its_first_frame(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.fail(board, grpc.StatusCode.UNAVAILABLE)
    async with stream(edge.http, issuer.token(), board) as events:
        leaderboard.publish(frame(1, board=board))
        leaderboard.fail(board, None)
        assert (await next_event(events)).id == "1-1"


async def test_a_board_that_the_leaderboard_refuses_fails_with_its_reason(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.fail(board, grpc.StatusCode.INVALID_ARGUMENT)
    status, content_type, body = await get(edge, f"{PATH}?board={board}", Authorization=f"Bearer {issuer.token()}")
    assert (status, content_type) == (400, "application/problem+json")
    assert body["code"] == "INVALID_ARGUMENT"


async def test_a_closed_period_responds_204_and_is_not_watched(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard
) -> None:
    played, never_played = "weekly:2020-01", "weekly:2020-02"
    leaderboard.closed = {played: frame(5, board=played), never_played: frame(0, board=never_played, entries=0)}
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    assert (await get(edge, f"{PATH}?board={played}", **headers))[0] == 204
    status, _, body = await get(edge, f"{PATH}?board={never_played}", **headers)
    assert (status, body["code"]) == (404, "BOARD_NOT_FOUND")
    assert not leaderboard.opened[played] + leaderboard.opened[never_played]


async def test_an_upstream_that_ends_before_its_period_is_opened_again(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with stream(edge.http, issuer.token(), board) as events:
        await next_event(events)
        leaderboard.end(board)
        await leaderboard.wait_open(board, 0)
        await leaderboard.wait_open(board, 1)
        leaderboard.publish(frame(6, board=board))
        assert (await next_event(events)).id == "1-6"


async def test_a_client_that_never_reads_is_cut_off_and_delays_nobody(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(1, board=board))
    token = issuer.token()
    dropped = await edge.metric("topten_sse_dropped_total", reason="slow")
    async with (
        raw_stream(edge, board, token, receive_buffer=4096) as (reader, writer),
        stream(edge.http, token, board) as events,
    ):
        await next_event(events)
        await reader.readline()
        cast("asyncio.Transport", writer.transport).pause_reading()
        for version in range(2, 62):  # 40 KB each, more than all buffers on the way hold
            leaderboard.publish(frame(version, board=board, name="x" * 300, entries=100))
            await next_update(events, f"1-{version}")
        await edge.until_metric("topten_sse_dropped_total", dropped + 1, reason="slow")
        leaderboard.publish(frame(99, board=board))
        await next_update(events, "1-99")


async def test_a_disconnect_is_noticed_without_a_heartbeat(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with edge_process(issuer, leaderboard, tmp_path / "log", STREAM_HEARTBEAT="1h") as edge:
        for _ in range(20):
            async with stream(edge.http, issuer.token(), board) as events:
                await next_event(events)
        await edge.until_metric("topten_sse_connections", 0)


async def test_streams_end_in_order_when_the_process_stops(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path
) -> None:
    leaderboard.publish(frame(5, board=board))
    async with edge_process(issuer, leaderboard, tmp_path / "log") as edge:
        async with raw_stream(edge, board, issuer.token()) as (reader, _), deadline("the stream ends"):
            await reader.readuntil(b"]}\n\n\r\n")
            stopping = asyncio.ensure_future(edge.stop())
            rest = await reader.read()
            assert b"retry: " in rest
            assert rest.endswith(b"0\r\n\r\n")
            assert await stopping == 0
        assert " error " not in edge.log
