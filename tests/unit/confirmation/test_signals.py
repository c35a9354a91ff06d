"""Signals that events are counted: none is missed, none is waited for longer than the caller has time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from services.confirmation.signals import CountedSignals
from services.runtime.config.settings import RedisConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.redis import open_redis
from services.score.ledger.events import Event
from services.score.projection.publisher import ScorePublisher, ScoreUpdate
from services.streams import SCORE_CHANNEL
from tests.deadline import deadline, deadline_seconds
from tests.servers import running
from tests.system.boards.seeded import drop_subscriptions

ENOUGH = deadline_seconds()


class Score:
    """Publishes signals as score does, also for events that are published again. `lost` signals are not sent."""

    def __init__(self, redis: Redis) -> None:
        self.lost: set[str] = set()
        self.again: list[str] = []
        self._publisher = ScorePublisher(redis)

    async def count(self, *events: tuple[str, str, int]) -> None:
        """Signal events, each as id, player and the total after it."""
        await self._publisher.publish(
            [
                ScoreUpdate(Event(event_id, user_id, "q", 1, 0, "", 1, 1), 1, total, "", ())
                for event_id, user_id, total in events
                if event_id not in self.lost
            ]
        )

    async def publish_again(self, event_ids: Collection[str]) -> None:
        self.again += event_ids
        self.lost.difference_update(event_ids)
        await self.count(*((event_id, "ada", 7) for event_id in event_ids))


@pytest.fixture(scope="module")
async def redis() -> AsyncIterator[Redis]:
    async with running("redis") as server, open_redis(RedisConfig(url=server.url), "test") as client:
        yield client


@asynccontextmanager
async def listening_signals(redis: Redis, **bounds: int) -> AsyncIterator[CountedSignals]:
    """Signals whose subscription is open."""
    signals = CountedSignals(redis, **bounds)
    server = signals.server()
    await server.start()
    async with deadline("the subscription is open"):
        while not (await redis.pubsub_numsub(SCORE_CHANNEL))[0][1]:
            await asyncio.sleep(0.01)
    yield signals
    await server.stop()


async def test_signal_that_came_before_the_wait_is_heard(redis: Redis) -> None:
    score = Score(redis)
    async with listening_signals(redis) as signals:
        with signals.listening(["ada", "ben"]) as listener, signals.listening(["ada"]) as other:
            await score.count(("e1", "ada", 5), ("e2", "ben", 9), ("e3", "eve", 1))
            heard = await listener.totals(["e1", "e2"], score.publish_again, seconds=ENOUGH)
            assert heard == {"e1": 5, "e2": 9}
            assert await other.totals(["e1"], score.publish_again, seconds=ENOUGH) == {"e1": 5}
            assert await other.totals(["e2"], score.publish_again, seconds=0.01) == {}, "of another player"
    assert score.again == []


async def test_event_that_may_be_counted_already_is_published_again(redis: Redis) -> None:
    score = Score(redis)
    async with listening_signals(redis) as signals:
        with signals.listening(["ada"]) as listener:
            waiting = listener.totals(["old", "new"], score.publish_again, repeated=["old"], seconds=ENOUGH)
            await score.count(("new", "ada", 6))
            assert await waiting == {"old": 7, "new": 6}
    assert score.again == ["old"]


async def test_signal_lost_with_the_subscription_is_asked_for_again(redis: Redis) -> None:
    score = Score(redis)
    async with listening_signals(redis) as signals:
        with signals.listening(["ada"]) as listener:
            score.lost = {"e1"}
            waiting = asyncio.create_task(listener.totals(["e1"], score.publish_again, seconds=ENOUGH))
            await score.count(("e1", "ada", 5))
            await drop_subscriptions(redis)
            assert await waiting == {"e1": 7}
            await redis.publish(SCORE_CHANNEL, b"\xff\xff unreadable")
            assert await listener.totals(["e2"], score.publish_again, seconds=ENOUGH) == {"e2": 7}
    assert score.again == ["e1", "e2"]


async def test_wait_ends_in_time_without_a_signal(redis: Redis) -> None:
    async def fail(_event_ids: Collection[str]) -> None:
        raise ServiceError(Reason.UNAVAILABLE, "away")

    async with listening_signals(redis) as signals:
        with signals.listening(["ada"]) as listener:
            assert await listener.totals(["e1"], fail, repeated=["e1"], seconds=0.01) == {}
            assert await listener.totals(["e1"], fail, seconds=0) == {}


async def test_players_are_bounded_and_a_call_with_one_too_many_does_not_wait(redis: Redis) -> None:
    score = Score(redis)
    async with listening_signals(redis, max_players=2) as signals:
        with signals.listening(["ben"]), signals.listening(["ada", "cem"]) as refused:
            assert await refused.totals(["e1"], score.publish_again, repeated=["e1"], seconds=ENOUGH) == {}
        with signals.listening(["ada"]) as listener:
            await score.count(("e1", "ada", 5))
            assert await listener.totals(["e1"], score.publish_again, seconds=ENOUGH) == {"e1": 5}
