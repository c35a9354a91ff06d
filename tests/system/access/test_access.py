"""Who may do what: each method, root field and address of permissions.py admits its callers, and nobody else.

Each is called anonymously, and by a guest, two players, an author, a moderator, an admin, a service with exactly the row's
scopes, and one with every scope but those.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from topten.identity.v1 import identity_pb2, identity_service_pb2
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient
from services.identity.tokens import TokenIssuer
from services.runtime.auth.access import OWN_SCOPES, SCOPES
from services.runtime.clock import utc_now
from services.runtime.grpc.client import call
from tests.deadline import deadline
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack
from tests.system.access.calls import called, document
from tests.system.access.permissions import ADDRESSES, GUARDED, METHODS, ROOTS, RPCS, process_of
from tests.system.graphql import Web, browsing

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")
ADJUST = "mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { eventId } }"
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { eventId } }"
GUEST = "mutation ($nickname: String!) { continueAsGuest(nickname: $nickname) { accessToken } }"
HISTORY = "query ($id: ID!) { scoreHistory(userId: $id) { edges { node { ip userAgent actor } } } }"


@dataclass(frozen=True)
class Caller:
    """A caller: its roles and scopes, and its token."""

    name: str
    may: frozenset[str]
    token: str

    def expected(self, row: str) -> str:
        """The outcome that a row declares for this caller."""
        if row == "*" or self.may & {*row.split()}:
            return "admitted"
        return "PERMISSION_DENIED" if self.token else "UNAUTHENTICATED"


@dataclass(frozen=True)
class Callers:
    """All callers. `own` is about `ada`. `leaving` is the token of another guest, who may be erased."""

    ada: Player
    leaving: str
    accounts: tuple[Caller, ...]
    issuer: TokenIssuer

    def of(self, row: str) -> list[Caller]:
        """The callers of a row; the scopes of the two services depend on it."""
        scopes_of_row = frozenset(row.split()) & SCOPES.keys()
        return [
            *self.accounts,
            *(
                Caller(
                    name, scopes, self.issuer.service_token("another-team", frozenset({"service"}), scopes, utc_now())
                )
                for name, scopes in (("service", scopes_of_row), ("service without", frozenset(SCOPES) - scopes_of_row))
            ),
        ]


@pytest.fixture(scope="module")
async def callers(stack: RunningStack) -> Callers:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        ada, other, *staff = await asyncio.gather(*(register(client) for _ in range(5)))
        guest, leaving = [
            (await client.execute(GUEST, {"nickname": "anna"}))["continueAsGuest"]["accessToken"] for _ in range(2)
        ]
        tokens = {}
        for role, player in zip(("author", "moderator", "admin"), staff, strict=True):
            await grant_role(endpoints(stack), player.username, role)
            tokens[role] = await client.login(player.username, PASSWORD)
    accounts = [
        Caller("nobody", frozenset({"anonymous"}), ""),
        Caller("guest", frozenset({"guest"}), guest),
        Caller("player", frozenset({"player", "own"}), ada.access_token),
        Caller("other player", frozenset({"player"}), other.access_token),
        *(Caller(role, frozenset({"player", role}), token) for role, token in tokens.items()),
    ]
    pem = (stack.data / "secrets" / "signing_key.pem").read_text()
    issuer = TokenIssuer(pem, issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))
    return Callers(ada, leaving, tuple(accounts), issuer)


@pytest.fixture(scope="module")
async def web(stack: RunningStack) -> Any:
    async with browsing(stack.http) as opened:
        yield opened


def expected_of(callers: Callers, row: str) -> dict[str, str]:
    return {caller.name: caller.expected(row) for caller in callers.of(row)}


def outcome(reason: str) -> str:
    """Whether the caller was admitted; an empty request may be invalid, which is found after that."""
    return reason if reason in REFUSALS else "admitted"


def test_every_service_of_the_contracts_is_called() -> None:
    contracts = {file.parent.parent.name for file in (Path(__file__).parents[3] / "proto").rglob("*_service.proto")}
    assert {path.partition(".")[0] for path in RPCS} == contracts


def test_every_scope_admits_to_something_and_processes_have_only_those() -> None:
    used = {word for row in (*RPCS.values(), *ROOTS.values()) for word in row.split() if ":" in word}
    assert used == SCOPES.keys()
    assert frozenset().union(*OWN_SCOPES.values()) <= SCOPES.keys()


@pytest.mark.parametrize("path", RPCS)
async def test_a_method_admits_exactly_its_declared_callers(stack: RunningStack, callers: Callers, path: str) -> None:
    fields = {"userId": callers.ada.user_id} if "own" in RPCS[path].split() else {}
    found = {
        caller.name: outcome(await called(stack, process_of(path), METHODS[path], fields, caller.token))
        for caller in callers.of(RPCS[path])
    }
    assert found == expected_of(callers, RPCS[path])


@pytest.mark.parametrize("path", ROOTS)
async def test_a_field_admits_exactly_its_declared_callers(web: Web, callers: Callers, path: str) -> None:
    given = {
        "Query.scoreHistory": {"userId": f'"{callers.ada.user_id}"'},
        # Each exchanges the same token, which is allowed for a minute.
        "Mutation.refreshToken": {"refreshToken": f'"{callers.ada.refresh_token}"'},
        # Authors decide at a quiz alone.
        "Mutation.setPlayerExtraTime": {"quizId": '"nothing"'},
    }
    text = document(path, given.get(path, {}))
    found = {}
    for caller in callers.of(ROOTS[path]):
        # A guest has no password that could be wrong.
        is_leaving = caller.name == "guest" and path == "Mutation.deleteMyAccount"
        answer = await web.graphql(text, token=callers.leaving if is_leaving else caller.token)
        assert answer.status == 200, answer.body
        found[caller.name] = outcome(answer.reason if "errors" in answer.body else "OK")
    assert found == expected_of(callers, ROOTS[path])


@pytest.fixture(scope="module")
async def eve(stack: RunningStack, web: Web, callers: Callers) -> Player:
    """A player whose score a moderator has changed, and who is blocked."""
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        await player.submit("arithmetic-sprint", [])
        moderator = next(caller.token for caller in callers.accounts if caller.name == "moderator")
        done = {"userId": player.user_id, "reason": "a test of access"}
        await client.execute(ADJUST, {"input": done | {"delta": 7}}, moderator)
        async with deadline("the adjustment is in the history"):
            while len(await history(client, player.user_id, moderator)) < 2:
                await asyncio.sleep(0.05)
        await client.execute(BLOCK, {"input": done}, moderator)
    return player


async def history(client: GraphqlClient, user_id: str, token: str) -> list[dict[str, Any]]:
    rows = (await client.execute(HISTORY, {"id": user_id}, token))["scoreHistory"]["edges"]
    return [row["node"] for row in rows]


async def account(stack: RunningStack, user_id: str, token: str) -> identity_pb2.User:
    """An account as a caller sees it: the message behind `User`, read with the caller's token."""
    async with endpoints(stack).channel("identity") as channel:
        stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        request = identity_service_pb2.GetUsersRequest(user_ids=[user_id])
        return (await call(stub.GetUsers, request, token=token)).users[0]


def readers(callers: Callers, eve: Player, field: str, above: str) -> list[Caller]:
    """The callers that may read the parent of a field. `own` is Eve."""
    admitted = [caller for caller in callers.of(GUARDED[field]) if caller.expected(above) == "admitted"]
    return [replace(caller, token=eve.access_token) if "own" in caller.may else caller for caller in admitted]


@pytest.mark.parametrize("field", ["ip", "userAgent", "actor"])
async def test_a_history_shows_origins_to_listed_callers_only(
    stack: RunningStack, callers: Callers, eve: Player, field: str
) -> None:
    row = GUARDED[f"ScoreChange.{field}"]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        for caller in readers(callers, eve, f"ScoreChange.{field}", ROOTS["Query.scoreHistory"]):
            shown = any(change[field] is not None for change in await history(client, eve.user_id, caller.token))
            assert shown == (caller.expected(row) == "admitted"), caller.name


async def test_an_account_shows_roles_and_block_to_listed_callers_only(
    stack: RunningStack, callers: Callers, eve: Player
) -> None:
    for caller in readers(callers, eve, "User.roles", RPCS["identity.GetUsers"]):
        user = await account(stack, eve.user_id, caller.token)
        assert bool(user.roles) == (caller.expected(GUARDED["User.roles"]) == "admitted"), caller.name
        assert user.HasField("block") == (caller.expected(GUARDED["User.block"]) == "admitted"), caller.name
        assert bool(user.sanctions) == (caller.expected(GUARDED["User.sanctions"]) == "admitted"), caller.name


@pytest.mark.parametrize("path", ADDRESSES)
async def test_an_address_admits_exactly_its_listed_callers(web: Web, callers: Callers, path: str) -> None:
    found = {}
    for caller in callers.of(ADDRESSES[path]):
        headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
        async with web.session.get(f"{web.http}{path}", headers=headers) as response:
            # There is no room with this PIN.
            outcomes = {200: "admitted", 404: "admitted", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
            found[caller.name] = outcomes[response.status]
    assert found == expected_of(callers, ADDRESSES[path])
