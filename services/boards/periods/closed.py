"""Boards of closed periods in MongoDB: the contract between score, which writes them, and leaderboard. Pure.

Two collections of the database `boards`:

    closed            {_id: name of the board, series, made, players, generation, version, starts_at, ends_at, closed_at,
                      encoding, ascending}
    closed_entries    {made, rank, user_id, value, metadata}

A board is complete when it has its document in `closed`, which is written last. `made` is the id of the copy: entries
of a board carry the id in its document, and entries with any other are left over from an attempt that failed.
`generation` and `version` are those of the board in Redis, and `encoding`, 1 if it is missing, is the one of its values:
it never changes. `starts_at` is missing from boards of weeks and months that an earlier version closed, and `ascending`,
whether less is better, is false if it is missing. Nothing else changes afterwards, except that a pseudonym replaces
the id of an erased player, whose entry loses its metadata, and that a reseal replaces the board by another copy; both
raise the version. `metadata`, a JSON object, is what the board shows of the player; most entries have none, and no leaf of
the tree has it. A board on which nobody was ranked has no document. The field `head` is that of `signed_heads`: a reseal
removes it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from bson import ObjectId

from services.boards.board import Board, parse_custom_name
from services.boards.former_encoding import FORMER_ENCODING

DATABASE: Final = "boards"
BOARDS: Final = "closed"
ENTRIES: Final = "closed_entries"


class ClosedBoard(NamedTuple):
    """The document of one closed board."""

    name: str
    series: str
    copy_id: ObjectId
    players: int
    generation: int
    version: int
    ends_at: datetime
    closed_at: datetime
    encoding: int
    starts_at: datetime | None = None
    ascending: bool = False

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> ClosedBoard:
        """Read a document of the collection `closed`."""
        fields = ("_id", "series", "made", "players", "generation", "version", "ends_at", "closed_at")
        optional = (
            document.get("encoding", FORMER_ENCODING),
            document.get("starts_at"),
            document.get("ascending", False),
        )
        return cls._make([*(document[field] for field in fields), *optional])

    def to_document(self) -> dict[str, Any]:
        """Return the document to write."""
        fields = self._asdict()
        document = {"_id": fields.pop("name"), "made": fields.pop("copy_id"), **fields}
        return {name: value for name, value in document.items() if value is not None}


def series_of(board: Board) -> str:
    """Return the name of the board without its period: `weekly`, `custom:week-by-country:VN`."""
    if board.kind != "custom":
        return board.kind
    custom = parse_custom_name(board.qualifier)
    return board.name if custom is None else ":".join(filter(None, (board.kind, custom.name, custom.country)))
