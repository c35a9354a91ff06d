"""Which of a player's totals a board shows: a board becomes a function of the fold, made once for each board. Pure.

A board is a counter seen by a segment in an order; a function knows its counter and its segment.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

from services.boards.board import Board, CustomName
from services.boards.definition import Definition
from services.score.ledger.counters.numbered import ALL_TIME

if TYPE_CHECKING:
    from services.score.ledger.folds.fold import Fold
    from services.score.ledger.totals import PeriodTotals, QuizTotal, Total

BoardTotal = Callable[["Fold"], "Total | QuizTotal | None"]
"""Returns the total that a board shows of a fold; None if it has none or is of another country."""
_NO_PERIODS: PeriodTotals = {}


def built_in_total(board: Board) -> BoardTotal:
    """Return the function of a board that is not a custom one."""
    qualifier = board.qualifier
    match board.kind:
        case "weekly":
            return lambda fold: fold.weeks.get(qualifier)
        case "monthly":
            return lambda fold: fold.months.get(qualifier)
        case "country":
            return lambda fold: fold.total if fold.country == qualifier else None
        case "quiz":
            return lambda fold: fold.quizzes.get(qualifier)
        case _:
            return attrgetter("total")


def custom_total(definition: Definition | None, custom: CustomName | None) -> BoardTotal:
    """Return the function of a custom board; nobody has a total on one without a definition."""
    if definition is None or custom is None:
        return lambda _: None
    if definition.number:
        total = _numbered_total(definition.number, custom.period or ALL_TIME)
    elif definition.period == "all":
        total = built_in_total(Board("all"))
    elif definition.period == "weekly":  # the weekly boards write 2026-47 for what all others call 2026-W47
        total = built_in_total(Board("weekly", custom.period.replace("W", "")))
    else:
        total = built_in_total(Board("monthly", custom.period))
    countries = frozenset({custom.country}) if custom.country else definition.countries
    return (lambda fold: total(fold) if fold.country in countries else None) if countries else total


def _numbered_total(number: int, period: str) -> BoardTotal:
    key = str(number)
    return lambda fold: fold.counters.get(key, _NO_PERIODS).get(period) if number <= fold.complete_through else None
