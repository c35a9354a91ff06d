"""Finding, renaming and signing out players over GraphQL and the command line; what stays for a blocked player."""

from __future__ import annotations

import asyncio
import uuid
from asyncio.subprocess import PIPE, STDOUT
from datetime import datetime, timedelta
from typing import Any

import pytest
from topten.action.v1 import action_pb2

from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.clock import utc_now
from tests.deadline import eventually
from tests.imports import put_action_type
from tests.players import ACT, PASSWORD, SUBMIT, Player, endpoints, register
from tests.servers import RunningStack, topten, unique
from tests.system.graphql import browsing
from tests.system.moderation.test_moderation import ADJUST, BLOCK, UNBLOCK, Moderator, moderator, until_on_board

__all__ = ["moderator"]  # the fixture
USERS = """query ($prefix: String!, $blocked: Boolean!, $first: Int!, $after: String) {
  users(prefix: $prefix, blocked: $blocked, first: $first, after: $after) {
    edges { node { userId username block { reason expiresAt } sanctions { reason actor } } }
    pageInfo { hasNextPage endCursor } } }"""
USER = "query ($user: ID!) { user(userId: $user) { username roles sanctions { reason } } }"
RENAME = "mutation ($input: RenameUserInput!) { renameUser(input: $input) { formerUsername user { username } } }"
SESSIONS = "query ($user: ID!) { sessions(userId: $user) { sessionId openedAt renewedAt expiresAt } }"
END = "mutation ($input: EndSessionsInput!) { endSessions(input: $input) }"
CHANGES = "query ($user: ID!) { accountChanges(userId: $user) { kind actor reason formerUsername } }"
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken refreshToken } }"
DATA_TOKEN = """mutation ($input: LoginInput!) { dataToken(input: $input) {
  token expiresIn user { username block { reason expiresAt } } } }"""
EXPORT = "{ exportMyData { data next } }"
ERASE = "mutation ($password: String!) { deleteMyAccount(password: $password) }"
REGISTER = "mutation ($input: RegisterInput!) { register(input: $input) { user { userId } } }"
REASON = "a test"


async def refusal(execution: Any) -> str:
    with pytest.raises(GraphqlError) as refused:
        await execution
    return str(refused.value.reason)


async def found(moderator: Moderator, prefix: str, *, blocked: bool = False, first: int = 100) -> list[str]:
    """The names of all pages."""
    names: list[str] = []
    after = None
    while True:
        asked = {"prefix": prefix, "blocked": blocked, "first": first, "after": after}
        page = (await moderator.ask(USERS, **asked))["users"]
        names += [edge["node"]["username"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            return names
        after = page["pageInfo"]["endCursor"]


async def test_moderator_finds_players_by_name_and_the_blocked_with_reason_and_end(
    moderator: Moderator, client: GraphqlClient
) -> None:
    prefix = unique("Find")
    players = [await register(client, username=f"{prefix}{end}") for end in ("c", "a", "b")]
    names = [f"{prefix}{end}" for end in "abc"]
    assert await found(moderator, prefix.upper(), first=2) == names
    assert await found(moderator, prefix, blocked=True) == []
    await moderator.do(BLOCK, userId=players[0].user_id, reason=REASON, expiresAt="2099-01-02T03:04:05Z")
    page = await moderator.ask(USERS, prefix=prefix, blocked=True, first=10, after=None)
    (node,) = (edge["node"] for edge in page["users"]["edges"])
    assert node["block"] == {"reason": REASON, "expiresAt": "2099-01-02T03:04:05.000Z"}
    assert (await moderator.ask(USER, user=players[0].user_id))["user"]["sanctions"] == [{"reason": REASON}]
    token = players[1].access_token
    assert (
        await refusal(client.execute(USERS, {"prefix": "", "blocked": True, "first": 1}, token)) == "PERMISSION_DENIED"
    )


async def test_renamed_player_is_shown_under_the_new_name(moderator: Moderator, client: GraphqlClient) -> None:
    player = await register(client)
    await moderator.do(ADJUST, userId=player.user_id, delta=1_500_000_000 // 2, reason=REASON)
    await until_on_board(player, 1_500_000_000 // 2, {"kind": "ALL"})
    name = unique("decent")
    renamed = await moderator.do(RENAME, userId=player.user_id, username=name, reason="offensive")
    assert renamed == {"formerUsername": player.username, "user": {"username": name}}

    async def is_shown() -> bool:
        return name in [entry["username"] for entry in await player.top({"kind": "ALL"}, 100)]

    await eventually(is_shown, "the new name on the board")
    (change,) = (await moderator.ask(CHANGES, user=player.user_id))["accountChanges"]
    assert (change["kind"], change["reason"], change["formerUsername"]) == (
        "PROFILE_CHANGED",
        "offensive",
        player.username,
    )
    assert change["actor"]
    await moderator.do(ADJUST, userId=player.user_id, delta=-(1_500_000_000 // 2), reason=REASON)


@pytest.mark.parametrize("name", ["admin", "Moderator", "sys-tem", "T0pten", "x"])
async def test_moderator_gives_nobody_a_reserved_or_invalid_name(
    moderator: Moderator, client: GraphqlClient, name: str
) -> None:
    player = await register(client)
    assert (
        await refusal(moderator.do(RENAME, userId=player.user_id, username=name, reason=REASON)) == "INVALID_ARGUMENT"
    )
    taken = moderator.do(RENAME, userId=player.user_id, username=(await register(client)).username, reason=REASON)
    assert await refusal(taken) == "USERNAME_TAKEN"


async def test_ended_sessions_cannot_be_renewed(moderator: Moderator, client: GraphqlClient) -> None:
    player = await register(client)
    credentials = {"username": player.username, "password": PASSWORD}
    refresh = "mutation ($t: String!) { refreshToken(refreshToken: $t) { refreshToken } }"
    second = (await client.execute(LOGIN, {"input": credentials}))["login"]["refreshToken"]
    sessions = (await moderator.ask(SESSIONS, user=player.user_id))["sessions"]
    assert len(sessions) == 2
    assert all(each["openedAt"] <= each["renewedAt"] < each["expiresAt"] for each in sessions)
    assert second.startswith(sessions[0]["sessionId"]), "latest first"
    ended = await moderator.do(END, userId=player.user_id, sessionId=sessions[0]["sessionId"], reason="stolen")
    assert ended == 1
    assert await refusal(client.execute(refresh, {"t": second})) == "UNAUTHENTICATED"
    assert await moderator.do(END, userId=player.user_id, reason="all") == 1
    assert (await moderator.ask(SESSIONS, user=player.user_id))["sessions"] == []
    kinds = [each["kind"] for each in (await moderator.ask(CHANGES, user=player.user_id))["accountChanges"]]
    assert kinds == ["SESSIONS_ENDED", "SESSIONS_ENDED"]


async def blocked_player(client: GraphqlClient, moderator: Moderator) -> tuple[Player, str]:
    player = await register(client)
    ends = (utc_now() + timedelta(days=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    await moderator.do(BLOCK, userId=player.user_id, reason="played by a program", expiresAt=ends)
    return player, ends


async def test_blocked_player_is_told_why_and_until_when(
    stack: RunningStack, moderator: Moderator, client: GraphqlClient
) -> None:
    player, ends = await blocked_player(client, moderator)
    async with browsing(stack.http) as web:
        answer = await web.graphql(LOGIN, {"input": {"username": player.username, "password": PASSWORD}})
        assert answer.reason == "PLAYER_BLOCKED"
        extensions = answer.body["errors"][0]["extensions"]
        assert extensions["blockReason"] == "played by a program"
        assert extensions["blockedUntil"].replace("+00:00", "Z") == ends
        wrong = await web.graphql(LOGIN, {"input": {"username": player.username, "password": "wrong password"}})
        assert wrong.reason == "CREDENTIALS_INVALID", "a stranger is told nothing"


async def test_a_refused_submission_tells_a_blocked_player_why_and_until_when(
    stack: RunningStack, moderator: Moderator, client: GraphqlClient
) -> None:
    await put_action_type(endpoints(stack), walk := unique("walk-"), submitters=action_pb2.ActionType.PLAYERS)
    player, ends = await blocked_player(client, moderator)
    action = {"actionTypeId": walk, "actionId": str(uuid.uuid4()), "quantity": 1}
    answers = {"quizId": "solar-system", "actionId": str(uuid.uuid4()), "answers": [], "timestamp": ends}
    async with browsing(stack.http) as web:
        for document, fields in ((ACT, action), (SUBMIT, answers)):
            answer = await web.graphql(document, {"input": fields}, player.access_token)
            assert answer.reason == "PLAYER_BLOCKED"
            extensions = answer.body["errors"][0]["extensions"]
            assert extensions["blockReason"] == "played by a program"
            assert datetime.fromisoformat(extensions["blockedUntil"]) == datetime.fromisoformat(ends)


async def test_blocked_player_exports_and_erases_their_data_and_cannot_come_back(
    moderator: Moderator, client: GraphqlClient
) -> None:
    player, ends = await blocked_player(client, moderator)
    credentials = {"input": {"username": player.username, "password": PASSWORD}}
    issued = (await client.execute(DATA_TOKEN, credentials))["dataToken"]
    assert issued["user"]["block"] == {"reason": "played by a program", "expiresAt": ends}
    token = issued["token"]
    exported = (await client.execute(EXPORT, {}, token))["exportMyData"]["data"]
    assert exported["account"]["username"] == player.username
    assert exported["account"]["block"]["reason"] == "played by a program"
    for document, variables in (
        ("{ me { score } }", {}),
        ("{ getLeaderboard(limit: 1) { rank } }", {}),
        ("{ streamToken { token } }", {}),
        (
            "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { userId } }",
            {"input": {"country": "VN"}},
        ),
    ):
        assert await refusal(client.execute(document, variables, token)) == "PERMISSION_DENIED", document
    assert (await client.execute(ERASE, {"password": PASSWORD}, token))["deleteMyAccount"] is True
    for name in (player.username, player.username.upper()):
        again = {"input": {"username": name, "password": PASSWORD}}
        assert await refusal(client.execute(REGISTER, again)) == "USERNAME_TAKEN"


async def test_unblocked_player_who_erases_their_account_leaves_a_free_name(
    moderator: Moderator, client: GraphqlClient
) -> None:
    player, _ = await blocked_player(client, moderator)
    await moderator.do(UNBLOCK, userId=player.user_id, reason=REASON)
    token = (await client.execute(LOGIN, {"input": {"username": player.username, "password": PASSWORD}}))["login"]
    await client.execute(ERASE, {"password": PASSWORD}, token["accessToken"])
    again = {"input": {"username": player.username, "password": PASSWORD}}
    assert (await client.execute(REGISTER, again))["register"]["user"]["userId"] != player.user_id


async def test_commands_find_rename_block_and_sign_out(stack: RunningStack, client: GraphqlClient) -> None:
    player = await register(client)
    name = unique("cmd")

    async def user(*arguments: str) -> str:
        command = topten("user", *arguments, f"--data={stack.data}")
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    assert await user("rename", player.username, name, "--reason=offensive") == f"{player.username} is now {name}.\n"
    (line,) = (await user("sessions", name)).splitlines()
    assert "renewed" in line
    assert await user("end-sessions", name, "--reason=stolen") == "Sessions ended: 1.\n"
    blocked = await user("block", name, "--reason=cheating", "--until=2099-01-02")
    assert "blocked until 2099-01-02T00:00:00Z: cheating" in blocked
    assert player.user_id in await user("list", name, "--blocked")
    assert await user("unblock", name.upper(), "--reason=a mistake") == "Sanctions lifted: 1.\n"
    assert await user("list", name, "--blocked") == "No such accounts.\n"
