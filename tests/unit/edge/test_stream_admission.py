"""Who opens a stream and how many: tokens, boards, limits."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.players import stream
from tests.unit.edge.announcer import Announcer, EdgeProcess, edge_process, frame
from tests.unit.edge.streams import PATH, answer, following
from tests.unit.runtime.issuer import Issuer


async def test_a_process_opens_no_more_streams_than_it_may(
    issuer: Issuer, announcer: Announcer, board: str, tmp_path: Path
) -> None:
    announcer.announce(frame(5, board=board))
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    settings = {"STREAM_MAX_CONNECTIONS": "1"}
    async with edge_process(issuer, announcer, tmp_path / "log", **settings) as edge:
        async with stream(edge.http, issuer.token(), board) as events:
            await following(events)
            status, _, body = await answer(edge, f"{PATH}?board={board}", **headers)
            assert (status, body["code"]) == (503, "UNAVAILABLE")


async def test_a_process_watches_no_more_boards_than_it_may(
    issuer: Issuer, announcer: Announcer, board: str, tmp_path: Path
) -> None:
    announcer.announce(frame(5, board=board))
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    async with edge_process(issuer, announcer, tmp_path / "log", STREAM_MAX_BOARDS="1") as edge:
        async with stream(edge.http, issuer.token(), board) as events:
            await following(events)
            status, _, body = await answer(edge, f"{PATH}?board=all", **headers)
            assert (status, body["code"]) == (503, "UNAVAILABLE")
            async with stream(edge.http, issuer.token(), board) as more:
                assert (await following(more)).id == "1-5"


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
async def test_a_stream_without_a_good_token_is_refused(
    edge: EdgeProcess, issuer: Issuer, query: str, header: str | None
) -> None:
    tokens = {"access": issuer.token(), "stream": issuer.token(headers={"typ": "stream+jwt"})}
    path = f"{PATH}?token={tokens.get(query, query)}" if query else PATH
    headers = {} if header is None else {"Authorization": f"Bearer {tokens[header]}" if header in tokens else header}
    status, content_type, body = await answer(edge, path, **headers)
    assert (status, content_type) == (401, "application/problem+json")
    assert body["code"] == "UNAUTHENTICATED"
    assert set(body) == {"type", "title", "status", "detail", "instance", "code", "requestId"}


@pytest.mark.parametrize("by", ["url", "cookie"])
async def test_a_stream_token_opens_the_stream(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str, by: str
) -> None:
    announcer.announce(frame(5, board=board))
    token = issuer.token(headers={"typ": "stream+jwt"})
    url = f"{edge.http}{PATH}?board={board}" + (f"&token={token}" if by == "url" else "")
    headers = {"Cookie": f"topten_stream={token}"} if by == "cookie" else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200


async def test_the_cookie_opens_no_stream_for_another_origins_page(edge: EdgeProcess, issuer: Issuer) -> None:
    token = issuer.token(headers={"typ": "stream+jwt"})
    headers = {"Cookie": f"topten_stream={token}", "Sec-Fetch-Site": "same-site"}
    status, _, body = await answer(edge, PATH, **headers)
    assert (status, body["code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("board", ["nonsense", "weekly:2026-99", "country:Vietnam", "quiz:", "x" * 200])
async def test_what_is_no_board_is_not_found(edge: EdgeProcess, issuer: Issuer, board: str) -> None:
    status, content_type, body = await answer(edge, f"{PATH}?board={board}", Authorization=f"Bearer {issuer.token()}")
    assert (status, content_type, body["code"]) == (404, "application/problem+json", "BOARD_NOT_FOUND")


async def test_no_token_of_a_url_is_logged(edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str) -> None:
    announcer.announce(frame(5, board=board))
    token = issuer.token(headers={"typ": "stream+jwt"})
    async with aiohttp.ClientSession() as session, session.get(f"{edge.http}{PATH}?board={board}&token={token}"):
        pass
    await edge.until_metric("topten_sse_connections", 0)
    assert token not in edge.log


async def test_a_player_and_an_address_may_hold_so_many_streams_and_no_more(
    issuer: Issuer, announcer: Announcer, board: str, tmp_path: Path
) -> None:
    announcer.announce(frame(5, board=board))
    ada, bob, eve = (issuer.token(sub=name, userId=name, sid=None) for name in ("ada", "bob", "eve"))
    path = f"{PATH}?board={board}"
    limits = {"STREAM_MAX_PER_USER": "2", "STREAM_MAX_PER_ADDRESS": "3"}
    async with edge_process(issuer, announcer, tmp_path / "edge.log", **limits) as edge:
        async with stream(edge.http, ada, board), stream(edge.http, ada, board) as second:
            await following(second)
            status, content_type, body = await answer(edge, path, Authorization=f"Bearer {ada}")
            assert (status, content_type, body["code"]) == (429, "application/problem+json", "RATE_LIMITED")
            async with stream(edge.http, bob, board):
                status, _, body = await answer(edge, path, Authorization=f"Bearer {eve}")
                assert (status, body["code"]) == (429, "RATE_LIMITED")
        await edge.until_metric("topten_sse_connections", 0)
        async with stream(edge.http, eve, board) as events:
            assert (await following(events)).id == "1-5"
        assert await edge.metric("topten_rate_limited_total", operation="stream") == 2
