"""For writers of boards without a ledger: boards show no metadata of any player."""

from __future__ import annotations

from collections.abc import Iterable

from services.score.projection.shown_metadata import Shown
from services.score.projection.standings import Standing


async def no_metadata(_standings: Iterable[Standing]) -> Shown:
    """Return no metadata."""
    return {}
