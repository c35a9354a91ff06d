"""Boards that freeze before the end of their period: what readers see of them, and since when. Pure.

Beside a board with a freeze, its copy is counted: everything that happened before the freeze, and nothing since. Until the
period is over, readers see the copy. Before the freeze both have the same standings, so no clock decides what is hidden: an
action is in the copy, or not, by its own time alone. Until a new copy is built, readers see the board itself, but not as late
as the freeze.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from services.boards.board import UNTIL_FREEZE, Board, parse_custom_name
from services.boards.catalog import Catalog
from services.boards.existence import CLOCK_DIFFERENCE
from services.boards.periods.calendar import stops_at


class Source(NamedTuple):
    """The board whose standings readers see, and the number of this choice: later choices have higher ones."""

    board: Board
    step: int


def source_of(catalog: Catalog, board: Board, now: datetime) -> Source:
    """Return where readers find the standings of a board. `step` is 0 for a board that never had a freeze."""
    definition = catalog.definition_of(board)
    if definition is None:
        return Source(board, 0)
    step, copy, period = 3 * definition.freeze_changes, definition.until_freeze, catalog.period_of(board)
    if copy is None or definition.state == "archived" or period is None or now >= period.ends_at:
        return Source(board, step)
    if copy.state == "building" and now < stops_at(period, copy.stops_before) - CLOCK_DIFFERENCE:
        return Source(board, step - 2)
    custom = parse_custom_name(board.qualifier)
    assert custom is not None, "a defined board is a custom one"
    qualifier = board.qualifier.replace(custom.name, f"{custom.name}{UNTIL_FREEZE}", 1)
    return Source(Board("custom", qualifier), step - 1)


def freezes_at(catalog: Catalog, board: Board) -> datetime | None:
    """Return when a board freezes; None if it does not."""
    definition, period = catalog.definition_of(board), catalog.period_of(board)
    if definition is None or period is None or not definition.freezes_before or definition.state == "archived":
        return None
    return stops_at(period, definition.freezes_before)


def frozen_since(catalog: Catalog, board: Board, now: datetime) -> datetime | None:
    """Return since when a board shows no later standings; None if it shows the latest."""
    at, period = freezes_at(catalog, board), catalog.period_of(board)
    return at if at is not None and period is not None and at <= now < period.ends_at else None
