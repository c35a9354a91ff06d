"""The ledger of one player: the next row, the fold of the rows, and the chain that binds them.

Pure. Owns what a row is and what it does to a player's standing. Must never ask for the time or for a store.

A row is what one event did: it names the event, its place in the player's chain (revisions 1, 2, 3, …), the totals after
it and the hash of the row before it. A fold is a player's standing after his rows so far: `fold = apply(fold, row)` from
revision 1 on, so that whoever has the rows has everything else. Times are whole milliseconds since 1970, UTC.

A total is reached when an event last raised it; of several that did, the latest, in whatever order they came. A quiz's
own total is the one of the highest attempt, since attempts may come out of order. Totals of periods are kept for the
two newest weeks and months in which the player had events; what is older than both is `late` and counts where there is
no period.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from services.runtime.boards import MAX_POINTS, Board, boards_of

QUIZ_COMPLETED = "QUIZ_COMPLETED"
GENESIS = bytes(32)
# Folds remember older periods than rows do, so that the boards of closed periods can be made anew.
REMEMBERED = 8
_COUNTED = 2
_DAY_MS = 86_400_000
# The years 2001 to 9997: a week or month at either end still has a name.
_EARLIEST, _LATEST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000) for year in (2001, 9998))


class Total(NamedTuple):
    """Points, and when they were last raised."""

    points: int
    reached_at: int


class QuizTotal(NamedTuple):
    """What a player's attempts at one quiz count for together, as of the highest attempt known."""

    points: int
    attempt: int
    reached_at: int


class Event(NamedTuple):
    """A completed quiz as it came from the stream. `client` is a salted digest of address and user agent."""

    event_id: str
    user_id: str
    quiz_id: str
    delta: int
    at: int
    action_id: str
    attempt: int
    quiz_total: int
    country: str = ""
    client: bytes = b""
    sequence: int = 0
    partition: int = 0
    ip: str = ""
    user_agent: str = ""


class Origin(NamedTuple):
    """Where an action came from. Personal: it lies beside the ledger, for a limited time."""

    ip: str
    user_agent: str


class Row(NamedTuple):
    """One entry of a player's chain; its `event_id` is its id in the store. Weeks and months are the newest two.

    A tuple and not a dataclass, because one is made for every event and a frozen dataclass takes five times as long. The
    order of the fields is the order in which they are hashed.
    """

    event_id: str
    user_id: str
    revision: int
    kind: str
    delta: int
    old_total: int
    total: Total
    weeks: Mapping[str, Total]
    months: Mapping[str, Total]
    quiz_id: str
    quiz: QuizTotal
    action_id: str
    country: str
    hidden: bool
    late: bool
    at: int
    recorded_at: int
    sequence: int
    partition: int
    client: bytes
    previous: bytes
    hash: bytes


class Fold(NamedTuple):
    """A player's standing after the row `revision`; revision 0 is a player without rows."""

    user_id: str
    revision: int
    event_id: str
    hash: bytes
    total: Total
    weeks: Mapping[str, Total]
    months: Mapping[str, Total]
    quizzes: Mapping[str, QuizTotal]
    country: str
    hidden: bool
    recorded_at: int


_NOTHING = Total(0, 0)


def unscored(user_id: str) -> Fold:
    """The fold of a player without a row."""
    return Fold(user_id, 0, "", GENESIS, _NOTHING, {}, {}, {}, "", False, 0)


def next_row(fold: Fold, event: Event, recorded_at: int) -> Row:
    """The row that counts `event` after everything in `fold`, its hash included. Totals are clamped to 32 bits.

    The country is the one of the first row's event and stays. Raises ValueError for a quiz id, country or time that no
    board can have.
    """
    week, month = periods_of(event.at)
    weeks, in_week = _counted(fold.weeks, week, event)
    months, in_month = _counted(fold.months, month, event)
    country = fold.country if fold.revision else event.country
    boards_at(event.at, country, event.quiz_id)
    content = (
        event.event_id,
        event.user_id,
        fold.revision + 1,
        QUIZ_COMPLETED,
        event.delta,
        fold.total.points,
        _raised(fold.total, event.delta, event.at),
        weeks,
        months,
        event.quiz_id,
        _attempted(fold.quizzes.get(event.quiz_id), event),
        event.action_id,
        country,
        fold.hidden,
        not (in_week and in_month),
        event.at,
        recorded_at,
        event.sequence,
        event.partition,
        event.client,
    )
    return Row(*content, fold.hash, _digest(content, fold.hash))


def apply(fold: Fold, row: Row) -> Fold:
    """The fold after `row`. Raises ValueError if the row is not the one after `fold`."""
    if row.revision != fold.revision + 1 or row.previous != fold.hash or row.user_id != fold.user_id:
        raise ValueError(f"row {row.revision} does not follow revision {fold.revision}")
    quizzes = fold.quizzes
    known = quizzes.get(row.quiz_id)
    if row.quiz_id and (known is None or row.quiz.attempt > known.attempt):
        quizzes = {**quizzes, row.quiz_id: row.quiz}
    return Fold(
        user_id=row.user_id,
        revision=row.revision,
        event_id=row.event_id,
        hash=row.hash,
        total=row.total,
        weeks=_remembered(fold.weeks, row.weeks),
        months=_remembered(fold.months, row.months),
        quizzes=quizzes,
        country=row.country,
        hidden=row.hidden,
        recorded_at=row.recorded_at,
    )


def row_hash(row: Row) -> bytes:
    """The hash a row must carry: SHA-256 over the hash before it and the canonical form of everything else in it.

    Canonical is a JSON array of the fields in their order, keys sorted, bytes in hexadecimal.
    """
    return _digest(row[:-2], row.previous)


def _digest(content: tuple[object, ...], previous: bytes) -> bytes:
    canonical = orjson.dumps(content, _plain, orjson.OPT_SORT_KEYS)
    return hashlib.sha256(previous + canonical).digest()


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else list(value)  # type: ignore[call-overload]  # totals are tuples


@lru_cache(maxsize=4096)
def _periods_of_day(day: int) -> tuple[str, str]:
    _, week, month = boards_of(datetime.fromtimestamp(day * 86_400, UTC), "", "")
    return week.qualifier, month.qualifier


def periods_of(at: int) -> tuple[str, str]:
    """The week and the month of a time, as the boards name them. Raises ValueError for a time no board can have."""
    if not _EARLIEST <= at < _LATEST:
        raise ValueError("a time that no board can have")
    return _periods_of_day(at // _DAY_MS)


@lru_cache(maxsize=65_536)
def _boards_of_day(day: int, country: str, quiz_id: str) -> tuple[Board, ...]:
    return tuple(map(_one, boards_of(datetime.fromtimestamp(day * 86_400, UTC), country, quiz_id)))


def boards_at(at: int, country: str, quiz_id: str) -> tuple[Board, ...]:
    """All boards that an event at this time moves. Raises ValueError for a country or quiz id that can't be one."""
    return _boards_of_day(at // _DAY_MS, country, quiz_id)


@lru_cache(maxsize=65_536)
def _one(board: Board) -> Board:
    """The same object for equal boards: a lookup by it compares no text."""
    return board


def clamped(points: int) -> int:
    """Points within 32 bits, as every total is."""
    return points if -MAX_POINTS <= points <= MAX_POINTS else max(-MAX_POINTS - 1, min(MAX_POINTS, points))


def _raised(total: Total, delta: int, at: int) -> Total:
    points, reached_at = total
    return Total(clamped(points + delta), at if delta > 0 and at > reached_at else reached_at)


def _counted(kept: Mapping[str, Total], period: str, event: Event) -> tuple[Mapping[str, Total], bool]:
    """The newest two periods with the event counted, and whether it could be.

    A period that is not among the newest two but is newer than one of them was never seen, so its total is known: 0.
    """
    if period in kept and len(kept) <= _COUNTED:  # nearly always
        return {**kept, period: _raised(kept[period], event.delta, event.at)}, True
    newest = sorted(kept)[-_COUNTED:]
    if len(newest) == _COUNTED and period < newest[0]:
        return {name: kept[name] for name in newest}, False
    counted = {name: kept[name] for name in newest}
    counted[period] = _raised(counted.get(period, _NOTHING), event.delta, event.at)
    if len(counted) > _COUNTED:
        del counted[newest[0]]
    return counted, True


def _attempted(known: QuizTotal | None, event: Event) -> QuizTotal:
    points = clamped(event.quiz_total)
    raised = known is None or known.attempt > event.attempt or points > known.points
    return QuizTotal(points, event.attempt, event.at if raised or known is None else known.reached_at)


def _remembered(older: Mapping[str, Total], newer: Mapping[str, Total]) -> Mapping[str, Total]:
    if older.keys() <= newer.keys():
        return newer
    merged = {**older, **newer}
    return {name: merged[name] for name in sorted(merged)[-REMEMBERED:]} if len(merged) > REMEMBERED else merged
