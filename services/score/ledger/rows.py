"""Rows of the ledger and the hash chain that binds a player's rows. Pure.

A row records what one event did: its place in the player's chain (revisions 1, 2, 3, …), the totals after it, and the hash
of the row before it. Times are milliseconds since 1970, UTC.

No hashed field names a person. A chain is identified by a digest of the user id, and personal data (where an action came
from, who changed something and why) is hashed as a digest; both are salted (see `personal_data_digests`). Personal data
can therefore be removed from rows while the chain stays valid to its last hash.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import orjson

from services.score.ledger.events import Change
from services.score.ledger.totals import CounterTotals, PeriodTotals, QuizTotal, Total, stored
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
_FIELDS_OF_COUNTERS = 2


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


def content_hash(content: tuple[object, ...], previous: bytes) -> bytes:
    """Return the hash of a row's fields from `event_id` to `tags`."""
    content, tags = content[:-1], content[-1]
    if not content[-_FIELDS_OF_COUNTERS]:
        content = content[:-_FIELDS_OF_COUNTERS]
    if tags:
        content = (*content, tags)
    canonical = orjson.dumps(content, _plain, orjson.OPT_SORT_KEYS)
    return hashlib.sha256(previous + canonical).digest()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Change):
        type_of_action = (value.action_type_id,) if value.action_type_id else ()
        return (*value[2:6], *type_of_action, *((True,) if value.shows_metadata else ()))
    return stored(value)  # type: ignore[arg-type]  # the rest are totals
