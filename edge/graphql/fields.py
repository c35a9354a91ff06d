"""Declarations of GraphQL fields: who may call a field, what it costs, and which rate it counts for.

A declaration stands at the resolver, in `@field`, and everything else reads it from the schema: `guard` here, the cost rule
and the rates of a prepared document. The service behind a field checks the caller again.

Every root field declares its access, and every list of objects its size; otherwise the process does not start. Callers of
a root field may read everything below it, except what services leave empty (roles and block of another account, and
who did what from where in a history).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import strawberry
from graphql import (
    GraphQLField,
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_composite_type,
)

from edge.graphql.binding import SOURCE
from edge.graphql.execution.field_names import with_field_names
from edge.rates.rates import DEFAULTS
from services.runtime.auth.access import EVERYBODY, is_known
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.methods import methods

_KEY: Final = "topten"


class Page(NamedTuple):
    """The argument with the length of a list, from 1 to `maximum`."""

    argument: str
    maximum: int


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is declared about a field; the defaults hold for one without a declaration."""

    access: frozenset[str] = frozenset()
    cost: int = 1
    rate: str = "query"
    size: float | Page | None = None
    same_for_all: bool = False
    board_tokens: bool = False


_UNDECLARED = Declaration()


def field(
    *,
    description: str | None = None,
    access: frozenset[str] = frozenset(),
    cost: int = 1,
    rate: str = "query",
    size: float | Page | None = None,
    same_for_all: bool = False,
    board_tokens: bool = False,
) -> Any:
    """Declare a field of the schema, as a decorator of its resolver or as the default of an attribute.

    `access` has the roles and scopes of which a caller of a root field needs one (`EVERYBODY` admits anonymous callers as
    well); `rpc` reads it from a contract. `cost` is in points: 1 for a value, 30 for a read of a service, 200 for a write.
    `rate` is a name in `edge.rates.rates.DEFAULTS`. `size` is the typical length of a list, or the argument that bounds
    it. `same_for_all` states that the response depends on arguments and boards alone, not on the caller.
    `board_tokens` admits holders of board tokens as well; the resolver then names its board by `Context.board`.
    """
    declared = Declaration(access, cost, rate, size, same_for_all, board_tokens)
    return strawberry.field(description=description, metadata={_KEY: declared})


def rpc(name: str) -> frozenset[str]:
    """Return who may call `<service>.<Method>`, as its contract declares. The service's stubs must be imported."""
    service, _, method = name.partition(".")
    return methods(f"topten.{service}.v1.{service.capitalize()}Service")[method].access


def declaration(definition: GraphQLField) -> Declaration:
    """Return the declaration of a field of the schema, the default one if it has none."""
    source = definition.extensions.get(SOURCE)
    declared = source.metadata.get(_KEY) if source is not None else None
    return declared if isinstance(declared, Declaration) else _UNDECLARED


def guard(schema: GraphQLSchema) -> GraphQLSchema:
    """Put every root field behind its declared access and page size. Raises ValueError for a missing declaration."""
    if problems := sorted(_problems(schema)):
        raise ValueError(f"invalid declarations of GraphQL fields: {'; '.join(problems)}")
    for root in _roots(schema):
        for definition in root.fields.values():
            if definition.resolve is not None:
                definition.resolve = _guarded(definition.resolve, definition)
    return schema


def _roots(schema: GraphQLSchema) -> list[GraphQLObjectType]:
    return [root for root in (schema.query_type, schema.mutation_type) if root is not None]


def _problems(schema: GraphQLSchema) -> Iterator[str]:
    roots = _roots(schema)
    for parent in schema.type_map.values():
        if not isinstance(parent, GraphQLObjectType) or parent.name.startswith("__"):
            continue
        for name, definition in parent.fields.items():
            for problem in _problems_of(definition, is_root=parent in roots):
                yield f"{parent.name}.{name} {problem}"


def _problems_of(definition: GraphQLField, *, is_root: bool) -> Iterator[str]:
    declared = declaration(definition)
    if is_root and not declared.access:
        yield "has no access"
    if unknown := [permission for permission in declared.access if not is_known(permission)]:
        yield f"admits unknown roles or scopes: {', '.join(unknown)}"
    if declared.rate not in DEFAULTS:
        yield f"counts for an unknown rate: {declared.rate}"
    if declared.size is None and _is_list_of_objects(definition):
        yield "has no size"
    if isinstance(declared.size, Page) and declared.size.argument not in definition.args:
        yield f"has no argument {declared.size.argument}"


def _is_list_of_objects(definition: GraphQLField) -> bool:
    return isinstance(get_nullable_type(definition.type), GraphQLList) and is_composite_type(
        get_named_type(definition.type)
    )


def _guarded(resolve: Callable[..., Any], definition: GraphQLField) -> Callable[..., Any]:
    declared = declaration(definition)

    def resolver(source: Any, info: Any, **arguments: Any) -> Any:
        caller = info.context.caller
        if caller.board:
            if not declared.board_tokens:
                caller.require(declared.access)
        elif declared.access != EVERYBODY:
            caller.require(declared.access)
        if isinstance(declared.size, Page):
            _check_size(declared.size, arguments[declared.size.argument])
        result = resolve(source, info, **arguments)
        return _named(result, definition) if inspect.iscoroutine(result) else result

    return resolver


async def _named(result: Coroutine[Any, Any, Any], definition: GraphQLField) -> Any:
    """Await a resolver; an error about the request names the field's arguments."""
    try:
        return await result
    except ServiceError as error:
        named = with_field_names(error, definition)
        if named is error:
            raise
        raise named from error


def _check_size(page: Page, value: int) -> None:
    if not 1 <= value <= page.maximum:
        message = f"{page.argument} is {value}. It must be between 1 and {page.maximum}."
        raise ServiceError(Reason.INVALID_ARGUMENT, message)
