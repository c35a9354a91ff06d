"""Facts that other parts of score marked when they stored them: new flags, and heads of closed boards.

The mark is set by the write that stores the fact, and removed after its deliveries are stored, so no fact is missed. Every
worker does this; concurrent steps are harmless.
"""

from __future__ import annotations

from typing import Final

from services.boards.periods.closed import ClosedBoard
from services.score.fairplay.flag_store import Flag, FlagStore
from services.score.ledger.times import time_of
from services.score.periods.head_store import HeadStore, StoredHead
from services.score.webhooks.announcer import Announcer
from services.score.webhooks.webhook import BOARD_CLOSED, PLAYER_FLAGGED, Fact, text_of

_PAGE: Final = 100


class MarkedFacts:
    """Announces marked facts, a step at a time."""

    def __init__(self, announcer: Announcer, flags: FlagStore, heads: HeadStore) -> None:
        self._announcer = announcer
        self._flags = flags
        self._heads = heads

    async def step(self) -> None:
        """Announce all marked facts. Raises store errors."""
        while flags := await self._flags.unannounced(_PAGE):
            await self._announcer.announce([_flagged(flag) for flag in flags])
            await self._flags.mark_announced([flag.flag_id for flag in flags])
        while heads := await self._heads.unannounced(_PAGE):
            facts: list[Fact] = []
            for head in heads:
                closed = await self._heads.closed_board(head.copy_id)
                if closed is not None:  # else it was resealed meanwhile, and the later head is announced
                    facts.append(_closed(closed, head))
            await self._announcer.announce(facts)
            await self._heads.mark_announced([head.head_id for head in heads])


def _flagged(flag: Flag) -> Fact:
    data = {
        "flagId": flag.flag_id,
        "userId": flag.user_id,
        "rule": flag.rule,
        "reason": flag.reason,
        "eventId": flag.event_id,
    }
    return Fact(flag.flag_id, PLAYER_FLAGGED, time_of(flag.at), data, user_id=flag.user_id)


def _closed(closed: ClosedBoard, head: StoredHead) -> Fact:
    data = {
        "board": closed.name,
        "endsAt": text_of(closed.ends_at),
        "closedAt": text_of(closed.closed_at),
        "players": closed.players,
        "generation": head.generation,
        "head": head.text,
    }
    # The board may have waited for its head, so the fact is as old as the head.
    at = head.head_id.generation_time
    return Fact(str(head.head_id), BOARD_CLOSED, at, data, series=closed.series)
