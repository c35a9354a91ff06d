"""Boards as GraphQL names them; the services name them by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import strawberry

from services.boards.board import MAX_NAME_LENGTH
from services.runtime.errors import invalid


@strawberry.enum(description="What a board counts.")
class BoardKind(Enum):
    ALL = "all"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    COUNTRY = "country"
    QUIZ = "quiz"
    CUSTOM = "custom"


@strawberry.input(description="A board. Set only the fields that its kind uses.")
class BoardInput:
    kind: BoardKind
    period: str | None = strawberry.field(
        default=None,
        description="For WEEKLY an ISO week (`2026-47`), for MONTHLY a month (`2026-11`), for CUSTOM as the board is defined: "
        "a day, `2026-W48`, a month or a year. The current period by default.",
    )
    country: str | None = strawberry.field(
        default=None,
        description="For COUNTRY, and for CUSTOM if each country has a board: ISO 3166-1 alpha-2, in upper case.",
    )
    quiz_id: strawberry.ID | None = strawberry.field(default=None, description="For QUIZ: the ID of the quiz.")
    name: str | None = strawberry.field(default=None, description="For CUSTOM: the name of the defined board.")


_NEEDED: Mapping[BoardKind, str] = {
    BoardKind.COUNTRY: "country",
    BoardKind.QUIZ: "quizId",
    BoardKind.CUSTOM: "name",
}
_ALLOWED: Mapping[BoardKind, Sequence[str]] = {
    BoardKind.ALL: (),
    BoardKind.WEEKLY: ("period",),
    BoardKind.MONTHLY: ("period",),
    BoardKind.COUNTRY: ("country",),
    BoardKind.QUIZ: ("quizId",),
    BoardKind.CUSTOM: ("name", "country", "period"),  # in the order of the board's text
}


def board_text(board: BoardInput | None, argument: str = "board") -> str:
    """Return the board's name: `all`, `weekly`, `weekly:2026-47`, `country:VN`, `quiz:<id>`, `custom:<name>`; `all` for None.

    Raises INVALID_ARGUMENT for a field of `argument` that is missing or that the kind does not use. Whether the board exists
    is up to the leaderboard service.
    """
    if board is None:
        return "all"
    given = {"period": board.period, "country": board.country, "quizId": board.quiz_id, "name": board.name}
    allowed = _ALLOWED[board.kind]
    for name, value in given.items():
        fault = ""
        if name not in allowed and value is not None:
            fault = f"a board of kind {board.kind.name} has none. Omit it."
        elif value == "" or (value is None and name == _NEEDED.get(board.kind)):
            fault = f"is required for a board of kind {board.kind.name}."
        elif value is not None and len(value) > MAX_NAME_LENGTH:
            fault = f"must be at most {MAX_NAME_LENGTH} characters."
        if fault:
            raise invalid(f"{argument}.{name}", fault, fault)
    return ":".join([board.kind.value, *(value for name in allowed if (value := given[name]) is not None)])
