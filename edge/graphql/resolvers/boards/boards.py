"""Boards as GraphQL names them; the services name them by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import strawberry

from edge.rooms import room_board
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
    ROOM = "room"


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
    room_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="For ROOM: the ID of a room in which the caller has a seat, or which they host. Read by `getLeaderboard`, "
        "`leaderboard`, `aroundPlayer`, `ranks` and `rank` alone.",
    )


_NEEDED: Mapping[BoardKind, str] = {
    BoardKind.COUNTRY: "country",
    BoardKind.QUIZ: "quizId",
    BoardKind.CUSTOM: "name",
    BoardKind.ROOM: "roomId",
}
_ALLOWED: Mapping[BoardKind, Sequence[str]] = {
    BoardKind.ALL: (),
    BoardKind.WEEKLY: ("period",),
    BoardKind.MONTHLY: ("period",),
    BoardKind.COUNTRY: ("country",),
    BoardKind.QUIZ: ("quizId",),
    BoardKind.CUSTOM: ("name", "country", "period"),  # in the order of the board's text
    BoardKind.ROOM: ("roomId",),
}


def board_text(board: BoardInput | None, argument: str = "board", *, rooms: bool = False) -> str:
    """Return the board's name: `all`, `weekly`, `weekly:2026-47`, `country:VN`, `quiz:<id>`, `custom:<name>`; `all` for None.

    With `rooms` also `room:<id>`, for what reads boards of rooms. Raises INVALID_ARGUMENT for another kind than that, and for
    a field of `argument` that is missing or that the kind does not use. Whether the board exists is up to the service.
    """
    if board is None:
        return "all"
    if board.kind is BoardKind.ROOM and not rooms:
        fault = "must not be ROOM here: this is not read of the board of a room."
        raise invalid(f"{argument}.kind", fault, fault)
    given = {
        "period": board.period,
        "country": board.country,
        "quizId": board.quiz_id,
        "name": board.name,
        "roomId": board.room_id,
    }
    for name, value in given.items():
        if fault := _fault(board.kind, name, value):
            raise invalid(f"{argument}.{name}", fault, fault)
    if board.kind is BoardKind.ROOM:
        return room_board(board.room_id or "")
    return ":".join([board.kind.value, *(value for name in _ALLOWED[board.kind] if (value := given[name]) is not None)])


def _fault(kind: BoardKind, name: str, value: str | None) -> str:
    """Return what is wrong with a field of a board of this kind; empty if nothing is."""
    if name not in _ALLOWED[kind]:
        return "" if value is None else f"a board of kind {kind.name} has none. Omit it."
    if value is None:
        return f"is required for a board of kind {kind.name}." if name == _NEEDED.get(kind) else ""
    if not value:
        return f"is required for a board of kind {kind.name}."
    return f"must be at most {MAX_NAME_LENGTH} characters." if len(value) > MAX_NAME_LENGTH else ""
