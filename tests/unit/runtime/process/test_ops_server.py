"""The internal HTTP port: alive from the first moment, ready while its process serves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from services.runtime.process.ops_server import OpsServer


class Http:
    def __init__(self, session: aiohttp.ClientSession, server: OpsServer) -> None:
        self.session = session
        self.server = server

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        async with self.session.request(method, f"http://127.0.0.1:{self.server.port}{path}") as response:
            return response.status, await response.text()


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with OpsServer("127.0.0.1:0") as server, aiohttp.ClientSession() as session:
        yield Http(session, server)


async def test_it_is_alive_before_it_is_ready(http: Http) -> None:
    assert await http.get("/livez") == (200, "ok\n")
    assert await http.get("/readyz") == (503, '{"ready": false}')


async def test_readiness_follows_the_life_of_the_process(http: Http) -> None:
    await http.server.start()  # as `run` does, after it was entered
    await http.server.announce()
    assert (await http.get("/readyz"))[0] == 200
    await http.server.withdraw()
    assert (await http.get("/readyz"))[0] == 503
    await http.server.stop()
    assert (await http.get("/livez"))[0] == 200


async def test_a_process_that_has_started_is_ready_while_its_condition_holds(http: Http) -> None:
    holds = False

    async def condition() -> bool:
        return holds

    http.server.require(condition)
    assert (await http.get("/startedz"))[0] == 503
    await http.server.announce()
    assert (await http.get("/startedz"))[0] == 200
    assert await http.get("/readyz") == (503, '{"ready": false}')
    holds = True
    assert await http.get("/readyz") == (200, '{"ready": true}')
    await http.server.withdraw()
    assert (await http.get("/readyz"))[0] == (await http.get("/startedz"))[0] == 503


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
