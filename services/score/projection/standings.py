"""From a player's fold to their standings on boards. Pure.

Owns which boards an event affects and a player's standing on each; the catalog says which boards exist. A standing carries
the revision of the fold it was read from: of two standings of one player, the one with the higher revision is later.
"""

from __future__ import annotations

from collections import Counter as Multiset
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from services.boards import former_encoding
from services.boards.board import Board, parse_custom_name
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.encoding import ENCODING, encode_us, mirrored
from services.boards.former_encoding import FORMER_ENCODING
from services.boards.periods.stretches import Stretch, Stretches
from services.runtime.int32 import int32
from services.score.ledger.counters.numbered import ALL_TIME, Counters, NumberedCounter
from services.score.ledger.event_boards import DAY_MS, boards_at
from services.score.ledger.events import Event
from services.score.ledger.folds.fold import Fold
from services.score.ledger.rows import CORRECTING_KINDS, EVENTLESS_KINDS, Row
from services.score.ledger.totals import QuizTotal, Total
from services.score.projection.board_totals import BoardTotal, built_in_total, custom_total
from services.streams import ACTION_REJUDGED, ACTION_VOIDED, COUNTERS_ADDED

Encode = Callable[[int, int], float]
"""Returns the value of points, 1 or more, that were reached at a time in microseconds since 1970."""


class Standing(NamedTuple):
    """A player on one board. `value` is 0 for an unranked player; `lowered` means it may be less than before.

    `reached_at` is when the total was reached if the entry may have the metadata of the action at that time: 0 without a rank,
    and None if boards show no metadata of the player at all.
    """

    board: Board
    user_id: str
    points: int
    value: float
    revision: int
    lowered: bool
    reached_at: int | None = None


class _View(NamedTuple):
    """What a board shows of a fold: which total, and by which value of it."""

    total_of: BoardTotal
    encode: Encode


class Agreement(NamedTuple):
    """What all workers agree on: the catalog of boards, that periods ended by `closed_through` are closed, the encoding."""

    catalog: Catalog
    closed_through: int
    encoding: int = ENCODING


class Placement:
    """Places players on the boards of the current agreement."""

    def __init__(self, catalog: Catalog) -> None:
        self._writes: Multiset[Agreement] = Multiset()
        self.adopt(Agreement(catalog, 0))

    @property
    def catalog(self) -> Catalog:
        """The boards that exist."""
        return self.agreement.catalog

    @property
    def is_settled(self) -> bool:
        """Whether every write in progress started under the current agreement."""
        return self._writes.keys() <= {self.agreement}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Enclose whatever creates rows and writes standings under the current agreement or a later one."""
        agreement = self.agreement
        self._writes[agreement] += 1
        try:
            yield
        finally:
            self._writes[agreement] -= 1
            self._writes = +self._writes

    def adopt(self, agreement: Agreement) -> None:
        """Replace the agreement."""
        self.agreement = agreement
        self.counters = _counters(agreement.catalog)
        counted = agreement.catalog.counted
        # Whether every player has had the counter of every board since the agreement.
        self.is_built = all(each.state != "building" for each in counted)
        self._falling = frozenset(
            {each.key for each in self.counters.all if each.may_fall}
            | {str(each.number) for each in counted if each.is_ascending and each.number}
        )
        self._stretches = Stretches(each.calendar for each in counted)
        self._boards_at = lru_cache(maxsize=65_536)(self._find_boards)
        self._view = lru_cache(maxsize=65_536)(self._find_view)

    def standing(self, fold: Fold, board: Board, *, lowered: bool = False) -> Standing | None:
        """Return the player's standing on `board`; None if the board does not count them."""
        standings = self.standings(fold, (board,), lowered=lowered)
        return standings[0] if standings else None

    def standings(self, fold: Fold, boards: Iterable[Board], *, lowered: bool = False) -> list[Standing]:
        """Return the player's standings on those of `boards` that count them."""
        standings = []
        user_id, revision, hidden, shows_metadata = fold.user_id, fold.revision, fold.hidden, fold.shows_metadata
        for board in boards:
            total_of, encode = self._view(board)
            total = total_of(fold)
            if total is None:
                continue
            points = 0 if hidden else int32(total.points)
            value = 0.0
            if points > 0:
                value = encode(points, _shown_time(total, points))
            reached_at = (total.reached_at if value else 0) if shows_metadata else None
            standings.append(Standing(board, user_id, points, value, revision, lowered, reached_at))
        return standings

    def affected_boards(self, fold: Fold, entry: Event | Row) -> Iterable[Board]:
        """Return the boards on which `entry` may have changed the player's standing, without those of a former country."""
        if (entry.change is not None and entry.change.version) or entry.kind in EVENTLESS_KINDS:
            return self.boards_of(fold)
        action_type_id = entry.change.action_type_id if entry.change is not None else ""
        stretch = self._stretches.at(entry.at)
        return self._boards_at(entry.at // DAY_MS, stretch, fold.country, entry.quiz_id, action_type_id, entry.tags)

    def removals(self, fold: Fold, former_country: str, *, rebuilding: bool = False) -> list[Standing]:
        """Return standings that take the player off the boards of a former country; none if they are back in it.

        Also off those of `archiving_boards` while boards are rebuilt.
        """
        if not former_country or former_country == fold.country:
            return []
        definitions = (*self.catalog.counted, *self.catalog.archiving) if rebuilding else self.catalog.counted
        boards = {Board("country", former_country), *self.boards_defined_by(definitions, fold, former_country)}
        boards.difference_update(self.boards_defined_by(definitions, fold))
        return [unranked(fold, board) for board in sorted(boards)]

    def boards_of(self, fold: Fold) -> list[Board]:
        """Return every board on which the player has a total, including the closed periods that the fold still has."""
        boards = [Board("all")]
        boards += [Board("weekly", week) for week in fold.weeks]
        boards += [Board("monthly", month) for month in fold.months]
        if fold.country:
            boards.append(Board("country", fold.country))
        boards += [Board("quiz", quiz_id) for quiz_id in fold.quizzes]
        boards += self.boards_defined_by(self.catalog.counted, fold)
        return boards

    def archiving_boards(self, fold: Fold) -> Iterator[Board]:
        """Yield the player's boards that are no longer counted and not yet in the archive. Only a rebuild writes them."""
        for definition in self.catalog.archiving:
            for board in self.boards_defined_by((definition,), fold):
                period = self.catalog.period_of(board)
                if period is None or definition.archived_at is None or period.starts_at < definition.archived_at:
                    yield board

    def boards_defined_by(
        self, definitions: Iterable[Definition], fold: Fold, country: str | None = None
    ) -> Iterator[Board]:
        """Yield the boards of these definitions that rank players of a country, the fold's if None, in its periods."""
        country = fold.country if country is None else country
        for definition in definitions:
            if definition.includes(country):
                for period in _periods_of(fold, definition):
                    yield definition.board(country, period)

    def may_lower(self, entry: Row) -> bool:
        """Return whether a standing may have fallen by what a row did to numbered counters."""
        if entry.kind == COUNTERS_ADDED or not entry.counters:
            return False
        if entry.kind in (ACTION_VOIDED, ACTION_REJUDGED):
            return True
        return not self._falling.isdisjoint(entry.counters)

    def _find_view(self, board: Board) -> _View:
        encode = _encode(board, self.agreement.encoding, is_ascending=self.catalog.is_ascending(board))
        if board.kind != "custom":
            return _View(built_in_total(board), encode)
        return _View(custom_total(self.catalog.definition_of(board), parse_custom_name(board.qualifier)), encode)

    def _find_boards(
        self, day: int, stretch: Stretch, country: str, quiz_id: str, action_type_id: str, tags: tuple[str, ...]
    ) -> tuple[Board, ...]:
        """Return the boards that rank players of a country and count events of this kind and time."""
        numbers = {each.number for each in self.counters.of_source(quiz_id, action_type_id, tags)} | {0}
        defined = (
            each.board(country, period)
            for each, period in zip(self.catalog.counted, stretch.periods, strict=True)
            if period is not None and each.number in numbers and each.includes(country)
        )
        return (*boards_at(day * DAY_MS, country, quiz_id), *defined)


def _counters(catalog: Catalog) -> Counters:
    # Those of boards that are being archived, too: a rebuild may have to fill them.
    definitions = (*catalog.counted, *catalog.archiving)
    numbered = {each.number: NumberedCounter(each.number, each.counter) for each in definitions if each.number}
    return Counters(list(numbered.values()), catalog.numbers)


def _periods_of(fold: Fold, definition: Definition) -> Sequence[str]:
    """Return the names of the periods in which the fold has a total of the definition's counter."""
    if definition.number:
        periods = fold.counters.get(str(definition.number), {})
        return ["" if period == ALL_TIME else period for period in periods]
    if definition.period == "all":
        return [""]
    if definition.period == "weekly":
        return [week.replace("-", "-W") for week in fold.weeks]
    return list(fold.months)


def unranked(fold: Fold, board: Board) -> Standing:
    """Return the standing that takes a player off a board."""
    return Standing(board, fold.user_id, 0, 0.0, fold.revision, True, 0 if fold.shows_metadata else None)


def shown_value(total: Total | QuizTotal, board: Board, encoding: int, *, is_ascending: bool = False) -> float:
    """Return the value of a total; 0 without points. Players with more than a board can show are ordered by id."""
    points = int32(total.points)
    encode = _encode(board, encoding, is_ascending=is_ascending)
    return encode(points, _shown_time(total, points)) if points > 0 else 0.0


def _shown_time(total: Total | QuizTotal, points: int) -> int:
    """Return the microseconds since 1970 that decide among equal points; 0 for more than a board can show."""
    return 1000 * total.reached_at if points == total.points else 0


def _encode(board: Board, encoding: int, *, is_ascending: bool) -> Encode:
    """Return the function that encodes points and the time at which they were reached."""
    if is_ascending:
        return lambda points, reached_at: encode_us(mirrored(points), reached_at)
    if encoding == FORMER_ENCODING:
        return lambda points, reached_at: former_encoding.encode_us(points, reached_at, board)
    return encode_us


def can_lower(entry: Event | Row) -> bool:
    """Return whether a standing may be less after `entry` than before it."""
    changes_account = entry.change is not None and entry.change.version > 0
    return entry.delta < 0 or changes_account or entry.kind in CORRECTING_KINDS


def lowers_quiz(before: Fold, after: Fold, quiz_id: str) -> bool:
    """Return whether the player's value on the board of a quiz is less than before, which even added points can do.

    Of attempts the highest says what all count for. One that is counted late may move only the time of the total, and after
    a loss of records a higher one may say less.
    """
    former = before.quizzes.get(quiz_id)
    if former is None:
        return False
    total = after.quizzes[quiz_id]
    return total.points < former.points or (total.points == former.points and total.reached_at > former.reached_at)


def expires_at(catalog: Catalog, board: Board, retention: timedelta) -> datetime | None:
    """Return when the board's keys expire: `retention` after its period's end; None for a board without a period."""
    period = catalog.period_of(board)
    return None if period is None else period.ends_at + retention


def is_kept(catalog: Catalog, board: Board, now: datetime, retention: timedelta) -> bool:
    """Return whether the board is still kept in Redis."""
    end = expires_at(catalog, board, retention)
    return end is None or now < end
