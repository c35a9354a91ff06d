"""Refresh tokens: rotated at each use, tolerant of a lost response, intolerant of a stolen token."""

from __future__ import annotations

import asyncio
from typing import Any

import jwt

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.factories import signing_key
from tests.players import Player, register
from tests.replicas import second_instance
from tests.servers import RunningStack

REFRESH = "mutation ($token: String) { refreshToken(refreshToken: $token) { accessToken refreshToken expiresIn } }"

STREAM_TOKEN = "{ streamToken { token } }"


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


async def test_refresh_after_a_lost_response_returns_the_same_token(player: Player) -> None:
    lost = await refresh(player.client, player.refresh_token)
    again = await refresh(player.client, player.refresh_token)
    assert again["refreshToken"] == lost["refreshToken"]
    assert (await refresh(player.client, again["refreshToken"]))["refreshToken"] != again["refreshToken"]


async def test_fifty_tabs_that_refresh_at_once_stay_signed_in(player: Player) -> None:
    sessions = await asyncio.gather(*(refresh(player.client, player.refresh_token) for _ in range(50)))
    assert len({session["refreshToken"] for session in sessions}) == 1
    assert not await is_refused(player.client, sessions[0]["refreshToken"])


async def test_reused_token_ends_the_session(player: Player) -> None:
    second = await refresh(player.client, player.refresh_token)
    third = await refresh(player.client, second["refreshToken"])
    assert await is_refused(player.client, player.refresh_token)
    assert await is_refused(player.client, third["refreshToken"]), "the newest token of the session as well"


async def test_invented_token_is_refused_and_harms_no_session(player: Player) -> None:
    for token in ("x", "x.y", "." * 500):
        assert await is_refused(player.client, token)
    assert not await is_refused(player.client, player.refresh_token)


async def test_new_signing_key_keeps_sessions_and_tokens_valid(stack: RunningStack, player: Player) -> None:
    """Half-way through a rollout, instances with the old and the new key serve the same sessions."""
    old = (stack.data / "secrets" / "signing_key.pem").read_text()
    with (
        second_instance(stack, "identity", IDENTITY_SIGNING_KEY=signing_key() + old) as identity,
        second_instance(
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


async def test_previous_token_is_refused_after_the_grace_period(stack: RunningStack) -> None:
    with (
        second_instance(stack, "identity", IDENTITY_ROTATION_GRACE="0") as identity,
        second_instance(stack, "edge", UPSTREAM_IDENTITY=identity["TOPTEN_IDENTITY_GRPC_ADDRESS"]) as edge,
    ):
        async with GraphqlClient(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}/graphql") as client:
            player = await register(client)
            await refresh(client, player.refresh_token)
            assert await is_refused(client, player.refresh_token)
