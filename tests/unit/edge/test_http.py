"""An edge process whose issuer is away, and clients that send slowly."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from tests.unit.edge.announcer import announcing, edge_process
from tests.unit.runtime.issuer import Issuer

QUERY = {"query": "{ __typename }"}


async def test_keys_that_were_had_once_are_published_while_the_issuer_is_away(tmp_path: Path) -> None:
    async with Issuer() as issuer, announcing() as announcer:
        issuer.status = 500
        async with edge_process(issuer, announcer, tmp_path / "log") as edge, aiohttp.ClientSession() as session:
            keys = f"{edge.http}/.well-known/jwks.json"
            async with session.get(keys) as answer:
                assert answer.status == 503
                assert (await answer.json(content_type=None))["code"] == "UNAVAILABLE"
            async with session.post(
                f"{edge.http}/graphql", json=QUERY, headers={"Authorization": f"Bearer {issuer.token()}"}
            ) as answer:
                # Nobody can tell whether the token is good: that is no reason to call it bad.
                assert answer.status == 503
            issuer.status = 200
            async with asyncio.timeout(20):
                while True:
                    async with session.get(keys) as answer:
                        if answer.status == 200:
                            assert (await answer.json())["keys"] == issuer.published
                            break
            issuer.status = 500
            async with session.get(keys) as answer:
                assert answer.status == 200


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with Issuer() as issuer, announcing() as announcer:
        async with edge_process(issuer, announcer, tmp_path / "log", BODY_TIMEOUT="100ms") as edge:
            host, _, port = edge.http.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            )
            async with asyncio.timeout(20):
                assert (await reader.readline()).startswith(b"HTTP/1.1 408")
            writer.close()


async def test_an_answer_that_nobody_waits_for_leaves_no_error(tmp_path: Path) -> None:
    async with Issuer() as issuer, announcing() as announcer:
        async with edge_process(issuer, announcer, tmp_path / "log") as edge:
            host, _, port = edge.http.removeprefix("http://").partition(":")
            body = b'{"query": "{ me { score } }"}'
            head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            token = f"Authorization: Bearer {issuer.token()}\r\n\r\n"
            for _ in range(50):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write((head + token).encode() + body)
                await writer.drain()
                writer.transport.abort()
            async with aiohttp.ClientSession() as session, session.post(f"{edge.http}/graphql", json=QUERY) as answer:
                assert await answer.json() == {"data": {"__typename": "Query"}}
            assert await edge.stop() == 0
            assert " error " not in edge.log
