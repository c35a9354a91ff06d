"""The archived boards that an event concerns: they keep their last state until somebody reseals them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.runtime.clock import milliseconds_of
from services.score.ledger.counters.numbered import ALL_TIME, NumberedCounter
from services.score.ledger.rows import Row
from services.score.ledger.times import time_of


def archived_before(catalog: Catalog, recorded_at: int) -> list[Definition]:
    """Return the definitions that were archived before a row was recorded, so that it reached none of their boards."""
    recorded = time_of(recorded_at)
    return [
        each for each in catalog.definitions.values() if each.archived_at is not None and each.archived_at <= recorded
    ]


def last_archiving(definitions: Iterable[Definition]) -> datetime | None:
    """Return when the last of them was archived."""
    return max((each.archived_at for each in definitions if each.archived_at is not None), default=None)


def boards_of_rows(definitions: Iterable[Definition], country: str, rows: Collection[Row]) -> list[Board]:
    """Return the archived boards of these definitions, for players of a country, that would have counted one of the rows."""
    return sorted(
        {board for each in definitions if each.includes(country) for board in _boards_of(each, country, rows)}
    )


def _boards_of(definition: Definition, country: str, rows: Collection[Row]) -> Iterable[Board]:
    assert definition.archived_at is not None, "the definition is archived"
    counter, archived_at = (
        NumberedCounter(definition.number, definition.counter),
        milliseconds_of(definition.archived_at),
    )
    for row in rows:
        period = counter.period_at(row.at)
        # A board without a number shows all points; see `Definition.number`.
        if row.at < archived_at and period is not None and (not definition.number or counter.includes(row)):
            yield definition.board(country, "" if period == ALL_TIME else period)
