"""Which metadata boards show of players: that of the action with which each reached their total.

That is the action that decides a best or latest total, and of a sum or count the one at the time since which the player has
as many points. Of several at that time the one that was counted last is shown. Reads the ledger for players of whom boards
show metadata, and nothing for all others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from services.boards.board import Board, parse_custom_name
from services.score.ledger.counters.numbered import ALL_TIME, NumberedCounter
from services.score.ledger.rows import Row
from services.score.ledger.shown_rows import ShownRows
from services.score.projection.standings import Placement, Standing
from services.streams import ACTION_COMPLETED, ACTION_VOIDED

Shown = Mapping[tuple[Board, str], str]
"""Metadata as a JSON object, empty for none, by board and user id."""


class _Counted(NamedTuple):
    """What a board counts: a period of a numbered counter, or without one all that is counted then."""

    counter: NumberedCounter | None
    period: str


class ShownMetadata:
    """Finds the metadata of standings. The driver's errors are not translated."""

    def __init__(self, rows: ShownRows, placement: Placement) -> None:
        self._rows = rows
        self._placement = placement

    async def of(self, standings: Iterable[Standing]) -> Shown:
        """Return the metadata of each standing of players of whom boards show any; others are left out."""
        concerned = [each for each in standings if each.reached_at is not None]
        if not concerned:
            return {}
        times: defaultdict[str, set[int]] = defaultdict(set)
        for each in concerned:
            if each.reached_at:
                times[each.user_id].add(each.reached_at)
        rows: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
        async for row in self._rows.at(times):
            rows[row.user_id, row.at].append(row)
        counted = {board: self._counted(board) for board in {each.board for each in concerned}}
        return {
            (each.board, each.user_id): metadata_of(
                rows.get((each.user_id, each.reached_at or 0), ()), each.points, counted[each.board], each.revision
            )
            for each in concerned
        }

    def _counted(self, board: Board) -> _Counted:
        definition = self._placement.catalog.definition_of(board)
        custom = parse_custom_name(board.qualifier) if board.kind == "custom" else None
        if definition is None or custom is None or not definition.number:
            return _Counted(None, "")
        return _Counted(NumberedCounter(definition.number, definition.counter), custom.period or ALL_TIME)


def metadata_of(rows: Sequence[Row], points: int, counted: _Counted, revision: int) -> str:
    """Return what is shown of a player with these points; `rows` are those at the time at which they were reached.

    Rows after `revision` are ignored.
    """
    rows = [row for row in rows if row.revision <= revision]
    voided = {row.change.voids for row in rows if row.change is not None and row.kind == ACTION_VOIDED}
    shown = ""
    for row in sorted(rows, key=_revision):
        if (
            row.change is None
            or not row.change.shows_metadata
            or row.kind != ACTION_COMPLETED
            or row.event_id in voided
        ):
            continue
        if _decides(row, points, *counted):
            shown = row.change.metadata
    return shown


def _decides(row: Row, points: int, counter: NumberedCounter | None, period: str) -> bool:
    """Whether a total of these points can have been reached with an action."""
    if counter is None:
        return row.delta > 0
    # Not `counted`: a reseal counts what came late.
    if not counter.includes(row) or counter.period_at(row.at) != period:
        return False
    return counter.move(row) > 0 if counter.is_sum else row.delta == points


def _revision(row: Row) -> int:
    return row.revision
