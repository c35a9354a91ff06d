"""Declarations of GraphQL fields: a schema with a missing or impossible one is refused, and access is enforced."""

from __future__ import annotations

from typing import Any

import pytest
import strawberry
from graphql import ExecutionResult, GraphQLSchema, execute_sync, parse

from edge.graphql.fields import Page, field, guard, rpc
from edge.graphql.schema import executable_schema
from edge.http.callers.authentication import Caller
from services.runtime.auth.access import ACCOUNTS, EVERYBODY, STAFF
from services.runtime.errors import Reason, ServiceError


class Context:
    """An anonymous request."""

    caller = Caller()


def schema(declared: Any, kind: type = str) -> GraphQLSchema:
    """A schema whose one root field is `declared` with an argument `first`."""

    def resolver(first: int = 10) -> Any:
        return ["a"] * first

    resolver.__annotations__["return"] = list[kind]  # type: ignore[valid-type]  # known at run time only
    query = type("Query", (), {"entries": declared(resolver)})
    return strawberry.Schema(query=strawberry.type(query))._schema  # as edge.graphql.schema


def reasons(result: ExecutionResult) -> list[Reason]:
    return [
        error.original_error.reason for error in result.errors or () if isinstance(error.original_error, ServiceError)
    ]


@strawberry.type
class Thing:
    name: str


@pytest.mark.parametrize(
    ("declared", "kind", "problem"),
    [
        (strawberry.field, str, "Query.entries has no access"),
        (field(cost=30), str, "Query.entries has no access"),
        (field(access=frozenset({"queen"})), str, "Query.entries admits unknown roles or scopes: queen"),
        (field(access=EVERYBODY, rate="dance"), str, "Query.entries counts for an unknown rate: dance"),
        (field(access=EVERYBODY), Thing, "Query.entries has no size"),
        (field(access=EVERYBODY, size=Page("last", 10)), Thing, "Query.entries has no argument last"),
    ],
)
def test_a_field_without_a_valid_declaration_stops_the_start(declared: Any, kind: type, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        guard(schema(declared, kind))


def test_a_caller_without_access_never_reaches_a_resolver() -> None:
    result = execute_sync(guard(schema(field(access=ACCOUNTS))), parse("{ entries }"), context_value=Context())
    assert result.data is None
    assert reasons(result) == [Reason.UNAUTHENTICATED]


@pytest.mark.parametrize("first", [0, -1, 21])
def test_a_page_of_a_size_out_of_bounds_never_reaches_a_resolver(first: int) -> None:
    guarded = guard(schema(field(access=EVERYBODY, size=Page("first", 20))))
    document = parse(f"{{ entries(first: {first}) }}")
    result = execute_sync(guarded, document, context_value=Context())
    assert reasons(result) == [Reason.INVALID_ARGUMENT]


def test_access_is_read_from_the_contract() -> None:
    executable_schema()
    assert rpc("quiz.VoidAction") == STAFF | {"score:adjust"}
