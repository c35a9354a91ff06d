"""Compiled variables have the values that graphql-core gives them, and refuse what it refuses."""

from __future__ import annotations

import random
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    OperationDefinitionNode,
    VariableDefinitionNode,
    VariableValues,
    get_variable_values,
    is_required_input_field,
    parse,
)

from edge.graphql.execution.variables import UnplannedError, Variables
from edge.graphql.schema import executable_schema

SCHEMA = executable_schema()
INPUTS = sorted(name for name, kind in SCHEMA.type_map.items() if isinstance(kind, GraphQLInputObjectType))
LEAVES: tuple[Any, ...] = ("text", "", 7, -1, 2**31, 1.5, 3.0, True, None, "2026-11-23T20:15:42.007Z", "WEEKLY", [], {})


def definitions(text: str) -> list[VariableDefinitionNode]:
    (operation,) = parse(f"query ({text}) {{ __typename }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    return list(operation.variable_definitions or ())


def value_of(kind: Any, chance: random.Random, faults: float) -> Any:
    """A value of a type; with the probability `faults` something else, at each level."""
    if chance.random() < faults:
        return chance.choice(LEAVES)
    if isinstance(kind, GraphQLNonNull):
        return value_of(kind.of_type, chance, faults)
    if isinstance(kind, GraphQLList):
        return [value_of(kind.of_type, chance, faults) for _ in range(chance.randrange(3))]
    if isinstance(kind, GraphQLInputObjectType):
        wanted = [
            name for name, field in kind.fields.items() if is_required_input_field(field) or chance.random() < 0.7
        ]
        value = {name: value_of(kind.fields[name].type, chance, faults) for name in wanted}
        return value | ({"unknown": 1} if chance.random() < faults else {})
    if isinstance(kind, GraphQLEnumType):
        return chance.choice(list(kind.values))
    return {"Int": 7, "Float": 1.5, "Boolean": True, "DateTime": "2026-11-23T20:15:42.007Z"}.get(kind.name, "text")


@pytest.mark.parametrize("name", [*INPUTS, "Int", "Float", "String", "Boolean", "ID", "DateTime"])
@pytest.mark.parametrize("form", ["{}!", "{}", "[{}!]!", "[[{}]]"])
def test_values_are_those_of_graphql_core(name: str, form: str) -> None:
    defined = definitions(f"$value: {form.format(name)}, $absent: Int")
    variables, chance = Variables(SCHEMA, defined), random.Random(name + form)
    kind = SCHEMA.type_map[name]
    for faults in (0.0, 0.05) * 30:
        value = value_of(kind, chance, faults)
        given = {"value": [[value, None], []] if form == "[[{}]]" else [value] if form == "[{}!]!" else value}
        try:
            values = variables.values(given)
        except Exception:  # noqa: BLE001  # of any kind: graphql-core says what is wrong
            assert faults, "a value that must be covered"
        else:
            assert repr(values) == repr(get_variable_values(SCHEMA, defined, given))


def test_absent_variables_have_their_defaults() -> None:
    defined = definitions('$a: Int = 3, $b: [ID!] = "one", $c: BoardInput = {kind: WEEKLY}, $d: Int')
    values, expected = Variables(SCHEMA, defined).values({}), get_variable_values(SCHEMA, defined, {})
    assert isinstance(expected, VariableValues)
    assert (values.coerced, [*values.sources]) == (expected.coerced, [*expected.sources])


def test_a_missing_variable_is_left_to_graphql_core() -> None:
    with pytest.raises(UnplannedError):
        Variables(SCHEMA, definitions("$value: Int!")).values({})
