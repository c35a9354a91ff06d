"""Publishes `score.events`, which tells subscribers that boards have changed.

A notification, sent after the boards are written and before the event is acknowledged. A subscriber that misses one reads
the boards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from redis.asyncio import Redis
from topten.score.v1 import score_events_pb2

from services.runtime.int32 import int32
from services.runtime.telemetry import tracing
from services.score.ledger.events import Event
from services.score.projection.standings import Standing
from services.streams import SCORE_CHANNEL, SCORE_UPDATED


class ScoreUpdate(NamedTuple):
    """An event that is in the ledger, the total after it, and the player's standings as written to the boards."""

    event: Event
    revision: int
    total: int
    country: str
    standings: Iterable[Standing]


class ScorePublisher:
    """Publishes over Redis Pub/Sub. The driver's errors are not translated."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def publish(self, updates: Sequence[ScoreUpdate]) -> None:
        """Publish all updates as one message."""
        if updates:
            await self._redis.publish(SCORE_CHANNEL, encode_batch(updates, tracing.carried()))


def score_updated_event(update: ScoreUpdate) -> score_events_pb2.ScoreUpdatedEvent:
    """Return the message of one update."""
    event = update.event
    message = score_events_pb2.ScoreUpdatedEvent(event_id=event.event_id, event_type=SCORE_UPDATED)
    payload = message.payload
    payload.user_id = event.user_id
    payload.new_total_score = int32(update.total)
    payload.timestamp.seconds, milliseconds = divmod(event.at, 1000)
    payload.timestamp.nanos = milliseconds * 1_000_000
    payload.revision = update.revision
    payload.country = update.country
    payload.cause = event.kind
    add = payload.standings.add
    for board, _, points, value, _, lowered, _ in update.standings:
        entry = add()  # fields one by one, in two thirds of the time that arguments take
        entry.board = board.name
        entry.points = points
        entry.value = value
        if lowered:
            entry.lowered = True
    return message


def encode_batch(updates: Iterable[ScoreUpdate], traceparents: Iterable[str] = ()) -> bytes:
    """Return a message with the updates in the order they were counted, and the traces they belong to."""
    message = score_events_pb2.ScoreUpdatedBatch(events=map(score_updated_event, updates), traceparents=traceparents)
    return message.SerializeToString(deterministic=True)
