"""Errors as clients read them: the reason, a safe sentence, and no value that was sent."""

from __future__ import annotations

from datetime import timedelta

import pytest
from graphql import ExecutionResult, GraphQLError, execute, parse

from edge.graphql.execution.cost import Limits
from edge.graphql.execution.errors import show, show_all
from edge.graphql.execution.prepared import DocumentError, prepare
from edge.graphql.schema import executable_schema
from services.runtime.errors import Reason, ServiceError

CANARY = "hunter2canary"
SCHEMA = executable_schema()


def located(error: Exception) -> GraphQLError:
    return GraphQLError(str(error), path=["me", "score"], original_error=error)


def test_a_refusal_shows_its_reason_and_when_to_retry() -> None:
    refused = ServiceError(Reason.RATE_LIMITED, "Slow down.", retry_after=timedelta(seconds=7))
    shown = show(located(refused))
    assert shown["message"] == "Slow down."
    assert shown["path"] == ["me", "score"]
    assert shown["extensions"]["reason"] == "RATE_LIMITED"
    assert shown["extensions"]["retryAfter"] == 7
    assert "requestId" in shown["extensions"]


def test_an_internal_error_shows_nothing_of_itself() -> None:
    shown = show(located(ValueError(CANARY)))
    assert shown["extensions"]["reason"] == "INTERNAL"
    assert CANARY not in str(shown)


@pytest.mark.parametrize(
    "text",
    [
        f'mutation {{login(input: {{username: "a", password: "{CANARY}", x: 1}}) {{expiresIn}}}}',
        f'mutation {{login(input: "{CANARY}") {{expiresIn}}}}',
        f'mutation {{login(input: {{username: {{a: "{CANARY}"}}, password: "b"}}) {{expiresIn}}}}',
        f'mutation {{login(input: ["{CANARY}"]) {{expiresIn}}}}',
        f'{{getLeaderboard(limit: "{CANARY}") {{userId}}}}',
        f'{{getLeaderboard(board: {{kind: "{CANARY}"}}) {{userId}}}}',
        f'{{me "{CANARY}" {{userId}}}}',
        f'{{me """{CANARY}""" {{userId}}}}',
        f'mutation {{submitQuizAction(input: {{quizId: "q", actionId: "a", timestamp: "{CANARY}"}}) {{success}}}}',
    ],
)
def test_no_error_of_a_document_repeats_a_value(text: str) -> None:
    with pytest.raises(DocumentError) as refused:
        prepare(text, "", SCHEMA, Limits(), introspection=True)
    shown = show_all(refused.value.errors)
    assert {error["extensions"]["reason"] for error in shown} == {"INVALID_ARGUMENT"}
    assert CANARY not in str(shown)


@pytest.mark.parametrize(
    "value",
    [
        CANARY,
        {"username": "a", "password": "b", CANARY + "x": 1},
        {"username": [CANARY], "password": "b"},
        {"username": CANARY},
        [{"password": CANARY}],
    ],
)
def test_no_error_of_a_variable_repeats_a_value(value: object) -> None:
    document = parse("mutation ($input: LoginInput!) {login(input: $input) {expiresIn}}")
    result = execute(SCHEMA, document, variable_values={"input": value})
    assert isinstance(result, ExecutionResult)
    shown = show_all(result.errors or [])
    assert {error["extensions"]["reason"] for error in shown} == {"INVALID_ARGUMENT"}
    # An unknown name is repeated, as that of a field is; its value is not.
    assert CANARY not in str(shown).replace(CANARY + "x", "")


def test_a_long_name_in_a_message_is_shortened_and_not_searched_for_values() -> None:
    # Each occurrence would be searched from there to the end: a second for a request of 64 KiB.
    shown = show(GraphQLError("Cannot query field '" + "represent" * 7000 + "' on type 'Query'."))
    assert shown["message"] == f"Cannot query field '{('represent' * 5)[:40]}…' on type 'Query'."
    shown = show(GraphQLError("Cannot query field '" + "represent " * 7000 + "'. Value: " + CANARY))
    assert len(shown["message"]) <= 300
    assert CANARY not in shown["message"]


WRONG = [
    ("{ nope }", None),
    ("{ me }", None),
    ("{ me { userId { x } } }", None),
    ('{ getLeaderboard(limit: "x") { rank } }', None),
    ("{ getLeaderboard(limit: 99999999999) { rank } }", None),
    ("{ getLeaderboard(board: {kind: NOPE}) { rank } }", None),
    ('{ getLeaderboard(board: {kind: "WEEKLY"}) { rank } }', None),
    ("{ getLeaderboard(board: 5) { rank } }", None),
    ("{ getLeaderboard(borad: 5) { rank } }", None),
    ("{ quiz { id } }", None),
    ("{ quiz(id: null) { id } }", None),
    ("{ quiz(id: 1.5) { id } }", None),
    ('{ percentile(board: {kind: ALL}, userId: "x", x: 1) }', None),
    ('{ scoreForPercentile(percentile: "x") }', None),
    ('mutation { register(input: {username: 5, password: true, country: ["x"]}) { expiresIn } }', None),
    ("{ me @skip(if: 5) { userId } }", None),
    ("query ($limit: Int) { getLeaderboard(limit: $limit) { rank } }", {"limit": "ten"}),
    ("query ($board: BoardInput) { getLeaderboard(board: $board) { rank } }", {"board": {"kind": 5}}),
    ("query ($board: BoardInput) { getLeaderboard(board: $board) { rank } }", {"board": 5}),
    ("query ($id: ID!) { quiz(id: $id) { id } }", {}),
    ("query ($id: ID!) { quiz(id: $id) { id } }", {"id": None}),
    ("query ($id: ID!) { quiz(id: $id) { id } }", {"id": [1]}),
    ("query ($unused: Int) { me { userId } }", None),
    ("{", None),
    ('{ me(x: "', None),
    ('{ "x" }', None),
    ("{ " + "a" * 3000 + " }", None),
    ("{ " + " ".join(f"x{'a' * 70}{number}" for number in range(20)) + " }", None),
]


@pytest.mark.parametrize(("text", "variables"), WRONG)
def test_a_message_is_whole_sentences_that_say_what_is_expected(text: str, variables: dict[str, object] | None) -> None:
    try:
        prepared = prepare(text, "", SCHEMA, Limits(), introspection=True)
        result = execute(SCHEMA, prepared.document, variable_values=variables)
        assert isinstance(result, ExecutionResult)
        shown = show_all(result.errors or [])
    except DocumentError as error:
        shown = show_all(error.errors)
    assert shown
    for message in (each["message"] for each in shown):
        assert message.endswith((".", "?")), message
        assert len(message) <= 300
        assert "cannot represent" not in message
