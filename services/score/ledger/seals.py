"""Seals: rows that make a chain with a gap whole. Pure.

A gap is left when rows were lost from under rows that follow them. It is closed by two rows, neither caused by an event:

- A *seal* takes the first missing revision and stands for all missing ones. It names them, the hash that the next row
  expects, who sealed the gap, and by how much the missing rows had changed the total; its totals are those before the next
  row.
- A *correction* at the end of the chain takes from the totals what the missing rows had added, so that a player has the sum
  of what is in the chain. If a lost event is counted again, its points come back with it.

Both are rows like any other: hashed, one per revision, with ids that make a repetition harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from services.boards.proofs.pseudonyms import is_pseudonym, pseudonym_of
from services.score.ledger.event_boards import period_ends, periods_of
from services.score.ledger.events import Change
from services.score.ledger.folds.fold import Fold, apply
from services.score.ledger.history import Counter, History
from services.score.ledger.rows import Row, content_hash, missing_revisions
from services.score.ledger.totals import (
    NO_QUIZ_TOTAL,
    NO_TOTAL,
    CounterTotals,
    PeriodTotals,
    Total,
    latest_change,
)
from services.streams import CHAIN_CORRECTED, CHAIN_SEALED

Digest = Callable[[str, str], bytes]
"""Returns the personal-data digest of actor and reason."""


class Seal(NamedTuple):
    """A sealed gap, for people. `delta` is what the missing rows had changed the total by."""

    user_id: str
    first: int
    last: int
    delta: int
    actor: str
    recorded_at: int


class UnsealableError(ValueError):
    """The chain is broken where no row can be added: two rows disagree although no revision is missing."""


def seal_of(row: Row) -> Seal:
    """Return what a seal says."""
    first, last = missing_revisions(row)
    return Seal(row.user_id, first, last, row.delta, row.change.actor if row.change else "", row.recorded_at)


def repairing_row(empty: Fold, rows: Sequence[Row], *, actor: str, digest: Digest, recorded_at: int) -> Row | None:
    """Return the next row that the whole chain of a player needs: a seal, then its correction; None if it is whole.

    Raises UnsealableError.
    """
    fold = empty
    uncorrected: dict[str, tuple[Fold, Row]] = {}
    author = _Author(actor, digest, recorded_at, any(is_pseudonym(row.user_id) for row in rows))
    for row in rows:
        if row.revision > fold.revision + 1:
            return _seal(fold, row, author)
        try:
            after = apply(fold, row)
        except ValueError as error:
            raise UnsealableError(str(error)) from None
        if row.kind == CHAIN_SEALED:
            uncorrected[row.event_id] = (fold, row)
        elif row.kind == CHAIN_CORRECTED and row.change is not None:
            uncorrected.pop(row.change.voids, None)
        fold = after
    for before, seal in uncorrected.values():
        return _correction(fold, before, seal, rows, author)
    return None


class _Author(NamedTuple):
    actor: str
    digest: Digest
    recorded_at: int
    is_erased: bool

    def change(self, reason: str, voids: str) -> Change:
        return Change(self.actor, reason, voids=voids, digest=self.digest(self.actor, reason))

    def user_id(self, fold: Fold) -> str:
        return pseudonym_of(fold.chain) if self.is_erased or fold.erased else fold.user_id


def _seal(fold: Fold, following: Row, author: _Author) -> Row:
    """Return the row for the revisions between the fold and the following row."""
    first, last = fold.revision + 1, following.revision - 1
    week, month = periods_of(following.at)
    # A late row was recorded after the end of a period in which it does not count.
    in_week, in_month = (not following.late or end > following.recorded_at for end in period_ends(following.at))
    changes_account = following.change is not None and following.change.version > 0
    moved = 0 if changes_account else following.delta
    total = _set(fold.total, following.old_total)
    delta = total.points - fold.total.points
    revisions = f"Revision {first} is" if first == last else f"Revisions {first} to {last} are"
    reason = f"{revisions} missing and had changed the total by {delta:+}."
    return _row(
        fold,
        f"seal-{fold.chain.hex()}-{first}",
        CHAIN_SEALED,
        delta,
        total,
        _before(following.weeks, week, moved if in_week else 0, fold.weeks),
        _before(following.months, month, moved if in_month else 0, fold.months),
        action_id=f"{first}-{last}",
        country=following.moved_from or following.country,
        hidden=fold.hidden if changes_account else following.hidden,
        at=following.at,
        recorded_at=author.recorded_at,
        change=author.change(reason, following.previous.hex()),
        user_id=author.user_id(fold),
    )


def _correction(fold: Fold, before: Fold, seal: Row, rows: Sequence[Row], author: _Author) -> Row:
    """Return the row that takes from the totals of `fold` what the seal added to those of `before`."""
    history = History(rows, is_all=True)
    first, last = missing_revisions(seal)
    total = Counter("all", "", history).corrected(fold.total, -seal.delta)
    weeks, months = dict(fold.weeks), dict(fold.months)
    for name, lost in _differences(before.weeks, seal.weeks).items():
        if name in weeks:
            weeks[name] = Counter("weekly", name, history).corrected(weeks[name], -lost)
    for name, lost in _differences(before.months, seal.months).items():
        if name in months:
            months[name] = Counter("monthly", name, history).corrected(months[name], -lost)
    revisions = f"revision {first}" if first == last else f"revisions {first} to {last}"
    reason = f"The total no longer has the {seal.delta:+} of the missing {revisions}."
    return _row(
        fold,
        f"correction-{fold.chain.hex()}-{first}",
        CHAIN_CORRECTED,
        -seal.delta,
        total,
        weeks,
        months,
        action_id=seal.action_id,
        country=fold.country,
        hidden=fold.hidden,
        at=seal.at,
        recorded_at=author.recorded_at,
        change=author.change(reason, seal.event_id),
        user_id=author.user_id(fold),
    )


def _row(
    fold: Fold,
    event_id: str,
    kind: str,
    delta: int,
    total: Total,
    weeks: PeriodTotals,
    months: PeriodTotals,
    *,
    action_id: str,
    country: str,
    hidden: bool,
    at: int,
    recorded_at: int,
    change: Change,
    user_id: str,
) -> Row:
    counters: CounterTotals = {}
    content = (
        event_id, fold.chain, fold.revision + 1, kind, delta, fold.total.points, total, weeks, months,
        "", NO_QUIZ_TOTAL, action_id, country, fold.country if fold.country != country else "", hidden, False,
        at, recorded_at, 0, 0, b"", change, 0, counters, (),
    )  # fmt: skip
    return Row(user_id, *content, fold.hash, content_hash(content, fold.hash))


def _before(after: PeriodTotals, name: str, delta: int, known: PeriodTotals) -> PeriodTotals:
    """Return the totals before a row that left `after` and changed period `name` by `delta`."""
    before = {each: total.points - (delta if each == name else 0) for each, total in after.items()}
    return {each: _set(known.get(each, NO_TOTAL), points) for each, points in before.items()}


def _set(total: Total, points: int) -> Total:
    """Return the total with other points; nobody knows when those were reached."""
    if points <= 0:
        return Total.changed(points, 0, latest_change(total))
    return Total((points, *total[1:]))


def _differences(before: PeriodTotals, after: PeriodTotals) -> Mapping[str, int]:
    """Return by how much the totals of these periods rose."""
    rises = {name: total.points - before.get(name, NO_TOTAL).points for name, total in after.items()}
    return {name: rise for name, rise in rises.items() if rise}
