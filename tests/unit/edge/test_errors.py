"""What of an error is shown: its reason, a safe sentence, and no value that was sent."""

from __future__ import annotations

from datetime import timedelta

import pytest
from graphql import ExecutionResult, GraphQLError, execute, parse

from edge.graphql.cost import Limits
from edge.graphql.documents import DocumentError, Documents
from edge.graphql.errors import show, show_all
from edge.graphql.schema import executable_schema
from services.runtime.errors import Reason, ServiceError

CANARY = "hunter2canary"
SCHEMA = executable_schema()


def located(error: Exception) -> GraphQLError:
    return GraphQLError(str(error), path=["me", "score"], original_error=error)


def test_a_refusal_shows_its_reason_and_when_to_try_again() -> None:
    refused = ServiceError(Reason.RATE_LIMITED, "Slow down.", retry_after=timedelta(seconds=7))
    shown = show(located(refused))
    assert shown["message"] == "Slow down."
    assert shown["path"] == ["me", "score"]
    assert shown["extensions"]["reason"] == "RATE_LIMITED"
    assert shown["extensions"]["retryAfter"] == 7
    assert "requestId" in shown["extensions"]


def test_a_fault_of_ours_shows_nothing_of_itself() -> None:
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
        Documents(SCHEMA, Limits(), max_tokens=2000, introspection=True).get(text)
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
    # A name that nobody knows is told, as it is of fields; what stood under it is not.
    assert CANARY not in str(shown).replace(CANARY + "x", "")


def test_a_long_name_in_a_message_is_not_searched_for_values() -> None:
    # Each occurrence would be searched from there to the end: a second for a request of 64 KiB.
    shown = show(GraphQLError("Cannot query field '" + "represent" * 7000 + "'. Value: " + CANARY))
    assert len(shown["message"]) == 300
    assert CANARY not in shown["message"]
