"""Variables: the coercion of an operation's variables, compiled to what it does every time.

graphql-core asks each type of each value what it is, at every call. Here types are asked once. What it would refuse, and what
is not covered (`@oneOf`, inputs within themselves), is left to it. Must never differ from it in a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    Undefined,
    VariableDefinitionNode,
    VariableValues,
    is_required_input_field,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValueSource
from graphql.utilities.coerce_input_value import coerce_default_value

# Scalars that take any text as it is.
_TEXTS: Final = frozenset({"String", "ID"})
# From a value of a request to the one that resolvers get.
Coerce = Callable[[Any], Any]


class UnplannedError(Exception):
    """graphql-core must do this."""


class _Field(NamedTuple):
    """A field of an input object. `default` is Undefined if it has none."""

    name: str
    out_name: str
    coerce: Coerce
    is_required: bool
    default: Any


class Variables:
    """The variables of one operation. Raises UnplannedError for types that are not covered."""

    def __init__(self, schema: GraphQLSchema, definitions: Iterable[VariableDefinitionNode]) -> None:
        self._known: list[tuple[GraphQLVariableSignature, Coerce, Any]] = []
        for definition in definitions:
            signature = get_variable_signature(schema, definition)
            if isinstance(signature, GraphQLError):
                raise UnplannedError
            self._known.append((signature, _coercion(signature.type, ()), coerce_default_value(signature)))

    def values(self, given: Mapping[str, Any]) -> VariableValues:
        """Return the values of a request. Raises UnplannedError, or what a scalar raises for a value that it refuses."""
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for signature, coerce, default in self._known:
            name = signature.name
            if name in given:
                sources[name] = VariableValueSource(signature, given[name])
                coerced[name] = coerce(given[name])
                continue
            sources[name] = VariableValueSource(signature)
            if default is not Undefined:
                coerced[name] = default
            elif isinstance(signature.type, GraphQLNonNull):
                raise UnplannedError
        return VariableValues(sources, coerced)


def _coercion(kind: GraphQLInputType, parents: tuple[GraphQLInputType, ...]) -> Coerce:
    """Return the coercion of a type, which is a field of its `parents`."""
    if isinstance(kind, GraphQLNonNull):
        return _required(_coercion(kind.of_type, parents))
    if isinstance(kind, GraphQLList):
        return _list(_coercion(kind.of_type, parents))
    if isinstance(kind, GraphQLInputObjectType):
        return _object(kind, parents)
    return _leaf(kind)


def _required(coerce: Coerce) -> Coerce:
    def coerce_required(value: Any) -> Any:
        if value is None:
            raise UnplannedError
        return coerce(value)

    return coerce_required


def _list(coerce: Coerce) -> Coerce:
    def coerce_list(value: Any) -> Any:
        if value is None:
            return None
        return [coerce(each) for each in (value if isinstance(value, list) else (value,))]

    return coerce_list


def _object(kind: GraphQLInputObjectType, parents: tuple[GraphQLInputType, ...]) -> Coerce:
    if kind in parents or kind.is_one_of:
        raise UnplannedError
    fields = [
        _Field(
            name,
            field.out_name or name,
            _coercion(field.type, (*parents, kind)),
            is_required_input_field(field),
            coerce_default_value(field),
        )
        for name, field in kind.fields.items()
    ]

    def coerce_object(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise UnplannedError
        made = {}
        unknown = len(value)
        for name, out_name, coerce, is_required, default in fields:
            if name in value:
                made[out_name] = coerce(value[name])
                unknown -= 1
            elif is_required:
                raise UnplannedError
            elif default is not Undefined:
                made[out_name] = default
        if unknown:
            raise UnplannedError
        return kind.out_type(made)

    return coerce_object


def _leaf(kind: GraphQLLeafType) -> Coerce:
    takes_text = kind.name in _TEXTS
    coerce = kind.coerce_input_value

    def coerce_leaf(value: Any) -> Any:
        if value is None or (takes_text and type(value) is str):
            return value
        coerced = coerce(value)
        if coerced is Undefined:
            raise UnplannedError
        return coerced

    return coerce_leaf
