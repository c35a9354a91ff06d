"""The ledger of one player: the next row, the fold of the rows, and the chain that binds them.

Pure. Owns what a row is and what it does to a player's standing. Must never ask for the time or for a store.

A row is what one event did: it names the event, its place in the player's chain (revisions 1, 2, 3, …), the totals after
it and the hash of the row before it. A fold is a player's standing after his rows so far: `fold = apply(fold, row)` from
revision 1 on, so that whoever has the rows has everything else. Times are whole milliseconds since 1970, UTC.

What is hashed names no person. A chain is known by a digest of the user id, and what is personal in a row (where an
action came from, who changed something and why) is hashed as a digest of its own; both are salted (see `seals`). So all of
it can be taken from the rows, and the chain still holds to its last hash. That is what an erasure does: its row hides the
player for good, and whatever comes after it is counted in his chain, under a name that is made of the digest.

Besides points, a chain has what moderators did and what became of the account: a void and an adjustment change totals, a
block hides the player, a change of country moves him. Changes of the account are numbered by identity and may come in any
order: of two, the one with the higher version holds.

A total is reached when an event last raised it; of several that did, the latest, in whatever order they came. A quiz's
own total is the one of the highest attempt, since attempts may come out of order. Totals of periods are kept for the
two newest weeks and months in which the player had events; what is older than both, or in a period that was closed before
the row was made, is `late` and counts where there is no period.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from services.runtime.boards import MAX_POINTS, Board, boards_of, period
from services.runtime.erased import pseudonym_of

QUIZ_COMPLETED = "QUIZ_COMPLETED"
ACTION_VOIDED = "ACTION_VOIDED"
SCORE_ADJUSTED = "SCORE_ADJUSTED"
PLAYER_BLOCKED = "PLAYER_BLOCKED"
PLAYER_UNBLOCKED = "PLAYER_UNBLOCKED"
COUNTRY_CHANGED = "COUNTRY_CHANGED"
PLAYER_ERASED = "PLAYER_ERASED"
GENESIS = bytes(32)
# Folds remember older periods than rows do, so that the boards of closed periods can be made anew.
REMEMBERED = 8
_COUNTED = 2
_DAY_MS = 86_400_000
_MINUTE_MS = 60_000
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


class Change(NamedTuple):
    """What an event has that is no action of the player's own.

    `version` numbers the changes of an account, from 1, and `blocked` is what the account is since; `voids` names the
    event that is taken back. All are empty where they don't belong. `seal` is a salted digest of actor and reason, which
    are personal and go when the player is erased.
    """

    actor: str
    reason: str
    version: int = 0
    blocked: bool = False
    voids: str = ""
    seal: bytes = b""


class Event(NamedTuple):
    """What came from the stream. `at` is the time at which it counts: for a void, that of the action it takes back.

    `client` is a salted digest of address and user agent. `elapsed` is how long the player had the quiz, in milliseconds,
    -1 if that is not known.
    """

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
    kind: str = QUIZ_COMPLETED
    change: Change | None = None
    questions: int = 0
    elapsed: int = -1


class Origin(NamedTuple):
    """Where an action came from. Personal: it lies beside the ledger, for a limited time."""

    ip: str
    user_agent: str


class Row(NamedTuple):
    """One entry of a player's chain; its `event_id` is its id in the store. Weeks and months are the newest two.

    A tuple and not a dataclass, because one is made for every event and a frozen dataclass takes five times as long. The
    order of the fields is the order in which they are hashed; the user id, the first, is not.
    """

    user_id: str
    event_id: str
    chain: bytes
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
    moved_from: str
    hidden: bool
    late: bool
    at: int
    recorded_at: int
    sequence: int
    partition: int
    client: bytes
    change: Change | None
    previous: bytes
    hash: bytes


class Recent(NamedTuple):
    """How much a player did in the latest minute in which he did something, and in the one before it."""

    minute: int
    actions: int
    points: int
    actions_before: int
    points_before: int


class Fold(NamedTuple):
    """A player's standing after the row `revision`; revision 0 is a player without rows. Nothing unhides who is `erased`."""

    user_id: str
    chain: bytes
    revision: int
    event_id: str
    hash: bytes
    total: Total
    weeks: Mapping[str, Total]
    months: Mapping[str, Total]
    quizzes: Mapping[str, QuizTotal]
    country: str
    hidden: bool
    erased: bool
    version: int
    recent: Recent
    recorded_at: int


_NOTHING = Total(0, 0)
_NEVER = Recent(0, 0, 0, 0, 0)
_NO_QUIZ = QuizTotal(0, 0, 0)


def unscored(user_id: str, chain: bytes = b"") -> Fold:
    """The fold of a player without a row."""
    return Fold(user_id, chain, 0, "", GENESIS, _NOTHING, {}, {}, {}, "", False, False, 0, _NEVER, 0)


def next_row(fold: Fold, event: Event, recorded_at: int, closed_through: int = 0) -> Row:
    """The row that counts `event` after everything in `fold`, its hash included. Totals are clamped to 32 bits.

    Periods that ended at `closed_through` or before do not change any more.

    The country is the one of the first event that names one, until the account's is changed. Raises ValueError for a quiz
    id, country or time that no board can have.
    """
    country, hidden, change = fold.country, fold.hidden, event.change
    total, delta = fold.total, event.delta
    if change is not None and change.version:
        weeks, months, late = _newest(fold.weeks), _newest(fold.months), False
        if not fold.erased and (change.version > fold.version or event.kind == PLAYER_ERASED):
            country, hidden = event.country, change.blocked
    else:
        week, month = periods_of(event.at)
        week_ends, month_ends = _ends_of_day(event.at // _DAY_MS)
        weeks, in_week = _counted(fold.weeks, week, event, is_open=week_ends > closed_through)
        months, in_month = _counted(fold.months, month, event, is_open=month_ends > closed_through)
        late = not (in_week and in_month)
        total = _raised(total, delta, event.at)
        if not country and not fold.version:
            country = event.country
    boards_at(event.at, country, event.quiz_id)
    content = (
        event.event_id,
        fold.chain,
        fold.revision + 1,
        event.kind,
        delta,
        fold.total.points,
        total,
        weeks,
        months,
        event.quiz_id,
        _attempted(fold.quizzes.get(event.quiz_id), event) if event.quiz_id else _NO_QUIZ,
        event.action_id,
        country,
        fold.country if fold.country != country else "",
        hidden,
        late,
        event.at,
        recorded_at,
        event.sequence,
        event.partition,
        event.client,
        change,
    )
    user_id = pseudonym_of(fold.chain) if fold.erased else event.user_id
    return Row(user_id, *content, fold.hash, _digest(content, fold.hash))


def apply(fold: Fold, row: Row) -> Fold:
    """The fold after `row`. Raises ValueError if the row is not the one after `fold`."""
    if row.revision != fold.revision + 1 or row.previous != fold.hash or row.chain != fold.chain:
        raise ValueError(f"row {row.revision} does not follow revision {fold.revision}")
    quizzes = fold.quizzes
    known = quizzes.get(row.quiz_id)
    if row.quiz_id and (known is None or row.quiz.attempt > known.attempt):
        quizzes = {**quizzes, row.quiz_id: row.quiz}
    return Fold(
        user_id=fold.user_id,
        chain=fold.chain,
        revision=row.revision,
        event_id=row.event_id,
        hash=row.hash,
        total=row.total,
        weeks=_remembered(fold.weeks, row.weeks),
        months=_remembered(fold.months, row.months),
        quizzes=quizzes,
        country=row.country,
        hidden=row.hidden,
        erased=fold.erased or row.kind == PLAYER_ERASED,
        version=fold.version if row.change is None else max(fold.version, row.change.version),
        recent=_acted(fold.recent, row) if row.kind == QUIZ_COMPLETED else fold.recent,
        recorded_at=row.recorded_at,
    )


def row_hash(row: Row) -> bytes:
    """The hash a row must carry: SHA-256 over the hash before it and the canonical form of everything in it but its names.

    Canonical is a JSON array of the fields in their order, keys sorted, bytes in hexadecimal; of a change, its seal stands
    for actor and reason.
    """
    return _digest(row[1:-2], row.previous)


def _digest(content: tuple[object, ...], previous: bytes) -> bytes:
    canonical = orjson.dumps(content, _plain, orjson.OPT_SORT_KEYS)
    return hashlib.sha256(previous + canonical).digest()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Change):
        return value[2:]
    return list(value)  # type: ignore[call-overload]  # totals are tuples


@lru_cache(maxsize=4096)
def _periods_of_day(day: int) -> tuple[str, str]:
    _, week, month = boards_of(datetime.fromtimestamp(day * 86_400, UTC), "", "")
    return week.qualifier, month.qualifier


def periods_of(at: int) -> tuple[str, str]:
    """The week and the month of a time, as the boards name them. Raises ValueError for a time no board can have."""
    if not _EARLIEST <= at < _LATEST:
        raise ValueError("a time that no board can have")
    return _periods_of_day(at // _DAY_MS)


@lru_cache(maxsize=4096)
def _ends_of_day(day: int) -> tuple[int, int]:
    """When the week and the month of a day end."""
    _, week, month = boards_of(datetime.fromtimestamp(day * 86_400, UTC), "", "")
    ends = [found.ends_at for found in (period(week), period(month)) if found is not None]
    return round(ends[0].timestamp() * 1000), round(ends[1].timestamp() * 1000)


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


def _counted(kept: Mapping[str, Total], name: str, event: Event, *, is_open: bool) -> tuple[Mapping[str, Total], bool]:
    """The newest two periods with the event counted, and whether it could be.

    A period that is not among the newest two but is newer than one of them was never seen, so its total is known: 0.
    """
    if not is_open:
        return _newest(kept), False
    if name in kept and len(kept) <= _COUNTED:  # nearly always
        return {**kept, name: _raised(kept[name], event.delta, event.at)}, True
    newest = sorted(kept)[-_COUNTED:]
    if len(newest) == _COUNTED and name < newest[0]:
        return {kept_name: kept[kept_name] for kept_name in newest}, False
    counted = {kept_name: kept[kept_name] for kept_name in newest}
    counted[name] = _raised(counted.get(name, _NOTHING), event.delta, event.at)
    if len(counted) > _COUNTED:
        del counted[newest[0]]
    return counted, True


def _newest(kept: Mapping[str, Total]) -> Mapping[str, Total]:
    return kept if len(kept) <= _COUNTED else {name: kept[name] for name in sorted(kept)[-_COUNTED:]}


def _acted(recent: Recent, row: Row) -> Recent:
    """One action more. What is older than the latest minute does not count: events come nearly in order."""
    minute = row.at // _MINUTE_MS
    if minute == recent.minute:
        _, actions, points, actions_before, points_before = recent
        return Recent(minute, actions + 1, points + row.delta, actions_before, points_before)
    if minute < recent.minute:
        return recent
    follows = minute == recent.minute + 1
    return Recent(minute, 1, row.delta, recent.actions if follows else 0, recent.points if follows else 0)


def _attempted(known: QuizTotal | None, event: Event) -> QuizTotal:
    points = clamped(event.quiz_total)
    raised = known is None or known.attempt > event.attempt or points > known.points
    return QuizTotal(points, event.attempt, event.at if raised or known is None else known.reached_at)


def _remembered(older: Mapping[str, Total], newer: Mapping[str, Total]) -> Mapping[str, Total]:
    if older.keys() <= newer.keys():
        return newer
    merged = {**older, **newer}
    return {name: merged[name] for name in sorted(merged)[-REMEMBERED:]} if len(merged) > REMEMBERED else merged
