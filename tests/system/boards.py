"""Boards written as the score service writes them, by its own writer and publisher, without a ledger behind them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from services.runtime.boards import GENERATION_KEY, Board, encode
from services.runtime.catalog import Catalog
from services.runtime.clock import utc_now
from services.runtime.redis_client import is_cluster
from services.score.board_writer import BoardWriter, by_board
from services.score.events import Counted
from services.score.ledger import Event
from services.score.publisher import ScorePublisher
from services.score.standings import Placing, Standing, milliseconds_of

EVENT = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Pen:
    """Writes standings to boards and tells of them. `generation` is what the boards are complete of."""

    def __init__(self, redis: Redis) -> None:
        self.generation = 0
        self._redis = redis
        self._writer = BoardWriter(
            redis, Placing(Catalog()), fence_ttl=timedelta(hours=1), period_retention=timedelta(days=35), now=utc_now
        )
        self._publisher = ScorePublisher(redis)
        self._revision = 0

    async def complete(self, generation: int) -> None:
        """The boards are those of `generation`, and whole."""
        self.generation = generation
        await self._redis.set(GENERATION_KEY, generation)

    async def withdraw(self) -> None:
        """The boards can't be trusted any more."""
        await self._redis.delete(GENERATION_KEY)

    async def score(
        self,
        players: dict[str, int],
        boards: Iterable[str] = ("all",),
        *,
        at: datetime = EVENT,
        lowered: bool = False,
        told: bool = True,
    ) -> None:
        """Each player has these points on each of the boards from now on; 0 takes him off, if `lowered`."""
        counted = []
        for user_id, points in players.items():
            self._revision += 1
            standings = [
                Standing(board, user_id, points, encode(points, at, board) if points else 0.0, self._revision, lowered)
                for board in (Board.parse(text, at) for text in boards)
            ]
            event = Event(f"event-{self._revision}", user_id, "", points, milliseconds_of(at), "", 0, 0)
            counted.append(Counted(event, self._revision, points, "VN", standings))
        seconds, microseconds = await self._redis.time()
        await self._writer.write(
            by_board(standing for event in counted for standing in event.standings),
            begun_at=int(seconds) * 1000 + int(microseconds) // 1000,
            generation=self.generation,
        )
        if told:
            await self._publisher.publish(counted)


async def drop_subscriptions(redis: Redis) -> None:
    """Ends the connection of everybody who listens, on whatever server."""
    client: Any = redis
    everywhere = {"target_nodes": "primaries"} if is_cluster(redis) else {}
    await client.client_kill_filter(_type="pubsub", **everywhere)
