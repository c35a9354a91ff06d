"""Answers on the wire: what a client of each version of HTTP reads, and whether its connection stays open."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from edge.http.answer import Answer
from tests.deadline import deadline


async def handle(request: web.BaseRequest) -> Answer:
    answer = Answer(b'{"ok":true}', "Content-Type: application/json\r\n", status=int(request.path[1:]))
    answer.common = "Server: topten\r\n"
    if "close" in request.query:
        answer.force_close()
    if "cookie" in request.query:
        answer.set_cookie("a", "1", httponly=True)
    return answer


@pytest.mark.parametrize(
    ("target", "version", "status", "has", "stays_open"),
    [
        ("/200", "1.1", b"200 OK", b"", True),
        ("/400", "1.1", b"400 Bad Request", b"", True),
        ("/200?cookie", "1.1", b"200 OK", b"Set-Cookie: a=1; HttpOnly; Path=/\r\n", True),
        ("/200?close", "1.1", b"200 OK", b"Connection: close\r\n", False),
        ("/200", "1.0", b"200 OK", b"Connection: close\r\n", False),
    ],
)
async def test_an_answer_is_a_complete_response(
    target: str, version: str, status: bytes, has: bytes, stays_open: bool
) -> None:
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    async with deadline("the response arrives"):
        for _ in range(2 if stays_open else 1):
            writer.write(f"GET {target} HTTP/{version}\r\nHost: edge\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/" + version.encode() + b" " + status + b"\r\n")
            for field in (
                has,
                b"Server: topten",
                b"\r\nDate: ",
                b"Content-Type: application/json",
                b"Content-Length: 11",
            ):
                assert field in head
            assert (b"\r\nConnection: close\r\n" in head) == (not stays_open)
            assert await reader.readexactly(11) == b'{"ok":true}'
        if not stays_open:
            assert await reader.read() == b""
    writer.close()
    await runner.cleanup()
