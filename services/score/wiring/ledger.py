"""Builds the ledger: rows, folds, the state that workers agree on, and the notices that players have seen."""

from __future__ import annotations

from dataclasses import dataclass

from services.runtime.process.lifecycle import wait_for
from services.runtime.stores.mongo import long_operation
from services.score.config import ScoreConfig
from services.score.coordination_store import CoordinationStore
from services.score.errors import OtherSaltError
from services.score.ledger.folds.cache import FoldCache
from services.score.ledger.folds.write_behind import WriteBehind
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.store import ScoreStore
from services.score.notices.seen_store import SeenStore
from services.score.wiring.connections import Stores


@dataclass(frozen=True)
class Ledger:
    """Rows, folds, the state that workers agree on, and the notices that players have seen."""

    coordination: CoordinationStore
    digests: PersonalDataDigests
    store: ScoreStore
    folds: FoldCache
    write_behind: WriteBehind
    seen: SeenStore


async def build_ledger(config: ScoreConfig, stores: Stores) -> Ledger:
    """Build what stores rows and folds."""
    coordination = CoordinationStore(stores.mongo.database)
    digests = PersonalDataDigests(await wait_for("restore", coordination.salt, retry_on=OtherSaltError))
    await coordination.prepare()
    store = ScoreStore(stores.mongo.database, digests)
    with long_operation():
        await store.prepare(config.audit_ttl)
    folds = FoldCache(
        store,
        coordination,
        stores.incarnation,
        stores.worker_id,
        limit=config.cached_players,
        now=stores.mongo.clock.milliseconds,
    )
    write_behind = WriteBehind(folds, config.fold_interval)
    return Ledger(coordination, digests, store, folds, write_behind, SeenStore(stores.mongo.database, digests))
