"""Refresh tokens: rotated at each use, forgiving a lost answer, unforgiving a stolen one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.local.client import GraphqlClient, GraphqlError
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, second

REFRESH = "mutation ($token: String) { refreshToken(refreshToken: $token) { accessToken refreshToken expiresIn } }"

STREAM_TOKEN = "{ streamToken { token } }"


def new_key() -> str:
    """An Ed25519 private key (PKCS#8 PEM)."""
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Ed25519PrivateKey.generate().private_bytes(*encoding).decode()


@pytest_asyncio.fixture
async def player(stack: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield await register(client)


async def refresh(client: GraphqlClient, token: str) -> dict[str, Any]:
    data = await client.execute(REFRESH, {"token": token})
    session: dict[str, Any] = data["refreshToken"]
    return session


async def is_refused(client: GraphqlClient, token: str) -> bool:
    try:
        await refresh(client, token)
    except GraphqlError as error:
        assert error.reason == "UNAUTHENTICATED"
        return True
    return False


async def test_a_lost_answer_can_be_asked_for_again(player: Player) -> None:
    lost = await refresh(player.client, player.refresh_token)
    again = await refresh(player.client, player.refresh_token)
    assert again["refreshToken"] == lost["refreshToken"]
    assert (await refresh(player.client, again["refreshToken"]))["refreshToken"] != again["refreshToken"]


async def test_fifty_tabs_that_wake_at_once_stay_signed_in(player: Player) -> None:
    sessions = await asyncio.gather(*(refresh(player.client, player.refresh_token) for _ in range(50)))
    assert len({session["refreshToken"] for session in sessions}) == 1
    assert not await is_refused(player.client, sessions[0]["refreshToken"])


async def test_a_token_whose_successor_was_used_ends_the_session(player: Player) -> None:
    second = await refresh(player.client, player.refresh_token)
    third = await refresh(player.client, second["refreshToken"])
    assert await is_refused(player.client, player.refresh_token)
    assert await is_refused(player.client, third["refreshToken"]), "the whole family is ended"


async def test_a_made_up_token_is_refused_and_harms_nobody_else(player: Player) -> None:
    for token in ("x", "x.y", "." * 500):
        assert await is_refused(player.client, token)
    assert not await is_refused(player.client, player.refresh_token)


async def test_a_new_signing_key_interrupts_nobody(stack: RunningStack, player: Player) -> None:
    """The second half of a rotation: the new key signs, what the old one signed is good, and an answer that was lost in
    between is given again."""
    old = (stack.data / "secrets" / "signing_key.pem").read_text()
    with (
        second(stack, "identity", IDENTITY_SIGNING_KEY=new_key() + old) as identity,
        second(
            stack,
            "edge",
            UPSTREAM_IDENTITY=identity["TOPTEN_IDENTITY_GRPC_ADDRESS"],
            AUTH_JWKS_URL=f"http://{identity['TOPTEN_IDENTITY_OPS_ADDRESS']}/.well-known/jwks.json",
        ) as edge,
    ):
        async with GraphqlClient(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}/graphql") as client:
            await client.execute(STREAM_TOKEN, {}, player.access_token)
            lost = await refresh(player.client, player.refresh_token)
            again = await refresh(client, player.refresh_token)
            assert again["refreshToken"] == lost["refreshToken"]
            kids = {jwt.get_unverified_header(session["accessToken"])["kid"] for session in (lost, again)}
            assert len(kids) == 2
            for session in (lost, again):
                await client.execute(STREAM_TOKEN, {}, session["accessToken"])
            onward = await refresh(client, again["refreshToken"])
        assert not await is_refused(player.client, onward["refreshToken"])


async def test_the_grace_ends(stack: RunningStack) -> None:
    with (
        second(stack, "identity", IDENTITY_ROTATION_GRACE="0") as identity,
        second(stack, "edge", UPSTREAM_IDENTITY=identity["TOPTEN_IDENTITY_GRPC_ADDRESS"]) as edge,
    ):
        async with GraphqlClient(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}/graphql") as client:
            player = await register(client)
            await refresh(client, player.refresh_token)
            assert await is_refused(client, player.refresh_token)
