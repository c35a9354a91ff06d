"""Boards without a ledger: seeded by the writer and publisher of score, read by the reader of leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.encoding import encode
from services.leaderboard.reading.archive import Archive
from services.leaderboard.reading.boards import Boards
from services.leaderboard.reading.rosters import Roster, Rosters
from services.runtime.clock import milliseconds_of, utc_now
from services.runtime.stores.redis import is_cluster
from services.score.ledger.events import Event
from services.score.projection.board_writer import BoardWriter, by_board
from services.score.projection.publisher import ScorePublisher, ScoreUpdate
from services.score.projection.rebuild import server_time
from services.score.projection.standings import Placement, Standing
from tests.deadline import deadline_seconds
from tests.no_metadata import no_metadata

EVENT = datetime(2026, 11, 23, 12, tzinfo=UTC)


class BoardSeeder:
    """Writes standings to boards and publishes the updates. `generation` is the one in force."""

    def __init__(self, redis: Redis) -> None:
        self.generation = 0
        self._redis = redis
        self._writer = BoardWriter(
            redis,
            Placement(Catalog()),
            no_metadata,
            fence_ttl=timedelta(hours=1),
            period_retention=timedelta(days=35),
            now=utc_now,
        )
        self._publisher = ScorePublisher(redis)
        self._revision = 0

    async def complete(self, generation: int) -> None:
        """Declare the boards of `generation` complete."""
        self.generation = generation
        await self._redis.set(GENERATION_KEY, generation)

    async def withdraw(self) -> None:
        """Withdraw the boards, as loss detection does."""
        await self._redis.delete(GENERATION_KEY)

    async def score(
        self,
        players: dict[str, int],
        boards: Iterable[str] = ("all",),
        *,
        at: datetime = EVENT,
        lowered: bool = False,
        publish: bool = True,
    ) -> None:
        """Give each player these points on each of the boards; 0 with `lowered` removes them."""
        updates = []
        for user_id, points in players.items():
            self._revision += 1
            standings = [
                Standing(board, user_id, points, encode(points, at) if points else 0.0, self._revision, lowered)
                for board in (Board.parse(name, at) for name in boards)
            ]
            event = Event(f"event-{self._revision}", user_id, "", points, milliseconds_of(at), "", 0, 0)
            updates.append(ScoreUpdate(event, self._revision, points, "VN", standings))
        await self._writer.write(
            by_board(standing for update in updates for standing in update.standings),
            started_at=await server_time(self._redis),
            generation=self.generation,
        )
        if publish:
            await self._publisher.publish(updates)


def reader(
    redis: Redis,
    database: AsyncDatabase[dict[str, Any]],
    *,
    timeout: timedelta | None = None,
    catalog: Catalog | None = None,
    now: Callable[[], datetime] = utc_now,
    rosters: Rosters | None = None,
) -> Boards:
    """Return a reader of boards that is configured for one key a board; `timeout` is the suite's deadline by default."""
    timeout = timeout or timedelta(seconds=deadline_seconds())
    archive = Archive(database, timeout=timeout)
    return Boards(
        redis,
        archive,
        catalog or Catalog(),
        rosters or FixedRosters(),
        sees_team_of=lambda _: True,
        timeout=timeout,
        now=now,
    )


class FixedRosters(Rosters):
    """Who is on boards of groups, by name, as a test sets it."""

    def __init__(self, rosters: Mapping[str, Roster] | None = None) -> None:
        self.rosters = dict(rosters or {})

    async def of(self, definition: Definition) -> Roster:
        """Return the roster that was set."""
        return self.rosters[definition.name]


async def no_group(_group_id: str) -> bool:
    """Tell that no group of players exists."""
    return False


async def drop_subscriptions(redis: Redis) -> None:
    """Close the connection of every subscriber, on every server."""
    client: Any = redis
    nodes = {"target_nodes": "primaries"} if is_cluster(redis) else {}
    await client.client_kill_filter(_type="pubsub", **nodes)
