"""Boards of closed periods in MongoDB: what the score service writes there once, and the leaderboard service reads.

The contract between the two, as `boards` is for Redis. Pure. The database is the one named `boards`:

    closed            {_id: the board as text, series, made, players, generation, version, ends_at, closed_at}: one document
                      a board, written last, so that a board that has one is whole; generation and version are those that
                      it had in Redis; nothing in either collection is changed afterwards, but that an erased player's
                      place is given to his pseudonym, which raises the version
    closed_entries    {made, rank, user_id, value}: the places, ranks from 1; `made` is the one of the board's document,
                      and entries of any other are what somebody left behind who did not come to an end

A board that nobody was ranked on has none.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from bson import ObjectId

from services.runtime.boards import Board, custom_parts

DATABASE: Final = "boards"
BOARDS: Final = "closed"
ENTRIES: Final = "closed_entries"


class ClosedBoard(NamedTuple):
    """The document of one board."""

    text: str
    series: str
    made: ObjectId
    players: int
    generation: int
    version: int
    ends_at: datetime
    closed_at: datetime

    @classmethod
    def of(cls, document: dict[str, Any]) -> ClosedBoard:
        """The document as it was read."""
        fields = ("_id", "series", "made", "players", "generation", "version", "ends_at", "closed_at")
        return cls(*(document[field] for field in fields))

    def document(self) -> dict[str, Any]:
        """The document to write."""
        fields = self._asdict()
        return {"_id": fields.pop("text"), **fields}


def series_of(board: Board) -> str:
    """What the boards of one name have in common, whatever their periods: `weekly`, `custom:week-by-country:VN`."""
    if board.kind != "custom":
        return board.kind
    parts = custom_parts(board.qualifier)
    return board.text if parts is None else ":".join(filter(None, (board.kind, parts.name, parts.country)))
