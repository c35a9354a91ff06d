"""The stream of a real edge process, before a leaderboard service whose frames the test decides."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from topten.leaderboard.v1.leaderboard_service_pb2 import Standing

from tests.players import Event, stream
from tests.servers import unique
from tests.unit.edge.announcer import Announcer, EdgeProcess, announcing, edge_process, frame
from tests.unit.runtime.issuer import Issuer

HEARTBEAT = "200ms"
PATH = "/api/v1/leaderboard/stream"


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as opened:
        yield opened


@pytest.fixture(scope="module")
async def announcer() -> AsyncIterator[Announcer]:
    async with announcing() as serving:
        yield serving


@pytest.fixture(scope="module")
async def edge(
    issuer: Issuer, announcer: Announcer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EdgeProcess]:
    log = tmp_path_factory.mktemp("edge") / "edge.log"
    settings = {"STREAM_HEARTBEAT": HEARTBEAT, "STREAM_LINGER": "200ms", "STREAM_RETRY": "100ms"}
    async with edge_process(issuer, announcer, log, **settings) as process:
        yield process


@pytest.fixture
def board() -> str:
    return f"quiz:{unique('stream-')}"


async def following(events: AsyncIterator[Event]) -> Event:
    async with asyncio.timeout(10):
        return await anext(events)


async def answer(edge: EdgeProcess, path: str, **headers: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{edge.http}{path}", headers=headers) as response:
        body = await response.json(content_type=None) if response.status != 204 else None
        return response.status, response.headers.get("Content-Type", ""), body


@asynccontextmanager
async def raw(edge: EdgeProcess, request: str, **options: Any) -> AsyncIterator[tuple[Any, Any]]:
    host, _, port = edge.http.removeprefix("http://").partition(":")
    connection = socket.socket()
    for option, value in options.items():
        connection.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    writer.write(request.encode())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


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


async def test_hostile_names_change_nothing(
    edge: EdgeProcess, issuer: Issuer, announcer: Announcer, board: str
) -> None:
    name = 'x\n\ndata: {}\r\nevent: end\x00\x85\u2028\u2029<script>"\\'
    announcer.announce(frame(5, board=board, name=name))
    async with stream(edge.http, issuer.token(), board) as events:
        event = await following(events)
    assert event.name == "update"
    assert event.data["leaderboard"][0]["username"] == name


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
