"""Errors about a request name the field in the schema's spelling: a sweep over every argument of every root field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    ExecutionResult,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    execute,
    get_named_type,
    get_nullable_type,
    is_required_input_field,
    parse,
    parse_value,
    value_from_ast_untyped,
)

from edge.graphql.execution.cost import Limits
from edge.graphql.execution.errors import show_all
from edge.graphql.execution.field_names import field_path, with_field_names
from edge.graphql.execution.prepared import DocumentError, prepare
from edge.graphql.schema import executable_schema
from services.runtime.errors import Reason, ServiceError
from tests.system.access.calls import dummy

SCHEMA = executable_schema()
WRONG = '{unexpected: "object"}'  # of no scalar's type


def root_fields() -> Iterator[tuple[str, str, GraphQLField]]:
    for operation, root in (("query", SCHEMA.query_type), ("mutation", SCHEMA.mutation_type)):
        assert root is not None
        for name, definition in root.fields.items():
            yield operation, name, definition


def leaves(type_: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path of every leaf of an input, and the literal of the input with a wrong value at it and no other fault."""
    nullable = get_nullable_type(type_)
    if isinstance(nullable, GraphQLList):
        for inner, wrong in leaves(nullable.of_type, f"{path}[0]"):
            yield inner, f"[{wrong}]"
    elif isinstance(nullable, GraphQLInputObjectType):
        needed = {name: dummy(field.type) for name, field in nullable.fields.items() if is_required_input_field(field)}
        for name, field in nullable.fields.items():
            for inner, wrong in leaves(field.type, f"{path}.{name}"):
                members = needed | {name: wrong}
                yield inner, "{" + ", ".join(f"{key}: {each}" for key, each in members.items()) + "}"
    else:
        yield path, WRONG


CASES = [
    (operation, name, argument, path, wrong)
    for operation, name, definition in root_fields()
    for argument, each in definition.args.items()
    for path, wrong in leaves(each.type, argument)
]


def selection(definition: GraphQLField) -> str:
    return " { __typename }" if hasattr(get_named_type(definition.type), "fields") else ""


def definition_of(name: str) -> GraphQLField:
    return next(definition for _, each, definition in root_fields() if each == name)


@pytest.mark.parametrize(
    ("operation", "name", "argument", "path", "wrong"), CASES, ids=[f"{case[1]}-{case[3]}" for case in CASES]
)
def test_a_wrong_value_is_named_in_a_variable_and_in_a_document(
    operation: str, name: str, argument: str, path: str, wrong: str
) -> None:
    definition = definition_of(name)
    type_ = definition.args[argument].type
    document = f"{operation} (${argument}: {type_}) {{ {name}({argument}: ${argument}){selection(definition)} }}"
    result = execute(SCHEMA, parse(document), variable_values={argument: value_from_ast_untyped(parse_value(wrong))})
    assert isinstance(result, ExecutionResult)
    text = f"{operation} {{ {name}({argument}: {wrong}){selection(definition)} }}"
    with pytest.raises(DocumentError) as refused:
        prepare(text, "", SCHEMA, Limits(), introspection=True)
    for errors in (result.errors, refused.value.errors):
        shown = show_all(errors or [])
        assert any(error["message"].startswith(f"{path}: ") for error in shown), shown


@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, argument) for _, name, definition in root_fields() for argument in definition.args],
)
def test_a_missing_member_is_named(name: str, argument: str) -> None:
    definition = definition_of(name)
    type_ = get_nullable_type(definition.args[argument].type)
    if not isinstance(type_, GraphQLInputObjectType):
        return
    operation = "mutation" if SCHEMA.mutation_type and name in SCHEMA.mutation_type.fields else "query"
    document = f"{operation} (${argument}: {type_}!) {{ {name}({argument}: ${argument}){selection(definition)} }}"
    result = execute(SCHEMA, parse(document), variable_values={argument: {"nope": 1}})
    assert isinstance(result, ExecutionResult)
    messages = [error["message"] for error in show_all(result.errors or [])]
    required = [key for key, field in type_.fields.items() if is_required_input_field(field)]
    assert {f"{argument}.{key}: is required." for key in required} <= set(messages)
    assert f"{argument}.nope: is unknown." in messages


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("submitQuizAction", "action_id", "input.actionId"),
        ("submitQuizAction", "quiz_id", "input.quizId"),
        ("submitQuizAction", "answers", "input.answers"),
        ("submitQuizAction", "answers[3].question_id", "input.answers[3].questionId"),
        ("submitQuizAction", "answers[0].selected_options", "input.answers[0].selectedOptions"),
        ("submitQuizAction", "answers[0].matches[1].target", "input.answers[0].matches[1].target"),
        ("submitQuizAction", "quiz_version", "input.quizVersion"),
        ("submitQuizAction", "timestamp", "input.timestamp"),
        ("reviewAction", "action_id", "actionId"),
        ("register", "credentials.username", "input.username"),
        ("register", "country", "input.country"),
        ("blockUser", "expires_at", "input.expiresAt"),
        ("deleteMyAccount", "password", "password"),
        ("quiz", "quiz_id", "id"),
        ("quizzes", "page_token", "after"),
        ("quizzes", "page_size", "first"),
        ("ranks", "user_ids[2]", "userIds[2]"),
        ("leaderboard", "board", "board"),
        ("submitQuizAction", "client.ip", "client.ip"),
    ],
)
def test_a_field_of_a_contract_is_named_as_in_the_schema(name: str, path: str, expected: str) -> None:
    definition = definition_of(name)
    assert field_path(definition, path) == expected
    error = ServiceError(Reason.INVALID_ARGUMENT, "x", violations=[(path, "must be shorter")])
    assert with_field_names(error, definition).message == f"{expected}: must be shorter."


def test_an_error_without_a_field_is_unchanged() -> None:
    for reason in (Reason.INVALID_ARGUMENT, Reason.QUIZ_NOT_FOUND):
        error = ServiceError(reason, "Text.")
        assert with_field_names(error, definition_of("quiz")) is error
