"""From a player's fold to his standings on boards.

Pure. Owns which board shows which total, and which boards an event touches; which boards there are says the catalog.
A standing carries what decides between two writers: the revision of the fold it was read from; of two standings of a
player the higher is the later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from services.runtime.boards import Board, encode_us, period
from services.runtime.catalog import Catalog
from services.score.ledger import Event, Fold, QuizTotal, Row, Total, boards_at, periods_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DAY_MS = 86_400_000


class Standing(NamedTuple):
    """A player on one board. `value` is 0 for who is not ranked; `lowered` says that it may be less than before."""

    board: Board
    user_id: str
    points: int
    value: float
    revision: int
    lowered: bool


@lru_cache(maxsize=4096)  # a batch has one time of recording, and asks for each event's twice
def time_of(milliseconds: int) -> datetime:
    """A time of the ledger as an aware datetime."""
    return _EPOCH + milliseconds * _MILLISECOND


def milliseconds_of(at: datetime) -> int:
    """An aware datetime as a time of the ledger."""
    return (at - _EPOCH) // _MILLISECOND


class Terms(NamedTuple):
    """What all workers agree on: which boards there are, and which periods are closed (`closed_through`, as `next_row`)."""

    catalog: Catalog
    closed_through: int


class Placing:
    """Where players stand on the boards of a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._writing: Counter[Terms] = Counter()
        self.adopt(Terms(catalog, 0))

    @property
    def catalog(self) -> Catalog:
        """Which boards there are."""
        return self.terms.catalog

    @property
    def settled(self) -> bool:
        """True if no write is under way that began before the terms were adopted."""
        return self._writing.keys() <= {self.terms}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around whatever makes rows and writes standings under the terms of this moment, or later ones."""
        terms = self.terms
        self._writing[terms] += 1
        try:
            yield
        finally:
            self._writing[terms] -= 1
            self._writing = +self._writing

    def adopt(self, terms: Terms) -> None:
        """From now on these."""
        self.terms = terms
        self._boards_of_day = lru_cache(maxsize=65_536)(self._find_boards)

    def standing(self, fold: Fold, board: Board, *, lowered: bool = False) -> Standing | None:
        """Where the player stands on `board`; None if the board does not count him at all."""
        found = self.standings(fold, (board,), lowered=lowered)
        return found[0] if found else None

    def standings(self, fold: Fold, boards: Iterable[Board], *, lowered: bool = False) -> list[Standing]:
        """Where the player stands on those of `boards` that count him."""
        found = []
        user_id, revision, hidden = fold.user_id, fold.revision, fold.hidden
        overall = -1.0
        for board in boards:
            kind, qualifier = board
            total: Total | QuizTotal | None
            if kind == "all":
                total = fold.total
            elif kind == "weekly":
                total = fold.weeks.get(qualifier)
            elif kind == "monthly":
                total = fold.months.get(qualifier)
            elif kind == "country":
                total = fold.total if qualifier == fold.country else None
            elif kind == "quiz":
                total = fold.quizzes.get(qualifier)
            else:
                total = self._custom_total(fold, board)
            if total is None:
                continue
            points = 0 if hidden else total.points
            if points <= 0:
                value = 0.0
            elif total is fold.total:  # that of a country is the one of all
                if overall < 0:
                    overall = encode_us(points, 1000 * total.reached_at, board)
                value = overall
            else:
                value = encode_us(points, 1000 * total.reached_at, board)
            found.append(Standing(board, user_id, points, value, revision, lowered))
        return found

    def touched(self, fold: Fold, act: Event | Row) -> Iterable[Board]:
        """The boards on which `act` may have changed where the player stands now; not those of a country he left."""
        if act.change is not None and act.change.version:
            return self.boards_of(fold)
        return self._boards_of_day(act.at // _DAY_MS, fold.country, act.quiz_id)

    def left(self, fold: Fold, country: str) -> list[Standing]:
        """That the player is not on the boards of a country that he moved away from; nothing if he is back, or never was."""
        if not country or country == fold.country:
            return []
        former = {Board("country", country), *self._custom_boards(fold, country)}
        former.difference_update(self._custom_boards(fold, fold.country))
        return [Standing(board, fold.user_id, 0, 0.0, fold.revision, lowered=True) for board in sorted(former)]

    def boards_of(self, fold: Fold) -> list[Board]:
        """Every board on which the player has a total, closed periods included as far as the fold remembers them."""
        found = [Board("all")]
        found += [Board("weekly", week) for week in fold.weeks]
        found += [Board("monthly", month) for month in fold.months]
        if fold.country:
            found.append(Board("country", fold.country))
        found += [Board("quiz", quiz_id) for quiz_id in fold.quizzes]
        found += self._custom_boards(fold, fold.country)
        return found

    def _custom_boards(self, fold: Fold, country: str) -> Iterable[Board]:
        return self.catalog.custom_boards(country, list(fold.weeks), list(fold.months))

    def _custom_total(self, fold: Fold, board: Board) -> Total | None:
        counted = self.catalog.counted(board)
        if counted is None or not counted.declared.counts(fold.country):
            return None
        if counted.country and counted.country != fold.country:
            return None
        if counted.declared.span == "all":
            return fold.total
        return (fold.weeks if counted.declared.span == "weekly" else fold.months).get(counted.period)

    def _find_boards(self, day: int, country: str, quiz_id: str) -> tuple[Board, ...]:
        """All boards that an event of a day moves."""
        at = day * _DAY_MS
        week, month = periods_of(at)
        return (*boards_at(at, country, quiz_id), *self.catalog.custom_boards(country, (week,), (month,)))


def lowers(act: Event | Row) -> bool:
    """True if a standing may be less after `act` than before it."""
    return act.delta < 0 or (act.change is not None and act.change.version > 0)


def expires_at(board: Board, retention: timedelta) -> datetime | None:
    """When the board's keys may go: `retention` after its period's end; None for a board without a period."""
    counted = period(board)
    return None if counted is None else counted.ends_at + retention


def is_kept(board: Board, now: datetime, retention: timedelta) -> bool:
    """True while the board has a place in Redis."""
    end = expires_at(board, retention)
    return end is None or now < end
