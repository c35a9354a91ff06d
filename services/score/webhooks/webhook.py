"""Webhooks, facts, and which fact is delivered where. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from services.runtime.auth.access import ADMIN, MODERATOR

BOARD_CLOSED: Final = "board.closed"
ENTERED_TOP: Final = "rank.entered_top"
PASSED: Final = "rank.passed"
PLAYER_FLAGGED: Final = "player.flagged"
PLAYER_BLOCKED: Final = "player.blocked"
# Who may subscribe to a kind: those who may read the same by other methods.
READERS: Final[Mapping[str, frozenset[str]]] = {
    BOARD_CLOSED: frozenset({"leaderboard:read"}) | ADMIN,
    ENTERED_TOP: frozenset({"leaderboard:read"}) | ADMIN,
    PASSED: frozenset({"leaderboard:read"}) | ADMIN,
    PLAYER_FLAGGED: frozenset({"score:read"}) | MODERATOR | ADMIN,
    PLAYER_BLOCKED: frozenset({"account:read"}) | MODERATOR | ADMIN,
}
# The kinds that are found by watching the tops of boards.
OF_TOPS: Final = frozenset({ENTERED_TOP, PASSED})
MAX_TOP: Final = 10
# Older facts are not announced: their deliveries may be deleted already, and would be made a second time.
MAX_AGE: Final = timedelta(days=7)
_WEBHOOKS: Final = uuid.UUID("5d0c2a0f-8f3c-4a37-9c0b-3b0b6f1e8a51")


@dataclass(frozen=True, slots=True)
class Webhook:
    """A registered address. `boards` are series such as `weekly`; empty is every board.

    The previous secret signs as well until `previous_until`.
    """

    webhook_id: str
    owner: str
    name: str
    url: str
    kinds: frozenset[str]
    boards: frozenset[str]
    top: int
    created_at: datetime
    secret: str
    rotated_at: datetime | None = None
    previous_secret: str = ""
    previous_until: datetime | None = None

    def secrets(self, now: datetime) -> tuple[str, ...]:
        """Return the secrets that sign at `now`, the current one first."""
        if self.previous_until is None or now >= self.previous_until:
            return (self.secret,)
        return (self.secret, self.previous_secret)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened at `at`. `fact_id` is the same however often it is seen.

    `user_id` is the player it is about, `series` the board without its period; empty where it has none. A player moved
    from `former_rank` to `rank`; both are 0 for other kinds.
    """

    fact_id: str
    kind: str
    at: datetime
    data: Mapping[str, Any]
    user_id: str = ""
    series: str = ""
    rank: int = 0
    former_rank: int = 0


def webhook_id_of(owner: str, name: str) -> str:
    """Return the id of an owner's webhook."""
    return str(uuid.uuid5(_WEBHOOKS, f"{owner}\n{name}"))


def delivery_id_of(webhook: Webhook, fact: Fact) -> str:
    """Return the id of the delivery of a fact. A webhook that is deleted and registered again gets other ids."""
    return str(
        uuid.uuid5(uuid.UUID(webhook.webhook_id), f"{webhook.created_at.isoformat()}\n{fact.kind}\n{fact.fact_id}")
    )


def wants(webhook: Webhook, fact: Fact, now: datetime) -> bool:
    """Return whether a fact is delivered to a webhook."""
    if fact.kind not in webhook.kinds or fact.at < max(webhook.created_at, now - MAX_AGE):
        return False
    if fact.series and webhook.boards and fact.series not in webhook.boards:
        return False
    if fact.kind == PASSED:
        return fact.former_rank <= webhook.top
    return fact.kind != ENTERED_TOP or fact.rank <= webhook.top < fact.former_rank


def watched_series(webhooks: Iterable[Webhook]) -> frozenset[str]:
    """Return the boards whose top webhooks want to know of."""
    return frozenset().union(*(each.boards for each in webhooks if not OF_TOPS.isdisjoint(each.kinds)))


def body_of(webhook: Webhook, fact: Fact) -> str:
    """Return the body of a delivery, the JSON object that the receiver verifies byte by byte."""
    data = {**fact.data, "top": webhook.top} if fact.kind == ENTERED_TOP else fact.data
    return orjson.dumps({"type": fact.kind, "timestamp": text_of(fact.at), "data": data}).decode()


def text_of(at: datetime) -> str:
    """Return a time as proto3 JSON has it: `2026-11-30T00:00:00.000Z`."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
