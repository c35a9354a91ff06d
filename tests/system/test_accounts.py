"""Accounts: names that deceive, passwords that change, roles that come and go."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import pytest
from topten.identity.v1 import identity_service_pb2 as messages
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from services.local.client import GraphqlClient, GraphqlError
from services.runtime.grpc_client import call
from tests.players import PASSWORD, Player, drained, endpoints, register, stream
from tests.servers import RunningStack, topten, unique
from tests.system.graphql import COOKIE_MODE, LOGIN, Web, browsing

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

ANOTHER = "another horse battery"
CHANGE = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) }"
REFRESH = "mutation ($token: String) { refreshToken(refreshToken: $token) { refreshToken user { roles } } }"
FLAGS = "{ flags { edges { cursor } } }"


@pytest.fixture
async def web(stack: RunningStack) -> AsyncIterator[Web]:
    async with browsing(stack.http) as opened:
        yield opened


@pytest.fixture
async def player(stack: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield await register(client)


async def login(web: Web, player: Player, password: str) -> Any:
    """The session, or the reason of the refusal."""
    answer = await web.graphql(LOGIN, {"input": {"username": player.username, "password": password}})
    return answer.reason if "errors" in answer.body else answer.body["data"]["login"]


def by_command(stack: RunningStack, verb: str, player: Player, role: str) -> None:
    command = topten("user", verb, player.username, "--role", role, "--data", str(stack.data))
    subprocess.run(command, check=True, capture_output=True)


def change(current: str, new: str) -> dict[str, Any]:
    return {"input": {"currentPassword": current, "newPassword": new}}


async def test_a_name_that_looks_like_anothers_is_taken(stack: RunningStack) -> None:
    name = unique("look") + "l0"
    async with GraphqlClient(endpoints(stack).graphql) as client:
        await register(client, username=name)
        for alike in (name.upper(), name.removesuffix("l0") + "1o", name.removesuffix("l0") + "IO"):
            with pytest.raises(GraphqlError) as refused:
                await register(client, username=alike)
            assert refused.value.reason == "USERNAME_TAKEN", alike
        for deceiving in (f"{name}\u200b", f"{name}\u202e", f"{name}\u0430", f"{name}\n"):
            with pytest.raises(GraphqlError) as refused:
                await register(client, username=deceiving)
            assert refused.value.reason == "INVALID_ARGUMENT", deceiving


async def test_another_password_ends_all_other_sessions_and_their_streams(
    stack: RunningStack, web: Web, player: Player
) -> None:
    other = await login(web, player, PASSWORD)
    async with (
        stream(stack.http, other["accessToken"]) as of_another,
        stream(stack.http, player.access_token) as of_mine,
    ):
        await anext(of_another)
        await anext(of_mine)
        assert (await web.graphql(CHANGE, change("wrong", ANOTHER), token=player.access_token)).reason == (
            "CREDENTIALS_INVALID"
        )
        assert (await web.graphql(CHANGE, change(PASSWORD, "short"), token=player.access_token)).reason == (
            "INVALID_ARGUMENT"
        )
        done = await web.graphql(CHANGE, change(PASSWORD, ANOTHER), token=player.access_token)
        assert done.body == {"data": {"changePassword": True}}
        await drained(of_another)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await drained(of_mine)
    assert (await web.graphql(REFRESH, {"token": other["refreshToken"]})).reason == "UNAUTHENTICATED"
    assert "errors" not in (await web.graphql(REFRESH, {"token": player.refresh_token})).body
    assert await login(web, player, PASSWORD) == "CREDENTIALS_INVALID"
    assert (await login(web, player, ANOTHER))["user"]["userId"] == player.user_id


async def test_a_browser_changes_its_password_and_stays_signed_in(web: Web, player: Player) -> None:
    account = {"input": {"username": player.username, "password": PASSWORD}}
    await web.graphql(LOGIN, account, headers=COOKIE_MODE)
    changed = await web.graphql(CHANGE, change(PASSWORD, ANOTHER), headers=COOKIE_MODE)
    assert changed.body == {"data": {"changePassword": True}}
    assert "errors" not in (await web.graphql(REFRESH, headers=COOKIE_MODE)).body
    assert (await web.graphql(REFRESH, {"token": player.refresh_token})).reason == "UNAUTHENTICATED"


async def test_logins_that_race_a_new_password_leave_no_session_behind(web: Web, player: Player) -> None:
    changing = web.graphql(CHANGE, change(PASSWORD, ANOTHER), token=player.access_token)
    *sessions, changed = await asyncio.gather(*(login(web, player, PASSWORD) for _ in range(20)), changing)
    assert changed.body == {"data": {"changePassword": True}}
    tokens = [session["refreshToken"] for session in sessions if session != "CREDENTIALS_INVALID"]
    reasons = {(await web.graphql(REFRESH, {"token": token})).reason for token in tokens}
    assert reasons <= {"UNAUTHENTICATED"}


async def test_the_operator_makes_the_first_admin_who_makes_others(
    stack: RunningStack, web: Web, player: Player
) -> None:
    by_command(stack, "grant", player, "admin")
    admin = (await login(web, player, PASSWORD))["accessToken"]
    async with GraphqlClient(endpoints(stack).graphql) as client, endpoints(stack).channel("identity") as channel:
        other = await register(client)
        stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        grant = messages.GrantRoleRequest(username=other.username, role="admin")
        assert list((await call(stub.GrantRole, grant, token=admin)).user.roles) == ["admin", "player"]
        revoke = messages.RevokeRoleRequest(username=other.username, role="admin")
        assert list((await call(stub.RevokeRole, revoke, token=admin)).user.roles) == ["player"]


async def test_a_role_holds_from_the_next_refresh_until_it_is_taken_away(
    stack: RunningStack, web: Web, player: Player
) -> None:
    assert (await web.graphql(FLAGS, token=player.access_token)).reason == "PERMISSION_DENIED"
    by_command(stack, "grant", player, "moderator")
    session = await login(web, player, PASSWORD)
    assert "errors" not in (await web.graphql(FLAGS, token=session["accessToken"])).body
    by_command(stack, "revoke", player, "moderator")
    refreshed = (await web.graphql(REFRESH, {"token": session["refreshToken"]})).body["data"]["refreshToken"]
    assert refreshed["user"]["roles"] == ["player"]
