"""Turns facts into deliveries, each once. Facts may be announced by any worker, repeatedly and in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from services.score.ledger.events import Event
from services.score.ledger.times import time_of
from services.score.webhooks.backoff import GIVE_UP_AFTER
from services.score.webhooks.delivery_store import Delivery, DeliveryStore
from services.score.webhooks.webhook import PLAYER_BLOCKED, Fact, Webhook, body_of, delivery_id_of, wants
from services.score.webhooks.webhook_store import WebhookStore
from services.streams import PLAYER_BLOCKED as BLOCKED_EVENT


class Announcer:
    """Stores the deliveries of facts. The driver's errors are not translated."""

    def __init__(self, webhooks: WebhookStore, deliveries: DeliveryStore, *, now: Callable[[], datetime]) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._now = now

    async def announce(self, facts: Sequence[Fact]) -> int:
        """Store a delivery of each fact for each webhook that wants it, and return how many are new. Idempotent."""
        if not facts:
            return 0
        webhooks = await self._webhooks.of_kinds({fact.kind for fact in facts})
        now = self._now()
        deliveries = [
            _delivery(webhook, fact, now) for webhook in webhooks for fact in facts if wants(webhook, fact, now)
        ]
        return await self._deliveries.add(deliveries)

    async def announce_blocks(self, events: Iterable[Event]) -> None:
        """Announce the blocks among counted events. Called before the events are acknowledged, so that none is missed."""
        await self.announce([_blocked(event) for event in events if event.kind == BLOCKED_EVENT])


def _delivery(webhook: Webhook, fact: Fact, now: datetime) -> Delivery:
    return Delivery(
        delivery_id=delivery_id_of(webhook, fact),
        webhook_id=webhook.webhook_id,
        kind=fact.kind,
        user_id=fact.user_id,
        body=body_of(webhook, fact),
        created_at=now,
        next_at=now,
        give_up_at=now + GIVE_UP_AFTER,
    )


def _blocked(event: Event) -> Fact:
    data = {"eventId": event.event_id, "userId": event.user_id}
    return Fact(event.event_id, PLAYER_BLOCKED, time_of(event.at), data, user_id=event.user_id)
