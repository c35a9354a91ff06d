"""Boards as GraphQL names them."""

from __future__ import annotations

import pytest
from graphql import GraphQLEnumType
from strawberry import ID

from edge.graphql.resolvers.boards.boards import BoardInput, BoardKind, board_text
from edge.graphql.resolvers.quizzes.quizzes import QuestionKind
from edge.graphql.schema import executable_schema
from services.runtime.errors import Reason, ServiceError


@pytest.mark.parametrize(
    ("board", "text"),
    [
        (None, "all"),
        (BoardInput(kind=BoardKind.ALL), "all"),
        (BoardInput(kind=BoardKind.WEEKLY), "weekly"),
        (BoardInput(kind=BoardKind.WEEKLY, period="2026-47"), "weekly:2026-47"),
        (BoardInput(kind=BoardKind.MONTHLY, period="2026-11"), "monthly:2026-11"),
        (BoardInput(kind=BoardKind.COUNTRY, country="VN"), "country:VN"),
        (BoardInput(kind=BoardKind.QUIZ, quiz_id=ID("world-capitals")), "quiz:world-capitals"),
    ],
)
def test_a_board_is_named_as_text(board: BoardInput | None, text: str) -> None:
    assert board_text(board) == text


def test_enums_of_the_schema_keep_their_python_values() -> None:
    kinds, questions = (executable_schema().get_type(name) for name in ("BoardKind", "QuestionKind"))
    assert isinstance(kinds, GraphQLEnumType)
    assert isinstance(questions, GraphQLEnumType)
    assert kinds.coerce_input_value("COUNTRY") is BoardKind.COUNTRY
    assert questions.coerce_output_value(QuestionKind.TRUE_FALSE) == "TRUE_FALSE"


@pytest.mark.parametrize(
    "board",
    [
        BoardInput(kind=BoardKind.COUNTRY),
        BoardInput(kind=BoardKind.COUNTRY, country=""),
        BoardInput(kind=BoardKind.QUIZ),
        BoardInput(kind=BoardKind.WEEKLY, period=""),
        BoardInput(kind=BoardKind.ALL, period="2026-47"),
        BoardInput(kind=BoardKind.WEEKLY, country="VN"),
        BoardInput(kind=BoardKind.COUNTRY, country="VN", quiz_id=ID("x")),
    ],
)
def test_a_board_with_a_missing_or_foreign_field_is_refused(board: BoardInput) -> None:
    with pytest.raises(ServiceError) as refused:
        board_text(board)
    assert refused.value.reason is Reason.INVALID_ARGUMENT
