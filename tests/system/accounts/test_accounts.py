"""Accounts: look-alike names, new passwords, roles."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, Any, cast

import pytest
from topten.identity.v1 import identity_service_pb2 as messages
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.grpc.client import call
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, Player, drained, endpoints, register, shows, stream, until
from tests.servers import RunningStack, topten, unique
from tests.system.graphql import COOKIE_MODE, LOGIN, Web

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

ANOTHER = "another horse battery"
CHANGE = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) }"
REFRESH = "mutation ($token: String) { refreshToken(refreshToken: $token) { refreshToken user { roles } } }"
FLAGS = "{ flags { edges { cursor } } }"


async def login(web: Web, player: Player, password: str) -> Any:
    """Return the session, or the reason of the refusal."""
    answer = await web.graphql(LOGIN, {"input": {"username": player.username, "password": password}})
    return answer.reason if "errors" in answer.body else answer.body["data"]["login"]


def change_role(stack: RunningStack, verb: str, player: Player, role: str) -> None:
    command = topten("user", verb, player.username, "--role", role, "--data", str(stack.data))
    subprocess.run(command, check=True, capture_output=True)


def change(current: str, new: str) -> dict[str, Any]:
    return {"input": {"currentPassword": current, "newPassword": new}}


async def test_name_that_looks_like_another_is_taken(stack: RunningStack) -> None:
    name = unique("look") + "l0"
    async with GraphqlClient(endpoints(stack).graphql) as client:
        await register(client, username=name)
        for lookalike in (name.upper(), name.removesuffix("l0") + "1o", name.removesuffix("l0") + "IO"):
            with pytest.raises(GraphqlError) as refused:
                await register(client, username=lookalike)
            assert refused.value.reason == "USERNAME_TAKEN", lookalike
        for deceptive in (f"{name}\u200b", f"{name}\u202e", f"{name}\u0430", f"{name}\n"):
            with pytest.raises(GraphqlError) as refused:
                await register(client, username=deceptive)
            assert refused.value.reason == "INVALID_ARGUMENT", deceptive


async def test_new_password_ends_all_other_sessions_and_their_streams(
    stack: RunningStack, web: Web, player: Player
) -> None:
    quiz_id = unique("new-password-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    other = await login(web, player, PASSWORD)
    async with (
        stream(stack.http, other["accessToken"], f"quiz:{quiz_id}") as other_stream,
        stream(stack.http, player.access_token, f"quiz:{quiz_id}") as own_stream,
    ):
        await anext(other_stream)
        await anext(own_stream)
        assert (await web.graphql(CHANGE, change("wrong", ANOTHER), token=player.access_token)).reason == (
            "CREDENTIALS_INVALID"
        )
        assert (await web.graphql(CHANGE, change(PASSWORD, "short"), token=player.access_token)).reason == (
            "INVALID_ARGUMENT"
        )
        done = await web.graphql(CHANGE, change(PASSWORD, ANOTHER), token=player.access_token)
        assert done.body == {"data": {"changePassword": True}}
        await drained(other_stream)
        await player.submit(quiz_id, [("q1", "a")])
        await until(own_stream, shows(player.username, 10))
    assert (await web.graphql(REFRESH, {"token": other["refreshToken"]})).reason == "UNAUTHENTICATED"
    assert "errors" not in (await web.graphql(REFRESH, {"token": player.refresh_token})).body
    assert await login(web, player, PASSWORD) == "CREDENTIALS_INVALID"
    assert (await login(web, player, ANOTHER))["user"]["userId"] == player.user_id


async def test_browser_that_changes_its_password_stays_signed_in(web: Web, player: Player) -> None:
    account = {"input": {"username": player.username, "password": PASSWORD}}
    await web.graphql(LOGIN, account, headers=COOKIE_MODE)
    changed = await web.graphql(CHANGE, change(PASSWORD, ANOTHER), headers=COOKIE_MODE)
    assert changed.body == {"data": {"changePassword": True}}
    assert "errors" not in (await web.graphql(REFRESH, headers=COOKIE_MODE)).body
    assert (await web.graphql(REFRESH, {"token": player.refresh_token})).reason == "UNAUTHENTICATED"


async def test_logins_that_race_a_new_password_leave_no_session(web: Web, player: Player) -> None:
    async def changed() -> bool:
        while True:
            done = await web.graphql(CHANGE, change(PASSWORD, ANOTHER), token=player.access_token)
            if "errors" not in done.body:
                return bool(done.body == {"data": {"changePassword": True}})
            if done.reason != "UNAVAILABLE":
                # The new password is there if an attempt took effect whose response was late.
                return done.reason == "CREDENTIALS_INVALID"

    *sessions, is_changed = await asyncio.gather(*(login(web, player, PASSWORD) for _ in range(20)), changed())
    assert is_changed
    # A busy machine may also refuse some in time, for lack of it.
    tokens = [session["refreshToken"] for session in sessions if isinstance(session, dict)]
    reasons = {(await web.graphql(REFRESH, {"token": token})).reason for token in tokens}
    assert reasons <= {"UNAUTHENTICATED"}


async def test_operator_grants_the_first_admin_who_grants_others(stack: RunningStack, web: Web, player: Player) -> None:
    change_role(stack, "grant", player, "admin")
    admin = (await login(web, player, PASSWORD))["accessToken"]
    async with GraphqlClient(endpoints(stack).graphql) as client, endpoints(stack).channel("identity") as channel:
        other = await register(client)
        stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        grant = messages.GrantRoleRequest(username=other.username, role="admin")
        assert list((await call(stub.GrantRole, grant, token=admin)).user.roles) == ["admin", "player"]
        revoke = messages.RevokeRoleRequest(username=other.username, role="admin")
        assert list((await call(stub.RevokeRole, revoke, token=admin)).user.roles) == ["player"]


async def test_role_holds_from_the_next_login_until_it_is_revoked(
    stack: RunningStack, web: Web, player: Player
) -> None:
    assert (await web.graphql(FLAGS, token=player.access_token)).reason == "PERMISSION_DENIED"
    change_role(stack, "grant", player, "moderator")
    session = await login(web, player, PASSWORD)
    assert "errors" not in (await web.graphql(FLAGS, token=session["accessToken"])).body
    change_role(stack, "revoke", player, "moderator")
    refreshed = (await web.graphql(REFRESH, {"token": session["refreshToken"]})).body["data"]["refreshToken"]
    assert refreshed["user"]["roles"] == ["player"]
