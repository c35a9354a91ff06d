"""Rows and folds as documents of MongoDB: the two functions each way, and nothing else.

Times that an operator reads or an index needs are dates; the totals are short arrays `[points, reached at in ms]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.runtime.erased import pseudonym_of
from services.score.ledger import Change, Fold, QuizTotal, Recent, Row, Total
from services.score.standings import time_of

Document = dict[str, Any]


def row_document(row: Row) -> Document:
    """The ledger's document of a row. What only few rows have is left out of all others."""
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
        document["change"] = row.change
    return document


def row_of(document: Mapping[str, Any]) -> Row:
    """The row in a document of the ledger, read with dates as `DatetimeMS`."""
    change = document.get("change")
    return Row(
        event_id=document["_id"],
        user_id=document["user_id"],
        chain=document["chain"],
        revision=document["revision"],
        kind=document["kind"],
        delta=document["delta"],
        old_total=document["old_total"],
        total=Total(*document["total"]),
        weeks={name: Total(*total) for name, total in document["weeks"].items()},
        months={name: Total(*total) for name, total in document["months"].items()},
        quiz_id=document["quiz_id"],
        quiz=QuizTotal(*document["quiz"]),
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
        change=None if change is None else Change(*change),
        previous=document["previous"],
        hash=document["hash"],
    )


def fold_document(fold: Fold) -> Document:
    """The document of a player's fold."""
    return {
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


def fold_of(document: Mapping[str, Any]) -> Fold:
    """The fold in a document of `players`, read with dates as `DatetimeMS`."""
    return Fold(
        user_id=document["user_id"],
        chain=document["_id"],
        revision=document["revision"],
        event_id=document["event_id"],
        hash=document["hash"],
        total=Total(*document["total"]),
        weeks={name: Total(*total) for name, total in document["weeks"].items()},
        months={name: Total(*total) for name, total in document["months"].items()},
        quizzes={quiz_id: QuizTotal(*quiz) for quiz_id, quiz in document["quizzes"].items()},
        country=document["country"],
        hidden=document["hidden"],
        erased=document["erased"],
        version=document["version"],
        recent=Recent(*document["recent"]),
        recorded_at=int(document["recorded_at"]),
    )
