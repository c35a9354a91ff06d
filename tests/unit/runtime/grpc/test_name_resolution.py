"""A channel to a name follows it when its servers are replaced, as Kubernetes replaces pods behind a headless Service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.message
import dns.rdatatype
import dns.rrset
import grpc
import pytest

from services.runtime.grpc.client import open_channel
from tests.deadline import deadline_seconds

METHOD = "GetLeaderboard"
SERVICE = "topten.leaderboard.v1.LeaderboardService"


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an IPv4 address with `address`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, client: Any) -> None:
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        if question.question[0].rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.question[0].name, 5, "IN", "A", self.address))
        self._transport.sendto(answer.to_wire(), client)


@asynccontextmanager
async def callee(address: str) -> AsyncIterator[tuple[grpc.aio.Server, int]]:
    """A server whose response is its own address."""

    async def respond(_request: bytes, _context: Any) -> bytes:
        return address.encode()

    server = grpc.aio.server()
    handlers: dict[str, Any] = {METHOD: grpc.unary_unary_rpc_method_handler(respond)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop(None)


@pytest.mark.parametrize("stops", ["in order", "at once"])
async def test_no_call_fails_when_a_server_is_replaced_soon_after_its_name_was_resolved(stops: str) -> None:
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(lambda: NameServer("127.0.0.1"), ("127.0.0.1", 0))
    name_server = transport.get_extra_info("sockname")[1]
    try:
        async with callee("127.0.0.1:0") as (old, port), callee(f"127.0.0.2:{port}"):
            target = f"dns://127.0.0.1:{name_server}/callee.test:{port}"
            async with open_channel(target, upstream="leaderboard") as channel:
                method: Any = channel.unary_unary(f"/{SERVICE}/{METHOD}")
                assert await method(b"", timeout=deadline_seconds()) == b"127.0.0.1:0"
                names.address = "127.0.0.2"
                await old.stop(5 if stops == "in order" else None)
                assert await method(b"", timeout=deadline_seconds()) == f"127.0.0.2:{port}".encode()
    finally:
        transport.close()
