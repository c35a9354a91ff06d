"""Builds the projection: what writes boards, rebuilds them, and notices that they are lost."""

from __future__ import annotations

from dataclasses import dataclass

from services.boards.periods import closed as closed_periods
from services.runtime.process.periodic import Periodic
from services.score.config import ScoreConfig
from services.score.definitions.store import DefinitionStore
from services.score.errors import STORE_ERRORS, BoardsLostError, ReplacedDataError
from services.score.projection.board_building import BoardBuilder
from services.score.projection.board_writer import BoardWriter
from services.score.projection.loss_detection import LossDetector
from services.score.projection.rebuild import Rebuild
from services.score.projection.shown_metadata import ShownMetadata
from services.score.projection.standings import Placement
from services.score.wiring.connections import Stores
from services.score.wiring.ledger import Ledger


@dataclass(frozen=True)
class Projection:
    """Boards: placement, writes, rebuilds and loss detection."""

    placement: Placement
    writer: BoardWriter
    loss_detector: LossDetector
    definitions: DefinitionStore
    building: Periodic


def build_projection(config: ScoreConfig, stores: Stores, ledger: Ledger) -> Projection:
    """Build what writes boards."""
    redis, coordination, retention = stores.redis, ledger.coordination, config.period_retention
    placement = Placement(config.boards.catalog)
    definitions = DefinitionStore(stores.mongo.client[f"{config.mongo.database}_{closed_periods.DATABASE}"])
    writer = BoardWriter(
        redis,
        placement,
        ShownMetadata(ledger.store.shown_rows, placement).of,
        fence_ttl=config.fence_ttl,
        period_retention=retention,
        now=stores.mongo.clock.now,
    )
    rebuild = Rebuild(
        redis,
        ledger.store,
        ledger.folds,
        coordination,
        writer,
        placement,
        period_retention=retention,
        now=stores.mongo.clock.now,
    )
    detector = LossDetector(
        redis, coordination, stores.incarnation, rebuild, placement, definitions, stores.worker_id, config.heartbeat
    )
    builder = BoardBuilder(
        redis,
        ledger.store,
        ledger.folds,
        coordination,
        definitions,
        writer,
        placement,
        stores.worker_id,
        now=stores.mongo.clock.milliseconds,
    )
    retry_on = (*STORE_ERRORS, BoardsLostError, ReplacedDataError)
    building = Periodic("building", builder.step, every=config.heartbeat, at_rest=15, retry_on=retry_on)
    return Projection(placement, writer, detector, definitions, building)
