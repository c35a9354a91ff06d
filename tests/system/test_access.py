"""Who may do what: the table of permissions.py holds all there is, and every cell of it holds on a running system.

Each is called by nobody, two players, an author, a moderator, an admin, a service that has the row's scopes and no more,
and one that has every scope but those. What is in the contracts or the schema and not in the table fails here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_required_argument,
    is_required_input_field,
)
from topten.identity.v1 import identity_pb2, identity_service_pb2
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1 import leaderboard_service_pb2
from topten.quiz.v1 import quiz_service_pb2
from topten.score.v1 import score_service_pb2

from edge.graphql.schema import executable_schema
from services.identity.tokens import TokenIssuer
from services.local.client import GraphqlClient
from services.local.commands.user import grant_role
from services.runtime.access import OWN_SCOPES, SCOPES
from services.runtime.clock import utc_now
from services.runtime.errors import from_rpc_error
from services.runtime.grpc_client import call
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack
from tests.system.graphql import Web, browsing
from tests.system.permissions import ADDRESSES, FIELDS, GUARDED, ROOTS, RPCS

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

SCHEMA = executable_schema()
METHODS = {
    f"{name}.{method.name}": method
    for name, file in {
        "identity": identity_service_pb2,
        "quiz": quiz_service_pb2,
        "score": score_service_pb2,
        "leaderboard": leaderboard_service_pb2,
    }.items()
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")
ADJUST = "mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { eventId } }"
BLOCK = "mutation ($input: BlockUserInput!) { blockUser(input: $input) { eventId } }"
HISTORY = "query ($id: ID!) { scoreHistory(userId: $id) { edges { node { ip userAgent actor } } } }"


@dataclass(frozen=True)
class Caller:
    """One column: what it may be, and its token."""

    name: str
    may: frozenset[str]
    token: str

    def expected(self, row: str) -> str:
        """What the table says of a cell."""
        if row == "*" or self.may & {*row.split()}:
            return "admitted"
        return "PERMISSION_DENIED" if self.token else "UNAUTHENTICATED"


@dataclass(frozen=True)
class Callers:
    """All columns. `ada` is whom `own` is about."""

    ada: Player
    accounts: tuple[Caller, ...]
    issuer: TokenIssuer

    def of(self, row: str) -> list[Caller]:
        """The columns of a row; what the two services have depends on it."""
        asked = frozenset(row.split()) & SCOPES.keys()
        return [
            *self.accounts,
            *(
                Caller(
                    name, scopes, self.issuer.service_token("another-team", frozenset({"service"}), scopes, utc_now())
                )
                for name, scopes in (("service", asked), ("service without", frozenset(SCOPES) - asked))
            ),
        ]


@pytest.fixture(scope="module")
async def callers(stack: RunningStack) -> Callers:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        ada, other, *staff = await asyncio.gather(*(register(client) for _ in range(5)))
        tokens = {}
        for role, player in zip(("author", "moderator", "admin"), staff, strict=True):
            await grant_role(endpoints(stack), player.username, role)
            tokens[role] = await client.login(player.username, PASSWORD)
    accounts = [
        Caller("nobody", frozenset(), ""),
        Caller("player", frozenset({"player", "own"}), ada.access_token),
        Caller("other player", frozenset({"player"}), other.access_token),
        *(Caller(role, frozenset({"player", role}), token) for role, token in tokens.items()),
    ]
    pem = (stack.data / "secrets" / "signing_key.pem").read_text()
    issuer = TokenIssuer(pem, issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))
    return Callers(ada, tuple(accounts), issuer)


@pytest.fixture(scope="module")
async def web(stack: RunningStack) -> Any:
    async with browsing(stack.http) as opened:
        yield opened


def expected_of(callers: Callers, row: str) -> dict[str, str]:
    return {caller.name: caller.expected(row) for caller in callers.of(row)}


def outcome(reason: str) -> str:
    """An empty request may well be wrong; what matters is whether it was let in to be found so."""
    return reason if reason in REFUSALS else "admitted"


async def called(stack: RunningStack, name: str, method: MethodDescriptor, fields: Any, token: str) -> str:
    """What a method says to a request: a reason, or OK. Of a stream the first answer counts; a rebuild is let end."""
    request = json_format.ParseDict(fields, message_factory.GetMessageClass(method.input_type)())
    response: Any = message_factory.GetMessageClass(method.output_type)
    codec = {"request_serializer": type(request).SerializeToString, "response_deserializer": response.FromString}
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    path = f"/{method.containing_service.full_name}/{method.name}"
    async with grpc.aio.insecure_channel(stack.endpoints["grpc"][name]) as channel:
        try:
            if method.server_streaming:
                stream = channel.unary_stream(path, **codec)(request, metadata=metadata, timeout=10)
                while await stream.read() is not grpc.aio.EOF and method.name == "RebuildBoards":
                    pass
                stream.cancel()
            else:
                await channel.unary_unary(path, **codec)(request, metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as error:
            return str(from_rpc_error(error).reason)
    return "OK"


def dummy(kind: Any) -> str:
    """A literal of an input type, as short as it may be."""
    named = get_named_type(kind)
    if isinstance(kind.of_type if isinstance(kind, GraphQLNonNull) else kind, GraphQLList):
        return "[]"
    if isinstance(named, GraphQLEnumType):
        return str(next(iter(named.values)))
    if isinstance(named, GraphQLInputObjectType):
        needed = (f"{name}: {dummy(each.type)}" for name, each in named.fields.items() if is_required_input_field(each))
        return "{" + ", ".join(needed) + "}"
    return {"Int": "1", "Float": "1.0", "Boolean": "true", "DateTime": '"2026-11-23T20:00:00Z"'}.get(named.name, '"x"')


def document(path: str, given: dict[str, str]) -> str:
    """A document that asks for one field at the top, with what it needs or with the arguments given."""
    kind, name = path.split(".")
    field: GraphQLField = SCHEMA.type_map[kind].fields[name]  # type: ignore[attr-defined]  # it is an object type
    needed = {key: dummy(each.type) for key, each in field.args.items() if is_required_argument(each)} | given
    arguments = f"({', '.join(f'{key}: {value}' for key, value in needed.items())})" if needed else ""
    below = " { __typename }" if isinstance(get_named_type(field.type), GraphQLObjectType) else ""
    return f"{kind.lower()} {{ {name}{arguments}{below} }}"


def test_every_method_is_in_the_table() -> None:
    assert METHODS.keys() == RPCS.keys()


def test_every_field_is_in_the_table() -> None:
    objects = {
        name: set(kind.fields)
        for name, kind in SCHEMA.type_map.items()
        if isinstance(kind, GraphQLObjectType) and not name.startswith("__")
    }
    roots = {f"{kind}.{field}" for kind in ("Query", "Mutation") for field in objects.pop(kind)}
    assert roots == ROOTS.keys()
    assert objects == {name: set(fields.split()) for name, fields in FIELDS.items()}


def test_every_scope_opens_something_and_our_processes_have_no_more_than_there_is() -> None:
    used = {word for row in (*RPCS.values(), *ROOTS.values()) for word in row.split() if ":" in word}
    assert used == SCOPES.keys()
    assert frozenset().union(*OWN_SCOPES.values()) <= SCOPES.keys()


@pytest.mark.parametrize("path", RPCS)
async def test_a_method_admits_whom_the_table_names(stack: RunningStack, callers: Callers, path: str) -> None:
    fields = {"userId": callers.ada.user_id} if "own" in RPCS[path].split() else {}
    found = {
        caller.name: outcome(await called(stack, path.split(".", maxsplit=1)[0], METHODS[path], fields, caller.token))
        for caller in callers.of(RPCS[path])
    }
    assert found == expected_of(callers, RPCS[path])


@pytest.mark.parametrize("path", ROOTS)
async def test_a_field_admits_whom_the_table_names(web: Web, callers: Callers, path: str) -> None:
    given = {
        "Query.scoreHistory": {"userId": f'"{callers.ada.user_id}"'},
        # Each trades the same token, which it may for a minute.
        "Mutation.refreshToken": {"refreshToken": f'"{callers.ada.refresh_token}"'},
    }
    asked = document(path, given.get(path, {}))
    found = {}
    for caller in callers.of(ROOTS[path]):
        answer = await web.graphql(asked, token=caller.token)
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
        async with asyncio.timeout(20):
            while len(await history(client, player.user_id, moderator)) < 2:
                await asyncio.sleep(0.05)
        await client.execute(BLOCK, {"input": done}, moderator)
    return player


async def history(client: GraphqlClient, user_id: str, token: str) -> list[dict[str, Any]]:
    rows = (await client.execute(HISTORY, {"id": user_id}, token))["scoreHistory"]["edges"]
    return [row["node"] for row in rows]


async def account(stack: RunningStack, user_id: str, token: str) -> identity_pb2.User:
    """An account as a caller sees it: what a `User` of the schema is made of, by the caller's own token."""
    async with endpoints(stack).channel("identity") as channel:
        stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        request = identity_service_pb2.GetUsersRequest(user_ids=[user_id])
        return (await call(stub.GetUsers, request, token=token)).users[0]


def readers(callers: Callers, eve: Player, field: str, above: str) -> list[Caller]:
    """Who may ask for what a field lies below. `own` is Eve."""
    admitted = [caller for caller in callers.of(GUARDED[field]) if caller.expected(above) == "admitted"]
    return [replace(caller, token=eve.access_token) if "own" in caller.may else caller for caller in admitted]


@pytest.mark.parametrize("field", ["ip", "userAgent", "actor"])
async def test_a_history_shows_origins_to_whom_the_table_names(
    stack: RunningStack, callers: Callers, eve: Player, field: str
) -> None:
    row = GUARDED[f"ScoreChange.{field}"]
    async with GraphqlClient(endpoints(stack).graphql) as client:
        for caller in readers(callers, eve, f"ScoreChange.{field}", ROOTS["Query.scoreHistory"]):
            shown = any(change[field] is not None for change in await history(client, eve.user_id, caller.token))
            assert shown == (caller.expected(row) == "admitted"), caller.name


async def test_an_account_shows_roles_and_block_to_whom_the_table_names(
    stack: RunningStack, callers: Callers, eve: Player
) -> None:
    for caller in readers(callers, eve, "User.roles", RPCS["identity.GetUsers"]):
        user = await account(stack, eve.user_id, caller.token)
        assert bool(user.roles) == (caller.expected(GUARDED["User.roles"]) == "admitted"), caller.name
        assert user.HasField("block") == (caller.expected(GUARDED["User.block"]) == "admitted"), caller.name


@pytest.mark.parametrize("path", ADDRESSES)
async def test_an_address_admits_whom_the_table_names(web: Web, callers: Callers, path: str) -> None:
    found = {}
    for caller in callers.of(ADDRESSES[path]):
        headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
        async with web.session.get(f"{web.http}{path}", headers=headers) as response:
            found[caller.name] = {200: "admitted", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}[response.status]
    assert found == expected_of(callers, ADDRESSES[path])
