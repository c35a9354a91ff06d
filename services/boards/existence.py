"""Which boards exist: decided here for everything that reads, watches or streams a board. Pure.

A name is checked before anything is allocated for it, so that names that clients make up take no shared capacity.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from services.boards.board import Board, parse_custom_name
from services.boards.catalog import Catalog
from services.countries import COUNTRIES

# A period exists this early for a process whose clock is ahead of another's.
CLOCK_DIFFERENCE: Final = timedelta(minutes=1)
# A board may count events under way for this long after its period (at most TOPTEN_LEADERBOARD_CLOSING).
MAX_CLOSING: Final = timedelta(minutes=10)


class Existence(Enum):
    """Whether a board exists, or what decides it."""

    YES = "yes"
    NO = "no"
    IF_RANKED = "if a player is ranked on it"
    """Its period is over, and nothing will be counted on it any more."""
    IF_QUIZ = "if its quiz exists"


def existence_of(catalog: Catalog, board: Board, now: datetime) -> Existence:
    """Return whether a board that `Catalog.parse` returned exists at `now`.

    A country must be an assigned code of ISO 3166-1, and a period must have started.
    """
    custom = parse_custom_name(board.qualifier) if board.kind == "custom" else None
    country = board.qualifier if board.kind == "country" else custom.country if custom else ""
    if country and country not in COUNTRIES:
        return Existence.NO
    period = catalog.period_of(board)
    if period is not None and period.starts_at > now + CLOCK_DIFFERENCE:
        return Existence.NO
    if period is not None and period.ends_at + MAX_CLOSING <= now:
        return Existence.IF_RANKED
    return Existence.IF_QUIZ if board.kind == "quiz" else Existence.YES
