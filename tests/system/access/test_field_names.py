"""Services' refusals of wrong values name the field as the schema does: a sweep over every mutation and query."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    get_named_type,
    get_nullable_type,
    is_required_argument,
)

from edge.graphql.schema import executable_schema
from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient
from services.runtime.clock import utc_now
from tests.players import PASSWORD, endpoints, register
from tests.servers import RunningStack
from tests.system.graphql import Web, browsing

SCHEMA = executable_schema()
WRONG: dict[str, list[Any]] = {
    "ID": ["", "x" * 3000, "a\x00b", "not an id"],
    "String": ["", "x" * 3000, "a\x00b"],
    "Int": [-(2**31), -1, 0, 2**31 - 1],
    "Float": [-1.0, 1e300],
    "DateTime": ["1000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
}
RIGHT: dict[str, Any] = {
    "userId": str(uuid.uuid4()), "userIds": [str(uuid.uuid4())], "actionId": str(uuid.uuid4()), "flagId": "0" * 24,
    "quizId": "solar-system", "id": "solar-system", "kind": "WEEKLY", "board": {"kind": "WEEKLY", "period": "2020-01"},
    "delta": 1, "points": 1, "percentile": 50.0, "answers": [], "timestamp": utc_now().isoformat(), "username": "ada",
    "password": "a" * 12, "currentPassword": "a" * 12, "newPassword": "b" * 12, "submitters": "SERVICES",
    "rule": {"fixed": {"points": 1}}, "roomId": str(uuid.uuid4()), "groupId": str(uuid.uuid4()), "pin": "123456",
    "commandId": str(uuid.uuid4()), "document": "{}", "copyId": "a-copy", "base64": "e30=", "version": 2**30, "revision": 0,
    "attemptId": str(uuid.uuid4()), "webhookId": str(uuid.uuid4()), "deliveryId": str(uuid.uuid4()),
    "url": "https://hooks.example.com/", "kinds": ["BOARD_CLOSED"], "boardName": "cup",
}  # fmt: skip
# A wrong name or token is refused for another reason, or changes the account that the sweep uses; a proof needs a
# closed period with players before anything else is looked at, and a version that is put back must be kept.
SKIPPED = {"logout", "deleteMyAccount", "changePassword", "updateProfile", "proof", "restoreQuizVersion"}


def right(name: str, type_: Any) -> Any:
    if name in RIGHT:
        return RIGHT[name]
    nullable = get_nullable_type(type_)
    if isinstance(nullable, GraphQLList):
        return []
    if isinstance(nullable, GraphQLEnumType):
        return next(iter(nullable.values))
    if isinstance(nullable, GraphQLInputObjectType):
        if nullable.name == "GivenAnswerInput":  # none of its forms is required, but one of them is
            return {"selectedOption": "a"}
        return {
            key: right(key, field.type)
            for key, field in nullable.fields.items()
            if isinstance(field.type, GraphQLNonNull)
        }
    return {"Int": 1, "Float": 1.0, "Boolean": False}.get(nullable.name, "text")


def wrong(name: str, type_: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield paths and values of an argument that are right but for the value at the path."""
    nullable = get_nullable_type(type_)
    if isinstance(nullable, GraphQLList):
        for inner, value in wrong(name.removesuffix("s"), nullable.of_type, f"{path}[0]"):
            yield inner, [value]
        return
    if isinstance(nullable, GraphQLInputObjectType):
        for key, field in nullable.fields.items():
            for inner, value in wrong(key, field.type, f"{path}.{key}"):
                yield inner, right("", nullable) | {key: value}
        return
    for value in WRONG.get(nullable.name, []):
        yield path, value


def selection(definition: GraphQLField) -> str:
    return " { __typename }" if hasattr(get_named_type(definition.type), "fields") else ""


async def refusals(web: Web, token: str, operation: str, name: str, definition: GraphQLField) -> list[tuple[str, str]]:
    """Return the path and the message of every refusal of a wrong value of a root field."""
    found = []
    needed = {
        key: right(key, argument.type) for key, argument in definition.args.items() if is_required_argument(argument)
    }
    for key, argument in definition.args.items():
        for path, value in wrong(key, argument.type, key):
            sent = {**needed, key: value}
            declared = ", ".join(f"${each}: {definition.args[each].type}" for each in sent)
            passed = ", ".join(f"{each}: ${each}" for each in sent)
            document = f"{operation} ({declared}) {{ {name}({passed}){selection(definition)} }}"
            answer = await web.graphql(document, sent, token)
            for error in answer.body.get("errors", []):
                assert error["extensions"]["reason"] != "INTERNAL", (name, path, value, error)
                if error["extensions"]["reason"] == "INVALID_ARGUMENT":
                    found.append((path, error["message"]))
    return found


async def test_every_refused_value_is_named(stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        for role in ("moderator", "admin"):
            await grant_role(endpoints(stack), player.username, role)
        token = await client.login(player.username, PASSWORD)
    nameless, count = [], 0
    async with browsing(stack.http) as web:
        for operation, root in (("query", SCHEMA.query_type), ("mutation", SCHEMA.mutation_type)):
            assert root is not None
            for name, definition in root.fields.items():
                if name in SKIPPED or not definition.args:
                    continue
                for path, message in await refusals(web, token, operation, name, definition):
                    count += 1
                    # Services know a board by one text, which its members make up together.
                    before, board, _ = path.partition("board.")
                    named = f"{before}board" if board else path.partition("[")[0]
                    # An answer whose only form is empty is empty as a whole.
                    if message.startswith(f"{path.rpartition('.')[0]}: is empty"):
                        continue
                    if named not in message:
                        nameless.append((name, path, message))
    assert count > 50, "the sweep reaches the services"
    assert nameless == [], nameless
