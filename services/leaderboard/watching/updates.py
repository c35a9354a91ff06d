"""Score updates from Redis Pub/Sub, passed on to the watches they concern.

A message is a hint: whenever the subscription is opened again every watched board is read, because messages sent in
between are lost. A connection that stays silent, even when it is pinged, is given up.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter
from redis.asyncio import Redis
from topten.score.v1 import score_events_pb2

from services.boards.board import UNTIL_FREEZE
from services.leaderboard.reading.names import Names
from services.leaderboard.watching.player_ranks import PlayerRanks
from services.leaderboard.watching.watches import Watches
from services.runtime.process.periodic import Periodic
from services.runtime.stores.channel import SILENCE, Channel
from services.streams import COUNTRY_CHANGED, PLAYER_ERASED, PROFILE_CHANGED, SCORE_CHANNEL

_CHANGE_NAMES: Final = frozenset({COUNTRY_CHANGED, PROFILE_CHANGED, PLAYER_ERASED})

subscriptions = Counter("topten_leaderboard_subscriptions_total", "Subscriptions to score.events that were opened")
_log = structlog.get_logger("updates")


class Updates:
    """The subscription. A connection that is silent for `silence` is pinged, and given up after twice that."""

    def __init__(
        self, redis: Redis, watches: Watches, ranks: PlayerRanks, names: Names, *, silence: timedelta = SILENCE
    ) -> None:
        self._watches = watches
        self._ranks = ranks
        self._names = names
        self._channel = Channel(redis, SCORE_CHANNEL, opened=self._opened, received=self._pass_on, silence=silence)

    def server(self) -> Periodic:
        """Return the server that subscribes again whenever a subscription ends."""
        return self._channel.server()

    def mark_all(self) -> None:
        """Record that changes may have been missed: whatever is watched is read."""
        self._watches.mark_all()
        self._ranks.mark_all()

    def _opened(self) -> None:
        subscriptions.inc()
        self.mark_all()

    def _pass_on(self, data: bytes) -> None:
        try:
            batch = score_events_pb2.ScoreUpdatedBatch.FromString(data)
        except DecodeError:
            _log.warning("unreadable score message", size=len(data))
            self.mark_all()
            return
        for event in batch.events:
            payload = event.payload
            if payload.cause in _CHANGE_NAMES:
                self._names.forget(payload.user_id)
            for standing in payload.standings:
                board = standing.board.replace(UNTIL_FREEZE, "", 1)
                self._watches.notice(
                    board, payload.user_id, standing.value, lowered=standing.lowered, causes=batch.traceparents
                )
                self._ranks.notice(board, payload.user_id)
