"""Clients that send malformed or slow HTTP: what the edge responds, when it disconnects, and what it logs.

Over bare sockets, because no library sends such requests.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deadline import deadline
from tests.unit.edge.edge_process import EdgeProcess, edge_process
from tests.unit.edge.scripted_leaderboard import scripted_leaderboard
from tests.unit.runtime.issuer import Issuer

HEAD = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeProcess]:
    log: Path = tmp_path_factory.mktemp("edge") / "log"
    async with Issuer() as issuer, scripted_leaderboard() as leaderboard:
        async with edge_process(issuer, leaderboard, log, IDLE_TIMEOUT="300ms", BODY_TIMEOUT="300ms") as edge:
            yield edge


async def connect(edge: EdgeProcess) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = edge.http.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


async def response_to(edge: EdgeProcess, data: bytes) -> bytes:
    """Return everything that the edge sends until it disconnects."""
    reader, writer = await connect(edge)
    writer.write(data)
    try:
        async with deadline("the edge disconnects"):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"canary\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA canary: y\r\n\r\n",
        b"GET http://[::1/canary HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /canary" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        GET + b"X: canary" + b"a" * 9000 + b"\r\n\r\n",
        GET + b"".join(b"X-%d: canary\r\n" % n for n in range(200)) + b"\r\n",
        HEAD + b"Content-Length: canary\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\ncanary\r\n",
    ],
    ids=[
        "TLS", "version", "no request", "no host", "header", "address", "long line", "long header", "many headers",
        "length", "negative length", "two lengths", "chunk",
    ],
)  # fmt: skip
async def test_malformed_http_is_answered_with_a_problem_and_logs_no_error(edge: EdgeProcess, data: bytes) -> None:
    head, _, body = (await response_to(edge, data)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert b"application/problem+json" in head
    assert b"Server: topten" in head
    assert b"Content-Security-Policy" in head
    problem = json.loads(body)
    assert problem["code"] == "INVALID_ARGUMENT"
    assert problem["requestId"].encode() in head
    assert b"canary" not in body
    assert "Traceback" not in edge.log
    assert " error " not in edge.log


async def test_a_malformed_chunk_ends_the_request(edge: EdgeProcess) -> None:
    reader, writer = await connect(edge)
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
    await writer.drain()
    writer.write(b"canary\r\n\r\n")
    async with deadline("the edge responds"):
        assert (await reader.readline()).split()[1] in (b"400", b"408")
    writer.close()
    assert "Traceback" not in edge.log


@pytest.mark.parametrize(("expected", "first"), [("100-continue", b"100"), ("canary", b"200")])
async def test_an_expected_continue_is_sent_and_other_expectations_are_ignored(
    edge: EdgeProcess, expected: str, first: bytes
) -> None:
    body = b'{"query":"{__typename}"}'
    head = HEAD + b"Expect: %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (expected.encode(), len(body))
    response = await response_to(edge, head + body)
    assert response.split()[1] == first
    assert response.endswith(b'{"data":{"__typename":"Query"}}')
    assert b"canary" not in response


async def test_a_compressed_body_is_refused(edge: EdgeProcess) -> None:
    bomb = gzip.compress(b'{"query":"{__typename}"' + b" " * 10_000_000 + b"}")
    assert len(bomb) < 65_536
    data = HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb
    assert (await response_to(edge, data)).startswith(b"HTTP/1.1 415")


@pytest.mark.parametrize(
    "start", [b"", b"GET", GET, GET + b"X: a"], ids=["nothing", "method", "one header", "half a header"]
)
async def test_an_incomplete_head_times_out(edge: EdgeProcess, start: bytes) -> None:
    assert await response_to(edge, start) == b""


async def test_a_head_that_arrives_line_by_line_times_out(edge: EdgeProcess) -> None:
    reader, writer = await connect(edge)
    sent = 0
    async with deadline("the edge disconnects"):
        writer.write(GET)
        while not reader.at_eof() and not writer.is_closing():
            writer.write(b"X-%d: a\r\n" % sent)
            sent += 1
            try:
                assert await asyncio.wait_for(reader.read(1), 0.1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                break
    writer.close()
    assert sent < 128, "the edge disconnects before there are too many headers"


async def test_an_idle_connection_is_closed(edge: EdgeProcess) -> None:
    response = await response_to(edge, GET + b"\r\n")
    assert response.startswith(b"HTTP/1.1 200")
    assert response.endswith(b"ok\n")


async def test_a_body_that_arrives_byte_by_byte_times_out(edge: EdgeProcess) -> None:
    reader, writer = await connect(edge)
    writer.write(HEAD + b"Content-Length: 60000\r\n\r\n")
    async with deadline("the edge responds"):
        status = asyncio.ensure_future(reader.readline())
        while not status.done():
            writer.write(b" ")
            await asyncio.wait({status}, timeout=0.02)
        assert (await status).startswith(b"HTTP/1.1 408")
    writer.close()
