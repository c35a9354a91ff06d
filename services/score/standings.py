"""From a player's fold to his standings on boards.

Pure. Owns which board shows which total, and which boards an event touches. A standing carries what decides between two
writers: the revision of the fold it was read from; of two standings of a player the higher is the later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from services.runtime.boards import Board, encode_us, period
from services.score.ledger import Event, Fold, QuizTotal, Row, Total, boards_at

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


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


def standing(fold: Fold, board: Board, *, lowered: bool = False) -> Standing | None:
    """Where the player stands on `board`; None if the board does not count him at all."""
    found = standings(fold, (board,), lowered=lowered)
    return found[0] if found else None


def standings(fold: Fold, boards: Iterable[Board], *, lowered: bool = False) -> list[Standing]:
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
        else:
            total = fold.quizzes.get(qualifier)
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


def touched(fold: Fold, act: Event | Row) -> Iterable[Board]:
    """The boards on which `act` may have changed where the player stands now; not the one of a country he left."""
    if act.change is not None and act.change.version:
        return boards_of_fold(fold)
    return boards_at(act.at, fold.country, act.quiz_id)


def lowers(act: Event | Row) -> bool:
    """True if a standing may be less after `act` than before it."""
    return act.delta < 0 or (act.change is not None and act.change.version > 0)


def left(fold: Fold, country: str) -> list[Standing]:
    """That the player is not on the board of a country that he moved away from; nothing if he is back, or never was."""
    if not country or country == fold.country:
        return []
    return [Standing(Board("country", country), fold.user_id, 0, 0.0, fold.revision, lowered=True)]


def boards_of_fold(fold: Fold) -> Iterator[Board]:
    """Every board on which the player has a total, closed periods included as far as the fold remembers them."""
    yield Board("all")
    for week in fold.weeks:
        yield Board("weekly", week)
    for month in fold.months:
        yield Board("monthly", month)
    if fold.country:
        yield Board("country", fold.country)
    for quiz_id in fold.quizzes:
        yield Board("quiz", quiz_id)


def expires_at(board: Board, retention: timedelta) -> datetime | None:
    """When the board's keys may go: `retention` after its period's end; None for a board without a period."""
    counted = period(board)
    return None if counted is None else counted.ends_at + retention


def is_kept(board: Board, now: datetime, retention: timedelta) -> bool:
    """True while the board has a place in Redis."""
    end = expires_at(board, retention)
    return end is None or now < end
