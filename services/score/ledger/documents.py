"""Rows and folds as MongoDB documents: one function each way, and nothing else.

Times that an operator reads or an index needs are dates; totals are short arrays `[points, reached at in ms]`,
with the time of the latest change as another element if it differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bson.codec_options import CodecOptions, DatetimeConversion

from services.boards.proofs.pseudonyms import pseudonym_of
from services.score.ledger.events import Change
from services.score.ledger.folds.fold import Fold, RecentActivity
from services.score.ledger.rows import Row
from services.score.ledger.times import time_of
from services.score.ledger.totals import CounterTotals, PeriodTotals, QuizTotal, Total

Document = dict[str, Any]
_MEMBERS_WITHOUT_ACTION_TYPE: Final = 6
_MEMBERS_OF_STORED_CHANGE: Final = 8
# Times of the ledger may exceed the range of datetime.
MS_DATES: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


def row_document(row: Row) -> Document:
    """Return the document of a row. Fields that few rows have are left out of all others."""
    document = {
        "_id": row.event_id,
        "user_id": row.user_id,
        "chain": row.chain,
        "revision": row.revision,
        "kind": row.kind,
        "delta": row.delta,
        "old_total": row.old_total,
        "total": row.total,
        "weeks": row.weeks,
        "months": row.months,
        "quiz_id": row.quiz_id,
        "quiz": row.quiz,
        "action_id": row.action_id,
        "country": row.country,
        "hidden": row.hidden,
        "late": row.late,
        "at": time_of(row.at),
        "recorded_at": time_of(row.recorded_at),
        "sequence": row.sequence,
        "partition": row.partition,
        "client": row.client,
        "previous": row.previous,
        "hash": row.hash,
    }
    if row.moved_from:
        document["moved_from"] = row.moved_from
    if row.change is not None:
        change = row.change
        members = _MEMBERS_OF_STORED_CHANGE if change.action_type_id else _MEMBERS_WITHOUT_ACTION_TYPE
        document["change"] = change[:members]
        if change.shows_metadata:
            document["shows_metadata"] = True
    if row.counters_known:
        document["counters_known"] = row.counters_known
    if row.counters:
        document["counters"] = row.counters
    if row.tags:
        document["tags"] = row.tags
    return document


def row_of(document: Mapping[str, Any]) -> Row:
    """Return the row of a document that was read with dates as `DatetimeMS`."""
    change = document.get("change")
    return Row(
        event_id=document["_id"],
        user_id=document["user_id"],
        chain=document["chain"],
        revision=document["revision"],
        kind=document["kind"],
        delta=document["delta"],
        old_total=document["old_total"],
        total=Total(document["total"]),
        weeks=_totals(document["weeks"]),
        months=_totals(document["months"]),
        quiz_id=document["quiz_id"],
        quiz=QuizTotal(document["quiz"]),
        action_id=document["action_id"],
        country=document["country"],
        moved_from=document.get("moved_from", ""),
        hidden=document["hidden"],
        late=document["late"],
        at=int(document["at"]),
        recorded_at=int(document["recorded_at"]),
        sequence=document["sequence"],
        partition=document["partition"],
        client=document["client"],
        change=None if change is None else _change_of(change, shows_metadata="shows_metadata" in document),
        counters_known=document.get("counters_known", 0),
        counters=_counters(document),
        tags=tuple(document.get("tags", ())),
        previous=document["previous"],
        hash=document["hash"],
    )


def fold_document(fold: Fold) -> Document:
    """Return the document of a fold. It contains the pseudonym of an erased player, not their user id."""
    document = {
        "_id": fold.chain,
        "user_id": pseudonym_of(fold.chain) if fold.erased else fold.user_id,
        "revision": fold.revision,
        "event_id": fold.event_id,
        "hash": fold.hash,
        "total": fold.total,
        "weeks": fold.weeks,
        "months": fold.months,
        "quizzes": fold.quizzes,
        "country": fold.country,
        "hidden": fold.hidden,
        "erased": fold.erased,
        "version": fold.version,
        "recent": fold.recent,
        "recorded_at": time_of(fold.recorded_at),
    }
    if fold.complete_through:
        document |= {"complete_through": fold.complete_through, "counters": fold.counters}
    if fold.shows_metadata:
        document["shows_metadata"] = True
    return document


def fold_update(fold: Fold, revision: int) -> Document:
    """Return the statement that replaces the stored fold of a player if it has this revision, and else changes nothing.

    The filter is the id alone, which the server finds without a plan: half of what a filter with the revision costs it.
    """
    has_revision = {"$eq": ["$revision", revision]}
    document = {"$cond": [has_revision, {"$literal": fold_document(fold)}, "$$ROOT"]}
    return {"q": {"_id": fold.chain}, "u": [{"$replaceWith": document}]}


def fold_of(document: Mapping[str, Any]) -> Fold:
    """Return the fold of a document that was read with dates as `DatetimeMS`."""
    return Fold(
        user_id=document["user_id"],
        chain=document["_id"],
        revision=document["revision"],
        event_id=document["event_id"],
        hash=document["hash"],
        total=Total(document["total"]),
        weeks=_totals(document["weeks"]),
        months=_totals(document["months"]),
        quizzes={quiz_id: QuizTotal(quiz) for quiz_id, quiz in document["quizzes"].items()},
        country=document["country"],
        hidden=document["hidden"],
        erased=document["erased"],
        version=document["version"],
        recent=RecentActivity(*document["recent"]),
        recorded_at=int(document["recorded_at"]),
        counters=_counters(document),
        complete_through=document.get("complete_through", 0),
        shows_metadata=document.get("shows_metadata", False),
    )


def _change_of(members: Iterable[Any], *, shows_metadata: bool) -> Change:
    change = Change(*members)
    return change._replace(shows_metadata=True) if shows_metadata else change


def _totals(stored_totals: Mapping[str, list[int]]) -> PeriodTotals:
    return {name: Total(total) for name, total in stored_totals.items()}


def _counters(document: Mapping[str, Any]) -> CounterTotals:
    return {number: _totals(periods) for number, periods in document.get("counters", {}).items()}
