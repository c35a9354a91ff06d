"""Refresh tokens: rotated at each use, forgiving a lost answer, unforgiving a stolen one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from services.local.client import GraphqlClient, GraphqlError
from tests.players import Player, endpoints, register
from tests.servers import RunningStack, second

REFRESH = "mutation ($token: String) { refreshToken(refreshToken: $token) { accessToken refreshToken expiresIn } }"


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


async def test_the_grace_ends(stack: RunningStack) -> None:
    with (
        second(stack, "identity", IDENTITY_ROTATION_GRACE="0") as identity,
        second(stack, "edge", UPSTREAM_IDENTITY=identity["TOPTEN_IDENTITY_GRPC_ADDRESS"]) as edge,
    ):
        async with GraphqlClient(f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}/graphql") as client:
            player = await register(client)
            await refresh(client, player.refresh_token)
            assert await is_refused(client, player.refresh_token)
