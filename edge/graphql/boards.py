"""Naming a board in GraphQL; the services know it as text."""

from __future__ import annotations

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


@strawberry.input(description="One board. Only what its kind needs may be given.")
class BoardInput:
    kind: BoardKind
    period: str | None = strawberry.field(
        default=None,
        description="With WEEKLY an ISO week (`2026-47`), with MONTHLY a month (`2026-11`); without it the current one.",
    )
    country: str | None = strawberry.field(default=None, description="With COUNTRY: ISO 3166-1 alpha-2, in capitals.")
    quiz_id: strawberry.ID | None = strawberry.field(default=None, description="With QUIZ: the quiz.")


_QUALIFIER = {
    BoardKind.WEEKLY: "period",
    BoardKind.MONTHLY: "period",
    BoardKind.COUNTRY: "country",
    BoardKind.QUIZ: "quizId",
}
_REQUIRED = frozenset({BoardKind.COUNTRY, BoardKind.QUIZ})


def board_text(board: BoardInput | None) -> str:
    """The board's name: `all`, `weekly`, `weekly:2026-47`, `country:VN`, `quiz:<id>`; `all` for None.

    Raises INVALID_ARGUMENT for a kind without what it needs or with what is not its own. Whether the board exists is
    the leaderboard service's to say.
    """
    if board is None:
        return "all"
    wanted = _QUALIFIER.get(board.kind)
    given = {"period": board.period, "country": board.country, "quizId": board.quiz_id}
    for name, value in given.items():
        if name != wanted and value is not None:
            raise ServiceError(Reason.INVALID_ARGUMENT, f"a board of the kind {board.kind.name} has no {name}")
    qualifier = given.get(wanted or "")
    if qualifier:
        return f"{board.kind.value}:{qualifier}"
    if board.kind in _REQUIRED or qualifier is not None:
        raise ServiceError(Reason.INVALID_ARGUMENT, f"a board of the kind {board.kind.name} needs {wanted}")
    return board.kind.value
