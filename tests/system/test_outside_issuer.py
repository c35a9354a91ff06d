"""Players whom another issuer signs in: they play, are on the board with a name, and may no more than they were granted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.local.client import GraphqlClient, GraphqlError
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.outside import OutsideIssuer
from tests.players import Player, drained, endpoints, register, shows, stream, until
from tests.servers import RunningStack, unique
from tests.system.graphql import LOGIN, Web, browsing
from tests.system.permissions import RPCS
from tests.system.test_access import METHODS, called

ME = "{ me { userId username country roles } }"
FLAGS = "{ flags { edges { cursor } } }"
STREAM_TOKEN = "{ streamToken { token } }"
PROFILE = "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { country } }"
ERASE = 'mutation { deleteMyAccount(password: "none") }'
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { eventId } }"


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[OutsideIssuer]:
    async with OutsideIssuer() as serving:
        yield serving


@pytest.fixture
async def web(stack: RunningStack) -> AsyncIterator[Web]:
    async with browsing(stack.http) as opened:
        yield opened


async def me(web: Web, token: str) -> dict[str, Any]:
    answer = await web.graphql(ME, token=token)
    assert "errors" not in answer.body, answer.body
    found: dict[str, Any] = answer.body["data"]["me"]
    return found


async def test_an_outside_player_plays_and_is_on_the_board_with_a_name(
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
    # Tomorrow's token is another one of the same player.
    assert (await me(web, issuer.token(sub=subject, nickname="another", iat=1)))["userId"] == first["userId"]
    assert (await web.graphql(PROFILE, {"input": {"country": "VN"}}, token=token)).body == {
        "data": {"updateProfile": {"country": "VN"}}
    }


async def test_a_name_that_is_taken_or_can_t_be_is_made_another(
    stack: RunningStack, web: Web, issuer: OutsideIssuer
) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        taken = (await register(client)).username
    for wanted in (taken, "<script>", "", None, "a" * 200):
        found = await me(web, issuer.token(sub=unique("s"), nickname=wanted))
        assert found["username"] not in (wanted, taken, "")
        assert len(found["username"]) <= 32


async def test_groups_give_the_roles_that_they_are_mapped_to_and_no_others(web: Web, issuer: OutsideIssuer) -> None:
    claimed = issuer.token(
        sub=unique("s"), groups=["admin", "moderator", "service"], roles=["admin"], scope="score:read"
    )
    assert (await me(web, claimed))["roles"] == ["player"]
    assert (await web.graphql(FLAGS, token=claimed)).reason == "PERMISSION_DENIED"
    granted = issuer.token(sub=unique("s"), groups=["quiz-masters"])
    assert (await me(web, granted))["roles"] == ["moderator", "player"]
    assert "errors" not in (await web.graphql(FLAGS, token=granted)).body


async def test_a_block_ends_an_outside_players_streams_and_keeps_him_out(
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


async def test_an_outside_player_erases_his_account_and_does_not_come_back(
    stack: RunningStack, web: Web, issuer: OutsideIssuer
) -> None:
    token = issuer.token(sub=unique("s"), nickname=unique("gone-"))
    await me(web, token)
    assert (await web.graphql(ERASE, token=token)).body == {"data": {"deleteMyAccount": True}}
    assert await called(stack, "identity", METHODS["identity.AdmitPlayer"], {}, token) == "PLAYER_NOT_FOUND"


async def test_an_outside_player_is_admitted_by_his_own_token_alone(
    stack: RunningStack, web: Web, issuer: OutsideIssuer
) -> None:
    assert RPCS["identity.AdmitPlayer"] == "outside"
    admit = METHODS["identity.AdmitPlayer"]
    assert await called(stack, "identity", admit, {}, issuer.token(sub=unique("s"))) == "OK"
    # He has no session and no password here.
    assert (await web.graphql(STREAM_TOKEN, token=issuer.token(sub=unique("s")))).reason == "UNAUTHENTICATED"


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
async def test_what_the_issuer_would_not_say_is_refused(
    stack: RunningStack, web: Web, issuer: OutsideIssuer, changes: dict[str, Any]
) -> None:
    token = issuer.token(**changes)
    answer = await web.graphql(ME, token=token)
    assert (answer.status, answer.reason) == (401, "UNAUTHENTICATED")
    assert await called(stack, "leaderboard", METHODS["leaderboard.ListBoards"], {}, token) == "UNAUTHENTICATED"
