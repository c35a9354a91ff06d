"""Builds fair play: flags, and the monitor that raises them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from services.runtime.stores.mongo import long_operation
from services.score.config import ScoreConfig
from services.score.fairplay.flag_store import FlagStore
from services.score.fairplay.monitor import Blocker, FairPlayMonitor
from services.score.fairplay.rules import Limits
from services.score.wiring.connections import Stores, Upstreams

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class FairPlay:
    """Flags and the monitor that raises them."""

    flags: FlagStore
    monitor: FairPlayMonitor


async def build_fair_play(config: ScoreConfig, stores: Stores, upstreams: Upstreams) -> FairPlay:
    """Build what judges counted events."""
    flags = FlagStore(stores.mongo.database)
    with long_operation():
        await flags.prepare()
    blocker = Blocker(upstreams.identity, stores.token, config.auto_block_for)
    limits = Limits(config.rule_points, config.rule_actions, round(config.rule_question_time / MILLISECOND))
    return FairPlay(flags, FairPlayMonitor(flags, blocker, limits=limits, blocking=config.auto_block))
