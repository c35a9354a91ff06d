"""Players of an outside issuer: they play, appear on boards by name, and have only the roles that were granted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.outside import OutsideIssuer
from tests.players import Player, drained, endpoints, register, shows, stream, until
from tests.servers import RunningStack, unique
from tests.system.access.calls import called
from tests.system.access.permissions import METHODS, RPCS
from tests.system.graphql import LOGIN, Web

ME = "{ me { userId username country roles } }"
FLAGS = "{ flags { edges { cursor } } }"
STREAM_TOKEN = "{ streamToken { token expiresIn } }"
STREAM = "/api/v1/leaderboard/stream"
PROFILE = "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { country } }"
ERASE = 'mutation { deleteMyAccount(password: "none") }'
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { eventId } }"


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[OutsideIssuer]:
    async with OutsideIssuer() as issuer:
        yield issuer


async def me(web: Web, token: str) -> dict[str, Any]:
    response = await web.graphql(ME, token=token)
    assert "errors" not in response.body, response.body
    account: dict[str, Any] = response.body["data"]["me"]
    return account


async def test_an_outside_player_plays_and_is_on_the_board_by_name(
    stack: RunningStack, web: Web, issuer: OutsideIssuer
) -> None:
    subject, name = unique("auth0|"), unique("Ada-")
    token = issuer.token(sub=subject, nickname=name)
    first = await me(web, token)
    assert (first["username"], first["roles"], first["country"]) == (name, ["player"], None)
    quiz_id = unique("outside-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = Player(client, name, first["userId"], token, "")
        async with stream(stack.http, token, f"quiz:{quiz_id}") as events:
            await player.submit(quiz_id, [("q1", "a")])
            await until(events, shows(name, 1))
    # A later token with another name is of the same player.
    assert (await me(web, issuer.token(sub=subject, nickname="another", iat=1)))["userId"] == first["userId"]
    assert (await web.graphql(PROFILE, {"input": {"country": "VN"}}, token=token)).body == {
        "data": {"updateProfile": {"country": "VN"}}
    }


async def test_a_taken_or_invalid_name_is_replaced(stack: RunningStack, web: Web, issuer: OutsideIssuer) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        taken = (await register(client)).username
    for wanted in (taken, "<script>", "", None, "a" * 200):
        account = await me(web, issuer.token(sub=unique("s"), nickname=wanted))
        assert account["username"] not in (wanted, taken, "")
        assert len(account["username"]) <= 32


async def test_groups_grant_only_the_roles_that_they_are_mapped_to(web: Web, issuer: OutsideIssuer) -> None:
    claimed = issuer.token(
        sub=unique("s"), groups=["admin", "moderator", "service"], roles=["admin"], scope="score:read"
    )
    assert (await me(web, claimed))["roles"] == ["player"]
    assert (await web.graphql(FLAGS, token=claimed)).reason == "PERMISSION_DENIED"
    granted = issuer.token(sub=unique("s"), groups=["quiz-masters"])
    assert (await me(web, granted))["roles"] == ["moderator", "player"]
    assert "errors" not in (await web.graphql(FLAGS, token=granted)).body


async def test_a_block_ends_an_outside_players_streams_and_refuses_their_actions(
    stack: RunningStack, web: Web, issuer: OutsideIssuer
) -> None:
    token = issuer.token(sub=unique("s"), nickname=unique("eve-"))
    user_id = (await me(web, token))["userId"]
    account = stack.endpoints["moderator"]
    login = {"input": {"username": account["username"], "password": account["password"]}}
    moderator = (await web.graphql(LOGIN, login)).body["data"]["login"]["accessToken"]
    async with stream(stack.http, token) as events:
        await anext(events)
        blocking = {"input": {"userId": user_id, "reason": "a test of streams"}}
        assert "errors" not in (await web.graphql(BLOCK, blocking, token=moderator)).body
        await drained(events)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        with pytest.raises(GraphqlError) as refused:
            await Player(client, "", user_id, token, "").submit("arithmetic-sprint", [])
    assert refused.value.reason == "PLAYER_BLOCKED"


async def test_a_stream_token_of_an_outside_player_lasts_as_long_as_their_own_token_and_ends_with_a_block(
    stack: RunningStack, web: Web, issuer: OutsideIssuer
) -> None:
    token = issuer.token(sub=unique("s"), nickname=unique("iris-"))
    issued = (await web.graphql(STREAM_TOKEN, token=token)).body["data"]["streamToken"]
    ours, theirs = (jwt.decode(each, options={"verify_signature": False}) for each in (issued["token"], token))
    assert ours["exp"] == theirs["exp"]
    assert 0 < issued["expiresIn"] <= 300
    account = stack.endpoints["moderator"]
    login = {"input": {"username": account["username"], "password": account["password"]}}
    moderator = (await web.graphql(LOGIN, login)).body["data"]["login"]["accessToken"]
    async with web.session.get(f"{web.http}{STREAM}", params={"token": issued["token"]}) as response:
        assert response.status == 200
        blocking = {"input": {"userId": ours["userId"], "reason": "a test of stream tokens"}}
        assert "errors" not in (await web.graphql(BLOCK, blocking, token=moderator)).body
        async with deadline():
            await response.read()  # to the end of the stream
    assert (await web.request("GET", STREAM, params={"token": issued["token"]})).status == 401
    assert (await web.graphql(STREAM_TOKEN, token=token)).reason == "PLAYER_BLOCKED"


async def test_an_erased_outside_player_is_not_admitted_again(
    stack: RunningStack, web: Web, issuer: OutsideIssuer
) -> None:
    token = issuer.token(sub=unique("s"), nickname=unique("gone-"))
    await me(web, token)
    assert (await web.graphql(ERASE, token=token)).body == {"data": {"deleteMyAccount": True}}
    assert await called(stack, "identity", METHODS["identity.AdmitPlayer"], {}, token) == "PLAYER_NOT_FOUND"


async def test_an_outside_player_is_admitted_without_a_session(
    stack: RunningStack, web: Web, issuer: OutsideIssuer
) -> None:
    assert RPCS["identity.AdmitPlayer"] == "outside"
    admit = METHODS["identity.AdmitPlayer"]
    assert await called(stack, "identity", admit, {}, issuer.token(sub=unique("s"))) == "OK"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"aud": None},
        {"iss": "topten"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 42},
        {"nickname": 7},
        {"groups": 7},
        {"typ": "at+jwt"},
        {"typ": "stream+jwt"},
        {"key": "a secret that is as long as it should be", "algorithm": "HS256"},
    ],
    ids=str,
)
async def test_a_token_that_the_issuer_would_not_sign_is_refused(
    stack: RunningStack, web: Web, issuer: OutsideIssuer, changes: dict[str, Any]
) -> None:
    token = issuer.token(**changes)
    response = await web.graphql(ME, token=token)
    assert (response.status, response.reason) == (401, "UNAUTHENTICATED")
    assert await called(stack, "leaderboard", METHODS["leaderboard.ListBoards"], {}, token) == "UNAUTHENTICATED"
