"""Service clients that are added at runtime: what they may do, how secrets change, and who changed them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from pymongo import AsyncMongoClient
from topten.identity.v1 import identity_service_pb2 as messages

from services.cli.system.operator_client import identity_service
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from tests.deadline import eventually
from tests.players import endpoints
from tests.replicas import second_instance
from tests.servers import RunningStack, run_topten, running_stack, unique


@pytest.fixture(scope="module")
def own() -> Iterator[RunningStack]:
    """A system whose MongoDB may be stopped."""
    with running_stack() as started:
        yield started


async def run(*arguments: str, stack: RunningStack) -> subprocess.CompletedProcess[str]:
    return await run_topten(*arguments, data=stack.data, environ={"COLUMNS": "200"})


async def token(address: str, name: str, secret: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the token endpoint."""
    form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
    async with aiohttp.ClientSession() as session, session.post(f"{address}/oauth/token", data=form) as response:
        return response.status, await response.json()


async def test_a_client_lives_from_its_addition_to_its_removal(stack: RunningStack) -> None:
    """On every instance at once, with the scopes it was given and no others."""
    name = unique("shop-")
    added = await run("client", "add", name, "--scope", "quiz:read", "--scope", "leaderboard:read", stack=stack)
    assert added.returncode == 0, added.stderr
    (secret,) = added.stdout.split()
    here = stack.endpoints["identity_http"]
    with second_instance(stack, "identity") as second:
        there = f"http://{second['TOPTEN_IDENTITY_OPS_ADDRESS']}"
        for address in (here, there):
            status, body = await token(address, name, secret)
            assert (status, body["scope"]) == (200, "leaderboard:read quiz:read")
        assert (await token(here, name, secret[:-1]))[0] == 401
        assert (await token(here, unique("nobody-"), secret))[0] == 401

        listed = await run("client", "list", stack=stack)
        assert f"{name} " in listed.stdout
        assert "leaderboard:read, quiz:read" in listed.stdout
        assert "operator" in listed.stdout, "declared ones as well"
        assert secret not in listed.stdout

        (second_secret,) = (await run("client", "rotate", name, stack=stack)).stdout.split()
        for each in (secret, second_secret):
            assert (await token(there, name, each))[0] == 200, "both, while the old one is kept"
        (third_secret,) = (await run("client", "rotate", name, "--keep", "0", stack=stack)).stdout.split()
        assert [(await token(there, name, each))[0] for each in (secret, second_secret, third_secret)] == [
            401,
            401,
            200,
        ]

        removed = await run("client", "remove", name, stack=stack)
        assert (removed.returncode, removed.stdout) == (0, f"{name} is removed.\n")
        for address in (here, there):
            assert (await token(address, name, third_secret))[0] == 401

    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with client:
        log = client["topten_identity"]["service_client_changes"].find({"client": name}, sort=[("at", 1)])
        changes = [(each["kind"], each["actor"]) async for each in log]
        stored = str([each async for each in client["topten_identity"]["service_clients"].find()])
    kinds = ("ADDED", "ROTATED", "ROTATED", "REMOVED")
    assert changes == [(kind, "service:operator") for kind in kinds]
    assert not any(each in stored for each in (secret, second_secret, third_secret))
    logged = (stack.data / "logs" / "identity.log").read_text()
    assert "service client added" in logged
    assert not any(each in logged for each in (secret, second_secret, third_secret))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "shop-x", "--scope", "everything"), "Unknown scope 'everything'. Scopes: session:open, "),
        (("add", "Shop!", "--scope", "quiz:read"), "NAME: must be"),
        (("add", "edge", "--scope", "quiz:read"), "There is a client edge"),
        (("rotate", "operator"), "operator is declared in TOPTEN_IDENTITY_SERVICE_CLIENTS"),
        (("rotate", "no-such-client"), "There is no client no-such-client."),
        (("rotate", "no-such-client", "--keep", "8d"), "--keep: must be"),
        (("rotate", "no-such-client", "--keep", "soon"), "--keep soon: must be a duration"),
        (("remove", "no-such-client"), "There is no client no-such-client."),
    ],
)
async def test_what_cannot_be_done_is_one_clear_line(
    stack: RunningStack, arguments: tuple[str, ...], message: str
) -> None:
    done = await run("client", *arguments, stack=stack)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


async def test_one_name_is_one_client_however_many_add_it_at_once(stack: RunningStack) -> None:
    name = unique("race-")
    async with identity_service(endpoints(stack)) as (stub, admin):
        request = messages.AddServiceClientRequest(name=name, scopes=["quiz:read"])
        outcomes = await asyncio.gather(
            *(call(stub.AddServiceClient, request, token=admin) for _ in range(8)), return_exceptions=True
        )
        added = [each for each in outcomes if isinstance(each, messages.AddServiceClientResponse)]
        assert len(added) == 1
        reasons = {each.reason for each in outcomes if isinstance(each, ServiceError)}
        assert reasons <= {Reason.CLIENT_EXISTS, Reason.UNAVAILABLE}
        await call(stub.RemoveServiceClient, messages.RemoveServiceClientRequest(name=name), token=admin)


async def test_without_mongodb_declared_clients_get_tokens_and_others_are_asked_to_retry(
    own: RunningStack,
) -> None:
    (secret,) = (await run("client", "add", "shop", "--scope", "quiz:read", stack=own)).stdout.split()
    address = own.endpoints["identity_http"]
    operator = own.endpoints["operator"]
    mongo = own.pid_of("mongo")
    os.kill(mongo, signal.SIGSTOP)
    try:

        async def refused() -> bool:
            return await token(address, "shop", secret) == (503, {"error": "temporarily_unavailable"})

        await eventually(refused, "the stored client is asked to retry")
        assert (await token(address, "operator", operator["client_secret"]))[0] == 200
    finally:
        os.kill(mongo, signal.SIGCONT)

    async def accepted() -> bool:
        return (await token(address, "shop", secret))[0] == 200

    await eventually(accepted, "it gets tokens again")
