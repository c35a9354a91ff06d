"""Players of other systems, over real processes: brought by their team's service, known on boards, signed in, erased."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import pytest
from topten.identity.v1 import identity_service_pb2 as messages
from topten.identity.v1.identity_pb2 import EnsuredPlayer, PlayerProfile
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from services.cli.identity.clients import add_client
from services.cli.system.client import GraphqlClient
from services.runtime.auth.service_token import ServiceToken
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call
from tests.deadline import deadline_seconds
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.outside import ISSUER, OutsideIssuer
from tests.players import Player, endpoints, shows, stream, until
from tests.servers import RunningStack, run_topten, unique
from tests.system.accounts.residue import residue_in_mongo
from tests.system.graphql import Web

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

ME = "{ me { userId username country } }"
TOP = "query ($board: BoardInput) { getLeaderboard(board: $board) { username user { country avatarUrl } } }"
EXPORT = "{ exportMyData { data } }"
ERASE = 'mutation { deleteMyAccount(password: "none") }'


class Team:
    """A team's service, as a client that the operator has added."""

    def __init__(self, stub: IdentityServiceAsyncStub, token: str) -> None:
        self._stub = stub
        self._token = token

    @classmethod
    async def add(cls, stack: RunningStack, stub: IdentityServiceAsyncStub, issuer: str = "") -> Team:
        name = unique("team-")
        secret = await add_client(endpoints(stack), name, ["player:write"], issuer)
        url = f"{stack.endpoints['identity_http']}/oauth/token"
        async with ServiceToken(url, name, secret) as token:
            return cls(stub, await token.get())

    async def ensure(self, *players: PlayerProfile) -> list[EnsuredPlayer]:
        request = messages.EnsurePlayersRequest(players=players)
        return list(
            (await call(self._stub.EnsurePlayers, request, token=self._token, timeout=deadline_seconds())).results
        )


@pytest.fixture
async def stub(stack: RunningStack) -> AsyncIterator[IdentityServiceAsyncStub]:
    async with endpoints(stack).channel("identity") as channel:
        yield cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))


async def test_two_teams_bring_players_with_the_same_ids(stack: RunningStack, stub: IdentityServiceAsyncStub) -> None:
    shop, game = await Team.add(stack, stub), await Team.add(stack, stub)
    names = [unique("p-") for _ in range(500)]
    players = [PlayerProfile(external_id=str(n), username=name, country="VN") for n, name in enumerate(names)]
    players[3].username = "!"
    first = await shop.ensure(*players)
    assert [each.status for each in first] == [
        EnsuredPlayer.REFUSED if n == 3 else EnsuredPlayer.CREATED for n in range(500)
    ]
    assert (first[3].reason, first[3].field) == ("INVALID_ARGUMENT", "username")
    again = await shop.ensure(*players)
    assert [each.user_id for each in again] == [each.user_id for each in first]
    assert {each.status for each in again} == {EnsuredPlayer.UNCHANGED, EnsuredPlayer.REFUSED}
    assert [each.reason for each in await game.ensure(*players[:2])] == ["USERNAME_TAKEN"] * 2
    (theirs,) = await game.ensure(PlayerProfile(external_id="0", username=unique("q-")))
    assert theirs.status == EnsuredPlayer.CREATED
    assert theirs.user_id != first[0].user_id
    for wrong in ([], [*players, players[0]]):
        with pytest.raises(ServiceError) as refused:
            await shop.ensure(*wrong)
        assert (refused.value.reason, refused.value.violations[0][0]) == (Reason.INVALID_ARGUMENT, "players")


async def test_a_teams_player_signs_in_at_its_issuer_is_renamed_on_boards_and_stays_erased(
    stack: RunningStack, web: Web, stub: IdentityServiceAsyncStub
) -> None:
    team = await Team.add(stack, stub, ISSUER)
    subject, name, new_name = unique("auth0|"), unique("Ada-"), unique("Bea-")
    profile = PlayerProfile(external_id=subject, username=name, country="VN", avatar_url="https://x.example/a.png")
    (brought,) = await team.ensure(profile)
    quiz_id = unique("brought-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    async with OutsideIssuer() as issuer, GraphqlClient(endpoints(stack).graphql) as client:
        token = issuer.token(sub=subject, nickname="another")
        response = await web.graphql(ME, token=token)
        assert response.status == 200, response.body
        seen = response.body["data"]["me"]
        assert seen == {"userId": brought.user_id, "username": name, "country": "VN"}
        async with stream(stack.http, token, f"quiz:{quiz_id}") as events:
            await Player(client, name, brought.user_id, token, "").submit(quiz_id, [("q1", "a")])
            await until(events, shows(name, 1))
            profile.username = new_name
            (renamed,) = await team.ensure(profile)
            assert (renamed.status, renamed.user_id) == (EnsuredPlayer.UPDATED, brought.user_id)
            await until(events, shows(new_name, 1))
        top = (await web.graphql(TOP, {"board": {"kind": "QUIZ", "quizId": quiz_id}}, token=token)).body["data"]
        assert top["getLeaderboard"] == [
            {"username": new_name, "user": {"country": "VN", "avatarUrl": "https://x.example/a.png"}}
        ]
        exported = (await web.graphql(EXPORT, token=token)).body["data"]["exportMyData"]["data"]
        assert exported["externalId"] == {"source": ISSUER, "externalId": subject}
        assert [each["kind"] for each in exported["accountChanges"]] == ["PLAYER_ADDED", "PROFILE_CHANGED"]
        assert (await web.graphql(ERASE, token=token)).body == {"data": {"deleteMyAccount": True}}
    (refused,) = await team.ensure(profile)
    assert (refused.status, refused.reason, refused.user_id) == (EnsuredPlayer.REFUSED, "PLAYER_NOT_FOUND", "")
    assert await residue_in_mongo(stack.endpoints["stores"]["mongo"], [subject, name, new_name]) == set()


async def test_command_reports_each_line_and_exits_by_what_it_found(stack: RunningStack, tmp_path: Any) -> None:
    file, name = tmp_path / "players.jsonl", unique("cli-")
    good = {"externalId": unique("u-"), "username": name, "country": "VN"}
    file.write_text(json.dumps(good) + "\n\n")
    done = await run_topten("player", "ensure", str(file), data=stack.data)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "CREATED"
    assert done.stderr == "1 created, 0 updated, 0 unchanged, 0 refused.\n"
    lines = [good, {"externalId": "x", "username": "!"}, {"id": 7}, ["no"], {"externalId": "y" * 70_000}]
    file.write_bytes(b"\n".join(json.dumps(line).encode() for line in lines) + b"\n\xff\n")
    done = await run_topten("player", "ensure", str(file), data=stack.data)
    assert done.returncode == 1
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["status"] for each in results] == ["UNCHANGED", *["REFUSED"] * 5]
    assert [each.get("message", "")[:8] for each in results[2:]] == ["Line 3: ", "Line 4: ", "Line 5: ", "Line 6: "]


async def test_an_issuer_that_is_not_accepted_binds_no_client(stack: RunningStack) -> None:
    arguments = ("client", "add", unique("t-"), "--scope", "player:write", "--issuer", "https://evil.example")
    done = await run_topten(*arguments, data=stack.data)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Unknown issuer. Issuers in TOPTEN_AUTH_ISSUERS: {ISSUER}." in done.stderr
