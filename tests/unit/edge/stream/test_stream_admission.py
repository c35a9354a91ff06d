"""Which clients may open a stream, of which boards, and how many."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from topten.room.v1 import room_pb2

from services.runtime.clock import utc_now
from tests.players import room_stream, stream
from tests.unit.edge.edge_process import EdgeProcess, edge_process
from tests.unit.edge.scripted_leaderboard import ScriptedLeaderboard, frame
from tests.unit.edge.stream.streams import PATH, get, next_event
from tests.unit.runtime.issuer import Issuer


async def test_a_process_refuses_streams_beyond_its_limit(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path
) -> None:
    leaderboard.publish(frame(5, board=board))
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    settings = {"STREAM_MAX_CONNECTIONS": "1"}
    async with edge_process(issuer, leaderboard, tmp_path / "log", **settings) as edge:
        async with stream(edge.http, issuer.token(), board) as events:
            await next_event(events)
            status, _, body = await get(edge, f"{PATH}?board={board}", **headers)
            assert (status, body["code"]) == (503, "UNAVAILABLE")


async def test_a_process_refuses_boards_beyond_its_limit(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path
) -> None:
    leaderboard.publish(frame(5, board=board))
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    async with edge_process(issuer, leaderboard, tmp_path / "log", STREAM_MAX_BOARDS="1") as edge:
        async with stream(edge.http, issuer.token(), board) as events:
            await next_event(events)
            status, _, body = await get(edge, f"{PATH}?board=all", **headers)
            assert (status, body["code"]) == (503, "UNAVAILABLE")
            async with stream(edge.http, issuer.token(), board) as more:
                assert (await next_event(more)).id == "1-5"


@pytest.mark.parametrize(
    ("query", "header"),
    [
        ("", None),
        ("", "Bearer nonsense"),
        ("", "Basic YTpi"),
        ("", "stream"),
        ("access", None),
        ("nonsense", None),
    ],
)
async def test_a_stream_without_a_valid_token_is_refused(
    edge: EdgeProcess, issuer: Issuer, query: str, header: str | None
) -> None:
    tokens = {"access": issuer.token(), "stream": issuer.token(headers={"typ": "stream+jwt"})}
    path = f"{PATH}?token={tokens.get(query, query)}" if query else PATH
    headers = {} if header is None else {"Authorization": f"Bearer {tokens[header]}" if header in tokens else header}
    status, content_type, body = await get(edge, path, **headers)
    assert (status, content_type) == (401, "application/problem+json")
    assert body["code"] == "UNAUTHENTICATED"
    assert set(body) == {"type", "title", "status", "detail", "instance", "code", "requestId"}


@pytest.mark.parametrize("by", ["url", "cookie"])
async def test_a_stream_token_opens_the_stream(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, by: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    token = issuer.token(headers={"typ": "stream+jwt"})
    url = f"{edge.http}{PATH}?board={board}" + (f"&token={token}" if by == "url" else "")
    headers = {"Cookie": f"topten_stream={token}"} if by == "cookie" else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200


async def test_the_cookie_of_another_origins_page_is_refused(edge: EdgeProcess, issuer: Issuer) -> None:
    token = issuer.token(headers={"typ": "stream+jwt"})
    headers = {"Cookie": f"topten_stream={token}", "Sec-Fetch-Site": "same-site"}
    status, _, body = await get(edge, PATH, **headers)
    assert (status, body["code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    "board",
    [
        "nonsense", "ALL", "Weekly", "weekly:2026-99", "weekly:2999-01", "monthly:2999-01", "country:Vietnam", "country:vn",
        "country:XX", "quiz:", "quiz:A", "quiz:unknown-1", "custom:x", "x" * 200,
    ],
)  # fmt: skip
async def test_a_name_that_is_no_board_is_not_found(edge: EdgeProcess, issuer: Issuer, board: str) -> None:
    status, content_type, body = await get(edge, f"{PATH}?board={board}", Authorization=f"Bearer {issuer.token()}")
    assert (status, content_type, body["code"]) == (404, "application/problem+json", "BOARD_NOT_FOUND")


async def test_names_of_no_board_take_no_place_and_a_board_that_exists_opens(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path
) -> None:
    leaderboard.publish(frame(5, board=board))
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    invented = [f"quiz:unknown-{n}" for n in range(5)] + ["country:ZZ", "weekly:2999-01", "custom:x"]
    async with edge_process(issuer, leaderboard, tmp_path / "log", STREAM_MAX_BOARDS="1") as edge:
        for name in invented * 2:
            status, _, body = await get(edge, f"{PATH}?board={name}", **headers)
            assert (status, body["code"]) == (404, "BOARD_NOT_FOUND")
            assert not leaderboard.opened[name]
        async with stream(edge.http, issuer.token(), board) as events:
            assert (await next_event(events)).id == "1-5"


async def test_pins_of_no_room_take_no_place_and_a_room_that_exists_opens(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, tmp_path: Path
) -> None:
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    leaderboard.rooms.phases |= {"123456": room_pb2.ROOM_PHASE_LOBBY, "654321": room_pb2.ROOM_PHASE_ENDED}
    async with edge_process(issuer, leaderboard, tmp_path / "log", STREAM_MAX_BOARDS="1") as edge:
        for method in ("GET", "HEAD"):
            for pin in ("000000", "000001", "0000002"):
                assert await status_of(edge, method, f"/api/v1/rooms/{pin}/stream", headers) == 404
            assert await status_of(edge, method, "/api/v1/rooms/654321/stream", headers) == 204
        assert leaderboard.rooms.watched == []
        async with room_stream(edge.http, issuer.token(), "123456") as events:
            assert (await next_event(events)).data["phase"] == "lobby"
            assert await status_of(edge, "HEAD", "/api/v1/rooms/123456/stream", headers) == 200


async def status_of(edge: EdgeProcess, method: str, path: str, headers: dict[str, str]) -> int:
    async with aiohttp.ClientSession() as session, session.request(method, edge.http + path, headers=headers) as got:
        return got.status


async def test_a_quiz_is_checked_once_for_all_clients(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    for user_id in ("ada", "bob"):
        async with stream(edge.http, issuer.token(sub=user_id, userId=user_id), board) as events:
            await next_event(events)
    assert leaderboard.quizzes.requested.count(board.removeprefix("quiz:")) == 1


async def test_spellings_of_one_board_share_a_feed(
    issuer: Issuer,
    leaderboard: ScriptedLeaderboard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOPTEN_BOARDS_DECLARED", "asean=weekly,VN+TH")
    week = "{}-W{:02}".format(*utc_now().isocalendar()[:2])
    leaderboard.publish(frame(5, board=f"custom:asean:{week}"))
    async with edge_process(issuer, leaderboard, tmp_path / "log") as edge:
        for spelling in (week, week.replace("W", "")):
            async with stream(edge.http, issuer.token(), f"custom:asean:{spelling}") as events:
                assert (await next_event(events)).id == "1-5"
    assert leaderboard.opened[f"custom:asean:{week}"] == 1


async def test_one_address_cannot_watch_all_boards(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path
) -> None:
    for each in (board, "all"):
        leaderboard.publish(frame(5, board=each))
    token = issuer.token()
    limits = {"STREAM_MAX_BOARDS_PER_ADDRESS": "1", "TRUSTED_PROXIES": "127.0.0.1"}
    async with edge_process(issuer, leaderboard, tmp_path / "log", **limits) as edge:
        one, same = {"X-Forwarded-For": "2001:db8::1"}, {"X-Forwarded-For": "2001:DB8:0:0:1::2"}
        async with stream(edge.http, token, board, **one) as events:
            await next_event(events)
            status, _, body = await get(edge, f"{PATH}?board=all", Authorization=f"Bearer {token}", **same)
            assert (status, body["code"]) == (429, "RATE_LIMITED")
            async with stream(edge.http, token, board, **same) as again:
                await next_event(again)
            async with stream(edge.http, token, "all", **{"X-Forwarded-For": "192.0.2.1"}) as elsewhere:
                await next_event(elsewhere)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/event-stream", 200),
        ("*/*", 200),
        ("application/json, text/*;q=0.1", 200),
        ("text/event-stream;q=0", 406),
        ("text/event-stream;q=0, */*", 406),
        ("application/json", 406),
    ],
)
async def test_a_stream_is_sent_only_to_a_client_that_accepts_it(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, accept: str, status: int
) -> None:
    leaderboard.publish(frame(5, board=board))
    headers = {"Authorization": f"Bearer {issuer.token()}", "Accept": accept}
    url = f"{edge.http}{PATH}?board={board}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == status


@pytest.mark.parametrize(("board", "status"), [("all", 200), ("quiz:unknown-1", 404), ("country:XX", 404)])
async def test_head_is_answered_without_a_stream(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, status: int
) -> None:
    opened = leaderboard.opened[board]
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    url = f"{edge.http}{PATH}?board={board}"
    async with aiohttp.ClientSession() as session, session.head(url, headers=headers) as response:
        assert response.status == status
        assert await response.read() == b""
        if status == 200:
            assert response.headers["Content-Type"] == "text/event-stream"
    async with aiohttp.ClientSession() as session, session.head(url) as response:
        assert response.status == 401
    assert leaderboard.opened[board] == opened


async def test_a_token_in_a_url_is_never_logged(
    edge: EdgeProcess, issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str
) -> None:
    leaderboard.publish(frame(5, board=board))
    token = issuer.token(headers={"typ": "stream+jwt"})
    async with aiohttp.ClientSession() as session, session.get(f"{edge.http}{PATH}?board={board}&token={token}"):
        pass
    await edge.until_metric("topten_sse_connections", 0)
    assert token not in edge.log


async def test_streams_beyond_the_limit_of_a_player_or_an_address_are_refused(
    issuer: Issuer, leaderboard: ScriptedLeaderboard, board: str, tmp_path: Path
) -> None:
    leaderboard.publish(frame(5, board=board))
    ada, bob, eve = (issuer.token(sub=name, userId=name, sid=None) for name in ("ada", "bob", "eve"))
    path = f"{PATH}?board={board}"
    limits = {"STREAM_MAX_PER_USER": "2", "STREAM_MAX_PER_ADDRESS": "3"}
    async with edge_process(issuer, leaderboard, tmp_path / "edge.log", **limits) as edge:
        async with stream(edge.http, ada, board), stream(edge.http, ada, board) as second:
            await next_event(second)
            status, content_type, body = await get(edge, path, Authorization=f"Bearer {ada}")
            assert (status, content_type, body["code"]) == (429, "application/problem+json", "RATE_LIMITED")
            async with stream(edge.http, bob, board):
                status, _, body = await get(edge, path, Authorization=f"Bearer {eve}")
                assert (status, body["code"]) == (429, "RATE_LIMITED")
        await edge.until_metric("topten_sse_connections", 0)
        async with stream(edge.http, eve, board) as events:
            assert (await next_event(events)).id == "1-5"
        assert await edge.metric("topten_rate_limited_total", operation="stream") == 2
