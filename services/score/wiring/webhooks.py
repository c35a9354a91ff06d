"""Builds webhooks: their use cases, and the loops that announce facts and send deliveries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.boards.catalog import Catalog
from services.runtime.process.lifecycle import Server
from services.runtime.process.periodic import Periodic
from services.runtime.stores.mongo import long_operation
from services.score.config import ScoreConfig
from services.score.errors import STORE_ERRORS
from services.score.fairplay.flag_store import FlagStore
from services.score.periods.head_store import HeadStore
from services.score.webhooks.announcer import Announcer
from services.score.webhooks.delivery_store import DeliveryStore
from services.score.webhooks.marked_facts import MarkedFacts
from services.score.webhooks.sender import DeliverySender
from services.score.webhooks.service import Webhooks
from services.score.webhooks.top_store import TopStore
from services.score.webhooks.tops import TopWatcher
from services.score.webhooks.webhook_store import WebhookStore
from services.score.wiring.connections import Stores, Upstreams
from services.score.wiring.ledger import Ledger

EVERY: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class WebhookStores:
    """Webhooks, their deliveries, and what turns facts into deliveries."""

    webhooks: WebhookStore
    deliveries: DeliveryStore
    tops: TopStore
    announcer: Announcer

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        with long_operation():
            await self.webhooks.prepare()
            await self.deliveries.prepare()


async def build_webhook_stores(stores: Stores) -> WebhookStores:
    """Build what stores webhooks and deliveries."""
    webhooks, deliveries = WebhookStore(stores.mongo.database), DeliveryStore(stores.mongo.database)
    tops = TopStore(stores.mongo.database)
    built = WebhookStores(webhooks, deliveries, tops, Announcer(webhooks, deliveries, now=stores.mongo.clock.now))
    await built.prepare()
    return built


def build_webhooks(
    config: ScoreConfig, stores: Stores, built: WebhookStores, catalog: Callable[[], Catalog]
) -> Webhooks:
    """Build the use cases."""
    return Webhooks(
        built.webhooks,
        built.deliveries,
        catalog,
        trusted=frozenset(config.webhook_trusted_hosts),
        now=stores.mongo.clock.now,
    )


def build_webhook_servers(
    config: ScoreConfig,
    stores: Stores,
    ledger: Ledger,
    built: WebhookStores,
    flags: FlagStore,
    heads: HeadStore,
    upstreams: Upstreams,
) -> Sequence[Server]:
    """Build the loops that announce facts and send deliveries."""
    facts = MarkedFacts(built.announcer, flags, heads)
    trusted = frozenset(config.webhook_trusted_hosts)
    sender = DeliverySender(built.webhooks, built.deliveries, trusted=trusted, now=stores.mongo.clock.now)
    tops = TopWatcher(
        built.webhooks,
        built.tops,
        built.announcer,
        ledger.coordination,
        upstreams.leaderboard,
        stores.token,
        stores.worker_id,
    )
    return (
        Periodic("facts", facts.step, every=EVERY, at_rest=15, retry_on=STORE_ERRORS),
        tops,
        Periodic("deliveries", sender.step, every=EVERY, at_rest=15, retry_on=STORE_ERRORS),
    )
