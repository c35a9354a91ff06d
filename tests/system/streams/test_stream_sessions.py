"""Streams and the sessions that opened them: stream tokens, and what ends a session and its streams."""

from __future__ import annotations

from dataclasses import replace

import aiohttp
import pytest

from tests.deadline import deadline
from tests.players import PASSWORD, Player, drained, stream
from tests.servers import RunningStack
from tests.system.graphql import LOGIN, Web

HEAD = "{ getLeaderboard(limit: 1) { rank } }"
STREAM_TOKEN = "{ streamToken { token expiresIn } }"
LOGOUT = "mutation ($token: String) { logout(refreshToken: $token) }"
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { success } }"
PATH = "/api/v1/leaderboard/stream"
RIGHT = [("q5", "true")]
THIRTY_DAYS = 30 * 86_400


async def status(web: Web, token: str) -> int:
    """Return the status of a stream that is opened with a token in its URL."""
    async with web.session.get(f"{web.http}{PATH}", params={"token": token}) as response:
        return response.status


async def stream_token(web: Web, access_token: str) -> str:
    response = await web.graphql(STREAM_TOKEN, token=access_token)
    issued = response.body["data"]["streamToken"]
    assert THIRTY_DAYS - 60 < issued["expiresIn"] <= THIRTY_DAYS
    token: str = issued["token"]
    return token


async def test_a_stream_token_opens_the_stream_and_nothing_else(web: Web, player: Player) -> None:
    token = await stream_token(web, player.access_token)
    assert await status(web, token) == 200
    assert (await web.graphql(STREAM_TOKEN, token=token)).status == 401
    assert (await web.graphql(STREAM_TOKEN)).reason == "UNAUTHENTICATED"


async def test_a_logout_ends_the_streams_of_its_session_only(stack: RunningStack, web: Web, player: Player) -> None:
    login = {"input": {"username": player.username, "password": PASSWORD}}
    other = (await web.graphql(LOGIN, login)).body["data"]["login"]
    token = await stream_token(web, player.access_token)
    points = (await player.submit("arithmetic-sprint", RIGHT))["pointsAwarded"]
    async with (
        stream(stack.http, player.access_token) as by_header,
        stream(stack.http, other["accessToken"]) as of_other_session,
        web.session.get(f"{web.http}{PATH}", params={"token": token}) as by_url,
    ):
        await anext(of_other_session)
        async for event in by_header:
            if event.name == "update" and event.data["leaderboard"]:
                break
        assert [(await web.graphql(HEAD, token=player.access_token)).status for _ in range(2)] == [200] * 2
        assert (await web.graphql(LOGOUT, {"token": player.refresh_token})).body == {"data": {"logout": True}}
        await drained(by_header)
        async with deadline("the stream ends"):
            await by_url.read()
        assert await status(web, token) == 401
        # This edge now refuses every token of the session.
        assert (await web.graphql("{ me { userId } }", token=player.access_token)).status == 401
        assert (await web.graphql(HEAD, token=player.access_token)).status == 401, "although its response is cached"
        assert await status(web, await stream_token(web, other["accessToken"])) == 200
        await replace(player, access_token=other["accessToken"]).submit("arithmetic-sprint", RIGHT)
        async with deadline("the other session's stream goes on"):
            async for event in of_other_session:
                if event.name == "me" and event.data["score"] > points:
                    break


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
