"""Where an event is: counted, set aside, or not heard of yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from services.score.available import available

if TYPE_CHECKING:
    from services.score.dead_letters import DeadLetters
    from services.score.store import ScoreStore


class Location(NamedTuple):
    """One event: `counted` has the player and the delta of its row; else it may be among the dead letters."""

    event_id: str
    counted: tuple[str, int] | None
    is_dead: bool


class Locator:
    """Reads the ledger and the dead letters."""

    def __init__(self, store: ScoreStore, letters: DeadLetters) -> None:
        self._store = store
        self._letters = letters

    async def locate(self, event_ids: Sequence[str]) -> list[Location]:
        """Where each event is, in the order given. Raises UNAVAILABLE."""
        async with available():
            counted = await self._store.deltas(event_ids)
            dead = await self._letters.existing([event_id for event_id in event_ids if event_id not in counted])
        return [Location(event_id, counted.get(event_id), event_id in dead) for event_id in event_ids]
