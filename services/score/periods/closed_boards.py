"""Finds the boards of closed periods, and archived boards, that count actions at a quiz. They change by a reseal alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.periods.calendar import Calendar
from services.runtime.clock import milliseconds_of
from services.score.errors import store_errors_as_unavailable
from services.score.periods.archive_store import ArchiveStore
from services.score.projection.standings import Placement

if TYPE_CHECKING:
    from services.boards.caller_groups import CallerGroups
    from services.runtime.auth.claims import Claims

MAX_LISTED: Final = 100
PAGE: Final = 1000
_BUILT_IN: Final[Sequence[Literal["weekly", "monthly"]]] = ("weekly", "monthly")


class Actions(NamedTuple):
    """Actions at a quiz: when they were received, in order, their tags, and the countries of their players."""

    quiz_id: str
    times: Sequence[datetime]
    tags: Collection[str]
    countries: Collection[str]


class ClosedBoards:
    """The boards that are archived."""

    def __init__(self, placement: Placement, archive: ArchiveStore, caller_groups: CallerGroups) -> None:
        self._placement = placement
        self._archive = archive
        self._caller_groups = caller_groups

    async def counting(self, actions: Actions, caller: Claims) -> list[Board]:
        """Return the archived boards that may count one of these actions and that the caller may read.

        The latest period comes first; at most MAX_LISTED. Raises UNAVAILABLE.
        """
        agreement = self._placement.agreement
        boards = closed_boards(agreement.catalog, agreement.closed_through, actions)
        listed: list[Board] = []
        for start in range(0, len(boards), PAGE):
            page = boards[start : start + PAGE]
            async with store_errors_as_unavailable():
                archived = await self._archive.existing([board.name for board in page])
            kept = [board for board in page if board.name in archived]
            listed += await self._caller_groups.readable(agreement.catalog, kept, caller)
            if len(listed) >= MAX_LISTED:
                break
        return listed[:MAX_LISTED]


def closed_boards(catalog: Catalog, closed_through: int, actions: Actions) -> list[Board]:
    """Return the boards that count one of these actions and no more change, the latest period first."""
    found: dict[Board, int] = {}
    times = [milliseconds_of(time) for time in actions.times]
    closed_times = times[: bisect_left(times, closed_through)]
    for kind in _BUILT_IN:
        for name, ends_at in _periods(Calendar(kind), closed_times, closed_through):
            found[Board(kind, name.replace("W", ""))] = ends_at
    sources = {"all", f"quiz:{actions.quiz_id}", *(f"tag:{tag}" for tag in actions.tags)}
    for definition in catalog.definitions.values():
        if sources.isdisjoint(definition.sources):
            continue
        if definition.archived_at is None:
            closed = _periods(definition.calendar, closed_times, closed_through)
        else:
            archived_at = milliseconds_of(definition.archived_at)
            closed = _periods(definition.calendar, times[: bisect_left(times, archived_at)], None)
        for name, ends_at in closed:
            found.update(dict.fromkeys(_boards(definition, actions.countries, name), ends_at))
    return sorted(found, key=lambda board: (-found[board], board))


def _periods(calendar: Calendar, times: Sequence[int], closed_through: int | None) -> Iterator[tuple[str, int]]:
    """Yield name and end of each period that has one of the times and ended by `closed_through`; of all if that is None."""
    index = 0
    while index < len(times):
        at = times[index]
        index += 1
        if not calendar.counts(at):
            continue
        name = calendar.name_of(at)
        period = calendar.period(name)
        if period is None:  # of all time
            if closed_through is None:
                yield name, at
            return
        ends_at = milliseconds_of(period.ends_at)
        if closed_through is not None and ends_at > closed_through:
            return  # so do all later ones
        yield name, ends_at
        index = bisect_left(times, ends_at, index)


def _boards(definition: Definition, countries: Collection[str], period: str) -> Iterable[Board]:
    if not definition.is_per_country:
        return (
            [definition.board("", period)] if not definition.countries or definition.countries & set(countries) else []
        )
    return [definition.board(country, period) for country in countries]
