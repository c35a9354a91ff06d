"""An edge process while its issuer is unavailable, and with clients that send slowly or leave early."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.deadline import deadline, eventually
from tests.unit.edge.edge_process import edge_process
from tests.unit.edge.scripted_leaderboard import scripted_leaderboard
from tests.unit.runtime.issuer import Issuer

QUERY = {"query": "{ __typename }"}


async def test_public_keys_are_served_while_the_issuer_is_unavailable(tmp_path: Path) -> None:
    async with Issuer() as issuer, scripted_leaderboard() as leaderboard:
        issuer.status = 500
        async with edge_process(issuer, leaderboard, tmp_path / "log") as edge, aiohttp.ClientSession() as session:
            keys = f"{edge.http}/.well-known/jwks.json"
            async with session.get(keys) as response:
                assert response.status == 503
                assert (await response.json(content_type=None))["code"] == "UNAVAILABLE"
            async with session.post(
                f"{edge.http}/graphql", json=QUERY, headers={"Authorization": f"Bearer {issuer.token()}"}
            ) as response:
                # The token cannot be verified, which does not make it invalid.
                assert response.status == 503
            issuer.status = 200

            async def keys_served() -> Any:
                async with session.get(keys) as response:
                    return (await response.json())["keys"] if response.status == 200 else None

            assert await eventually(keys_served, "the edge serves the keys") == issuer.published
            issuer.status = 500
            async with session.get(keys) as response:
                assert response.status == 200


async def test_a_body_that_does_not_arrive_times_out(tmp_path: Path) -> None:
    async with Issuer() as issuer, scripted_leaderboard() as leaderboard:
        async with edge_process(issuer, leaderboard, tmp_path / "log", BODY_TIMEOUT="100ms") as edge:
            host, _, port = edge.http.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            )
            async with deadline("the request times out"):
                assert (await reader.readline()).startswith(b"HTTP/1.1 408")
            writer.close()


async def test_clients_that_leave_before_the_response_cause_no_error(tmp_path: Path) -> None:
    async with Issuer() as issuer, scripted_leaderboard() as leaderboard:
        async with edge_process(issuer, leaderboard, tmp_path / "log") as edge:
            host, _, port = edge.http.removeprefix("http://").partition(":")
            body = b'{"query": "{ me { score } }"}'
            head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            token = f"Authorization: Bearer {issuer.token()}\r\n\r\n"
            for _ in range(50):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write((head + token).encode() + body)
                await writer.drain()
                writer.transport.abort()
            async with aiohttp.ClientSession() as session, session.post(f"{edge.http}/graphql", json=QUERY) as response:
                assert await response.json() == {"data": {"__typename": "Query"}}
            assert await edge.stop() == 0
            assert " error " not in edge.log


async def test_a_request_on_a_kept_connection_is_answered_while_the_edge_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its client is told to send the next one elsewhere. A connection that is closed under a request loses it."""
    monkeypatch.setenv("TOPTEN_SHUTDOWN_GRACE", "600s")  # a part of which is longer than this test
    async with Issuer() as issuer, scripted_leaderboard() as leaderboard:
        async with edge_process(issuer, leaderboard, tmp_path / "log") as edge, deadline("the edge answers and stops"):
            host, _, port = edge.http.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
            writer.write(request)
            assert b"Connection: close" not in await reader.readuntil(b"ok\n")
            edge.process.terminate()

            async def refuses_others() -> bool:
                try:
                    _, other = await asyncio.open_connection(host, int(port))
                except ConnectionRefusedError:
                    return True
                other.close()
                return False

            await eventually(refuses_others, "the edge does not listen any more")
            writer.write(request)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert b"Connection: close" in answer
            writer.close()
            assert await edge.process.wait() == 0


async def test_requests_that_http_refuses_get_a_problem_that_says_what_to_do(tmp_path: Path) -> None:
    async with Issuer() as issuer, scripted_leaderboard() as leaderboard:
        async with edge_process(issuer, leaderboard, tmp_path / "log", MAX_BODY_BYTES="1024") as edge:
            async with aiohttp.ClientSession(edge.http) as session:
                requests = {
                    404: session.get("/nowhere"),
                    405: session.delete("/graphql"),
                    406: session.get("/graphql", params={"query": "{__typename}"}, headers={"Accept": "text/plain"}),
                    413: session.post("/graphql", json={"query": " " * 2000}),
                    415: session.post("/graphql", data=b"x"),
                }
                details = {}
                for status, request in requests.items():
                    async with request as response:
                        assert response.status == status
                        details[status] = (await response.json(content_type="application/problem+json"))["detail"]
    assert len(set(details.values())) == len(details)
    assert "1024 bytes" in details[413]


async def test_a_browser_gets_the_page_for_an_unknown_address(tmp_path: Path) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    async with Issuer() as issuer, scripted_leaderboard() as leaderboard:
        async with edge_process(issuer, leaderboard, tmp_path / "log") as edge:
            async with aiohttp.ClientSession(edge.http, headers=browser) as session:
                async with session.get("/") as home, session.get("/nowhere") as unknown:
                    assert (home.status, unknown.status, unknown.content_type) == (200, 404, "text/html")
                    assert unknown.headers["Cache-Control"] == "no-store"
                    assert unknown.headers["Content-Security-Policy"] == home.headers["Content-Security-Policy"]
                    assert await unknown.text() == await home.text()
                    known = {"If-None-Match": home.headers["ETag"]}
                async with session.get("/nowhere", headers=known) as again:
                    assert again.status == 404
