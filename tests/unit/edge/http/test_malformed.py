"""What the server does whatever a client does: a request that is under way is finished."""

from __future__ import annotations

import asyncio

from aiohttp import web

from edge.http.malformed import Server
from tests.deadline import deadline


async def test_a_request_is_finished_although_its_client_disconnects() -> None:
    started, leave = asyncio.Event(), asyncio.Event()
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        requests.append(request)
        started.set()
        try:
            await leave.wait()
        except asyncio.CancelledError:
            outcome.set_result("cancelled")
            raise
        outcome.set_result("finished")
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handle)
    application = web.AppRunner(app)
    await application.setup()
    assert application.server is not None
    server = Server(application.server.request_handler, application.server, {})
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.write(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
    async with deadline("the request is finished"):
        await started.wait()
        writer.close()
        await writer.wait_closed()
        while requests[0].transport is not None:
            await asyncio.sleep(0)
        leave.set()
        assert await outcome == "finished"
    await runner.cleanup()
    await application.cleanup()
