"""Naming a board in GraphQL; the services know it as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import strawberry

from services.runtime.errors import Reason, ServiceError


@strawberry.enum(description="What a board counts.")
class BoardKind(Enum):
    ALL = "all"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    COUNTRY = "country"
    QUIZ = "quiz"
    CUSTOM = "custom"


@strawberry.input(description="One board. Only what its kind needs may be given.")
class BoardInput:
    kind: BoardKind
    period: str | None = strawberry.field(
        default=None,
        description="With WEEKLY an ISO week (`2026-47`), with MONTHLY a month (`2026-11`), with CUSTOM as it was "
        "declared; without it the current one.",
    )
    country: str | None = strawberry.field(
        default=None,
        description="With COUNTRY, and with CUSTOM if each country has a board: ISO 3166-1 alpha-2, in capitals.",
    )
    quiz_id: strawberry.ID | None = strawberry.field(default=None, description="With QUIZ: the quiz.")
    name: str | None = strawberry.field(default=None, description="With CUSTOM: what the operator called the board.")


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


def board_text(board: BoardInput | None) -> str:
    """The board's name: `all`, `weekly`, `weekly:2026-47`, `country:VN`, `quiz:<id>`, `custom:<name>`; `all` for None.

    Raises INVALID_ARGUMENT for a kind without what it needs or with what is not its own. Whether the board exists is
    the leaderboard service's to say.
    """
    if board is None:
        return "all"
    given = {"period": board.period, "country": board.country, "quizId": board.quiz_id, "name": board.name}
    allowed = _ALLOWED[board.kind]
    for name, value in given.items():
        if name not in allowed and value is not None:
            raise ServiceError(Reason.INVALID_ARGUMENT, f"a board of the kind {board.kind.name} has no {name}")
        if value == "" or (value is None and name == _NEEDED.get(board.kind)):
            raise ServiceError(Reason.INVALID_ARGUMENT, f"a board of the kind {board.kind.name} needs {name}")
    return ":".join([board.kind.value, *(value for name in allowed if (value := given[name]) is not None)])
