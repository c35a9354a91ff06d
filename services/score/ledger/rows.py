"""Rows of the ledger and the hash chain that binds a player's rows. Pure.

A row records what one event did: its place in the player's chain (revisions 1, 2, 3, …), the totals after it, and the hash
of the row before it. Times are milliseconds since 1970, UTC.

No hashed field names a person. A chain is identified by a digest of the user id, and personal data (where an action came
from, who changed something and why) is hashed as a digest; both are salted (see `personal_data_digests`). Personal data
can therefore be removed from rows while the chain stays valid to its last hash.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import orjson

from services.score.ledger.events import Change
from services.score.ledger.totals import CounterTotals, PeriodTotals, QuizTotal, Total
from services.streams import (
    ACTION_REJUDGED,
    ACTION_VOIDED,
    CHAIN_CORRECTED,
    CHAIN_SEALED,
    COUNTERS_ADDED,
    SCORE_ADJUSTED,
)

GENESIS = bytes(32)
# Rows that a repair writes.
CORRECTING_KINDS = frozenset({CHAIN_SEALED, CHAIN_CORRECTED})
# Rows that no event causes.
EVENTLESS_KINDS = CORRECTING_KINDS | {COUNTERS_ADDED}
# Rows of changes by others than the player.
AMENDING_KINDS = frozenset({ACTION_VOIDED, ACTION_REJUDGED, SCORE_ADJUSTED})


class Row(NamedTuple):
    """One entry of a player's chain; `event_id` is its id in the store. Weeks and months are the newest two.

    A tuple and not a dataclass: one is made for every event, and a frozen dataclass takes five times as long. The fields
    are hashed in this order; the first, the user id, is not hashed. `late` means that the event did not count in its
    week or its month, because that was closed or older than the newest two.

    `counters_known` is the highest number of a counter that the writer knew, 0 before the first. `counters` are the totals
    after the row of those numbered counters that it changed, of the period that it changed; a counter without a period is
    one that did not count the event, because that period is closed or too old. `tags` are those under which the event counts.
    """

    user_id: str
    event_id: str
    chain: bytes
    revision: int
    kind: str
    delta: int
    old_total: int
    total: Total
    weeks: PeriodTotals
    months: PeriodTotals
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
    counters_known: int
    counters: CounterTotals
    tags: tuple[str, ...]
    previous: bytes
    hash: bytes


# Places in what is hashed of a row, which starts after the user id.
_CHAIN, _CLIENT, _CHANGE, _COUNTERS_KNOWN, _COUNTERS, _TAGS = (
    Row._fields.index(name) - 1 for name in ("chain", "client", "change", "counters_known", "counters", "tags")
)


def missing_revisions(seal: Row) -> tuple[int, int]:
    """Return the first and the last revision that a seal stands for."""
    first, _, last = seal.action_id.partition("-")
    return int(first), int(last)


def row_hash(row: Row) -> bytes:
    """Return the hash that a row must carry: SHA-256 of the previous hash and the canonical form of the hashed fields.

    The canonical form is a JSON array of the fields in their order, with sorted keys and bytes in hexadecimal; a change
    contributes its digest in place of its texts, its action type if it has one, and that it shows metadata if it does. The
    fields of counters are left out of a row from before the first, and tags of a row without any.
    """
    return content_hash(row[1:-2], row.previous)


def content_hash(content: tuple[Any, ...], previous: bytes) -> bytes:
    """Return the hash of a row's fields from `event_id` to `tags`."""
    fields = list(content)
    fields[_CHAIN] = fields[_CHAIN].hex()
    fields[_CLIENT] = fields[_CLIENT].hex()
    if fields[_CHANGE] is not None:
        fields[_CHANGE] = _hashed(fields[_CHANGE])
    if not fields[_TAGS]:
        del fields[_TAGS]
    if not fields[_COUNTERS_KNOWN]:
        del fields[_COUNTERS_KNOWN : _COUNTERS + 1]
    canonical = orjson.dumps(fields, tuple, orjson.OPT_SORT_KEYS)  # what it does not know are totals
    return hashlib.sha256(previous + canonical).digest()


def _hashed(change: Change) -> tuple[object, ...]:
    """Return the fields of a change that are hashed."""
    type_of_action = (change.action_type_id,) if change.action_type_id else ()
    shows_metadata = (True,) if change.shows_metadata else ()
    return (change.version, change.blocked, change.voids, change.digest.hex(), *type_of_action, *shows_metadata)
