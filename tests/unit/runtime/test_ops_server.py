"""The internal HTTP port: alive from the first moment, ready only when everything is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.runtime.ops_server import OpsServer


class Http:
    def __init__(self, session: aiohttp.ClientSession, server: OpsServer) -> None:
        self.session = session
        self.server = server

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        async with self.session.request(method, f"http://127.0.0.1:{self.server.port}{path}") as response:
            return response.status, await response.text()

    async def checks(self) -> tuple[int, Any]:
        async with self.session.get(f"http://127.0.0.1:{self.server.port}/readyz") as response:
            return response.status, (await response.json())["checks"]


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with OpsServer("127.0.0.1:0") as server, aiohttp.ClientSession() as session:
        yield Http(session, server)


async def test_it_is_alive_before_it_is_ready(http: Http) -> None:
    assert await http.get("/livez") == (200, "ok\n")
    assert await http.checks() == (503, {"started": "failing"})


async def test_readiness_follows_the_life_of_the_process(http: Http) -> None:
    await http.server.start()  # as `run` does, after it was entered
    await http.server.announce()
    assert (await http.checks())[0] == 200
    await http.server.withdraw()
    assert (await http.checks())[0] == 503
    await http.server.stop()
    assert (await http.get("/livez"))[0] == 200


async def test_readiness_needs_every_store_and_says_no_more_than_which(http: Http) -> None:
    broken = True

    async def redis() -> None:
        if broken:
            raise OSError("10.0.0.7 password=hunter2")

    async def mongo() -> dict[str, int]:
        return {"ok": 1}

    http.server.add_ping("redis", redis)
    http.server.add_ping("mongo", mongo)
    await http.server.announce()
    assert await http.checks() == (503, {"started": "ok", "redis": "failing", "mongo": "ok"})
    assert "hunter2" not in (await http.get("/readyz"))[1]
    broken = False
    assert await http.checks() == (200, {"started": "ok", "redis": "ok", "mongo": "ok"})


async def test_a_store_that_hangs_is_a_store_that_fails(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.ops_server.PING_SECONDS", 0.05)
    http.server.add_ping("mongo", asyncio.Event().wait)
    await http.server.announce()
    assert await http.checks() == (503, {"started": "ok", "mongo": "failing"})


async def test_metrics_are_in_the_format_of_prometheus(http: Http) -> None:
    status, text = await http.get("/metrics")
    assert status == 200
    assert "# TYPE grpc_server_handled_total counter" in text or "# TYPE python_info gauge" in text


async def test_an_owner_adds_routes_at_any_time(http: Http) -> None:
    async def keys(request: web.Request) -> web.Response:
        return web.json_response({"keys": [], "method": request.method})

    assert (await http.get("/.well-known/jwks.json"))[0] == 404
    http.server.add_route("GET", "/.well-known/jwks.json", keys)
    status, text = await http.get("/.well-known/jwks.json")
    assert (status, '"keys": []' in text) == (200, True)
    assert (await http.get("/.well-known/jwks.json", "HEAD"))[0] == 200
    assert (await http.get("/.well-known/jwks.json", "POST"))[0] == 405
    assert (await http.get("/.well-known/jwks.json/"))[0] == 404


async def test_a_taken_port_fails_the_start(http: Http) -> None:
    with pytest.raises(OSError, match="address already in use"):
        async with OpsServer(f"127.0.0.1:{http.server.port}"):
            pytest.fail("two servers on one port")


async def test_a_probe_can_leave_out_what_all_share(http: Http) -> None:
    async def away() -> None:
        raise OSError

    http.server.add_ping("mongo", away)
    http.server.add_ping("redis", away)
    await http.server.announce()
    assert (await http.get("/readyz"))[0] == 503
    assert (await http.get("/readyz?exclude=mongo"))[0] == 503
    assert (await http.get("/readyz?exclude=mongo,redis"))[0] == 200
    await http.server.withdraw()
    assert (await http.get("/readyz?exclude=mongo,redis"))[0] == 503
