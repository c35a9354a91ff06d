"""Streams and the sessions that opened them: a token of the stream alone, and what ends both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from services.local.client import GraphqlClient
from tests.players import PASSWORD, Player, drained, endpoints, register, stream
from tests.servers import RunningStack
from tests.system.graphql import LOGIN, Web, browsing

HEAD = "{ getLeaderboard(limit: 1) { rank } }"
STREAM_TOKEN = "{ streamToken { token expiresIn } }"
LOGOUT = "mutation ($token: String) { logout(refreshToken: $token) }"
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { success } }"
PATH = "/api/v1/leaderboard/stream"
THIRTY_DAYS = 30 * 86_400


@pytest.fixture
async def web(stack: RunningStack) -> AsyncIterator[Web]:
    async with browsing(stack.http) as opened:
        yield opened


@pytest.fixture
async def player(stack: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield await register(client)


async def status(web: Web, token: str) -> int:
    """What the stream answers to a token in its address."""
    async with web.session.get(f"{web.http}{PATH}", params={"token": token}) as response:
        return response.status


async def repeated(stack: RunningStack) -> float:
    """How many requests the edge answered without parsing them, since they had come before."""
    async with aiohttp.ClientSession() as session, session.get(stack.endpoints["metrics"]["edge"]) as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith("topten_answers_repeated_total ")).split()[1])


async def stream_token(web: Web, access_token: str) -> str:
    answer = await web.graphql(STREAM_TOKEN, token=access_token)
    found = answer.body["data"]["streamToken"]
    assert THIRTY_DAYS - 60 < found["expiresIn"] <= THIRTY_DAYS
    token: str = found["token"]
    return token


async def test_a_stream_token_opens_the_stream_and_nothing_else(web: Web, player: Player) -> None:
    token = await stream_token(web, player.access_token)
    assert await status(web, token) == 200
    assert (await web.graphql(STREAM_TOKEN, token=token)).status == 401
    assert (await web.graphql(STREAM_TOKEN)).reason == "UNAUTHENTICATED"


async def test_a_logout_ends_the_streams_of_its_session_alone(stack: RunningStack, web: Web, player: Player) -> None:
    login = {"input": {"username": player.username, "password": PASSWORD}}
    other = (await web.graphql(LOGIN, login)).body["data"]["login"]
    token = await stream_token(web, player.access_token)
    await player.submit("arithmetic-sprint", [("q5", "true")])
    async with (
        stream(stack.http, player.access_token) as by_header,
        stream(stack.http, other["accessToken"]) as of_another,
        web.session.get(f"{web.http}{PATH}", params={"token": token}) as by_address,
    ):
        await anext(of_another)
        async for event in by_header:
            if event.name == "update" and event.data["leaderboard"]:
                break
        before = await repeated(stack)
        assert [(await web.graphql(HEAD, token=player.access_token)).status for _ in range(4)] == [200] * 4
        assert await repeated(stack) > before
        assert (await web.graphql(LOGOUT, {"token": player.refresh_token})).body == {"data": {"logout": True}}
        await drained(by_header)
        async with asyncio.timeout(15):
            await by_address.read()
        assert await status(web, token) == 401
        # The edge whose streams ended knows the session, and takes no token of it for anything.
        assert (await web.graphql("{ me { userId } }", token=player.access_token)).status == 401
        assert (await web.graphql(HEAD, token=player.access_token)).status == 401, "though it was known to the letter"
        assert await status(web, await stream_token(web, other["accessToken"])) == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await drained(of_another)


async def test_a_block_ends_a_players_streams(stack: RunningStack, web: Web, player: Player) -> None:
    account = stack.endpoints["moderator"]
    login = {"input": {"username": account["username"], "password": account["password"]}}
    moderator = (await web.graphql(LOGIN, login)).body["data"]["login"]["accessToken"]
    async with stream(stack.http, player.access_token) as events:
        await anext(events)
        block = {"input": {"userId": player.user_id, "reason": "a test of streams"}}
        assert "errors" not in (await web.graphql(BLOCK, block, token=moderator)).body
        await drained(events)
    with pytest.raises(aiohttp.ClientResponseError) as refused:
        async with web.session.get(
            f"{web.http}{PATH}", headers={"Authorization": f"Bearer {player.access_token}"}, raise_for_status=True
        ):
            pass
    assert refused.value.status == 401
