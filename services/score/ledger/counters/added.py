"""Rows that give a player the counters of boards which were defined after their first row. Pure.

Such a row has every counter in force, as all rows of the chain say, so everything about the player still follows from their
rows. It is the next revision: if another event is counted meanwhile, its insert fails and it has to be made again.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.boards.proofs.pseudonyms import pseudonym_of
from services.score.ledger.counters.numbered import Counters
from services.score.ledger.counters.totals import totals_of
from services.score.ledger.folds.fold import Fold
from services.score.ledger.rows import Row, content_hash
from services.score.ledger.totals import NO_QUIZ_TOTAL, CounterTotals, newest
from services.streams import COUNTERS_ADDED


def lacks_counters(fold: Fold, counters: Counters) -> bool:
    """Whether a player needs such a row. One without rows does not: their first row has all counters."""
    return bool(fold.revision) and fold.complete_through < counters.known


def counters_added(fold: Fold, rows: Sequence[Row], counters: Counters, recorded_at: int) -> Row:
    """Return the row that completes `fold`, which all of the player's `rows` led to."""
    totals: CounterTotals = {counter.key: periods for counter in counters.all if (periods := totals_of(counter, rows))}
    content = (
        f"counters-{fold.chain.hex()}-{fold.revision + 1}", fold.chain, fold.revision + 1, COUNTERS_ADDED, 0,
        fold.total.points, fold.total, newest(fold.weeks), newest(fold.months), "", NO_QUIZ_TOTAL, "", fold.country, "",
        fold.hidden, False, recorded_at, recorded_at, 0, 0, b"", None, counters.known, totals, (),
    )  # fmt: skip
    user_id = pseudonym_of(fold.chain) if fold.erased else fold.user_id
    return Row(user_id, *content, fold.hash, content_hash(content, fold.hash))
