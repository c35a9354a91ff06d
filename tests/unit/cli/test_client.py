"""The addresses of a running system, and the message when they are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from topten.identity.v1 import identity_service_pb2 as messages
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from services.cli.system.client import Endpoints, GraphqlClient, describe
from services.cli.system.locate import NotRunningError
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call, open_channel
from tests.servers import HOST, free_port

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not valid JSON"), ("[]", "lacks graphql"), (json.dumps({"graphql": "http://h/graphql"}), "lacks stream")],
)
def test_an_unusable_endpoints_file_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "endpoints.json").write_text(content)
    with pytest.raises(NotRunningError, match=message):
        Endpoints.load(tmp_path)


def test_the_environment_names_another_endpoints_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "elsewhere.json"
    monkeypatch.setenv("TOPTEN_LOCAL_ENDPOINTS", str(named))
    with pytest.raises(NotRunningError, match=r"elsewhere\.json"):
        Endpoints.load(tmp_path)


async def test_a_call_without_a_response_is_named() -> None:
    async with open_channel(f"{HOST}:{free_port()}") as channel:
        stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        with pytest.raises(ServiceError) as failed:
            await call(stub.GrantRole, messages.GrantRoleRequest(username="x", role="author"))
    assert failed.value.reason is Reason.UNAVAILABLE
    assert describe(failed.value).startswith("identity.GrantRole: A required service did not respond.")


@pytest.mark.parametrize("text", ["<html>", "[]", '{"status": "ok"}'])
async def test_an_address_of_something_else_is_one_clear_line(text: str) -> None:
    async def respond(_request: web.Request) -> web.Response:
        return web.Response(status=404, text=text)

    site = web.Application()
    site.router.add_post("/graphql", respond)
    async with TestServer(site) as server, GraphqlClient(str(server.make_url("/graphql"))) as client:
        with pytest.raises(aiohttp.ClientError) as failed:
            await client.execute("{ __typename }", {})
        assert (
            describe(failed.value)
            == f"{server.make_url('/graphql')} does not answer as Topten (HTTP 404). Check the address."
        )


async def test_an_address_without_a_listener_is_named() -> None:
    port = free_port()
    async with GraphqlClient(f"http://{HOST}:{port}/graphql") as client:
        with pytest.raises(aiohttp.ClientError) as failed:
            await client.execute("{ __typename }", {})
    assert describe(failed.value).startswith(f"Nothing responds at {HOST}:{port} (")
