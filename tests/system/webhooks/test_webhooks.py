"""Webhooks: a team registers one; each fact is one delivery, signed, retried, given up, replayed, never sent to the inside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.stores.mongo import Document, open_mongo
from services.score.fairplay.flag_store import FlagStore
from services.score.fairplay.rules import Suspicion
from services.score.periods.head_store import HeadStore
from services.score.webhooks.announcer import Announcer
from services.score.webhooks.backoff import GIVE_UP_AFTER, MAX_PAUSE
from services.score.webhooks.delivery_store import DEAD, DELIVERED, LEASE, WAITING, DeliveryStore
from services.score.webhooks.marked_facts import MarkedFacts
from services.score.webhooks.sender import MAX_CONCURRENT_OF_WEBHOOK, DeliverySender
from services.score.webhooks.signing import new_secret
from services.score.webhooks.top_store import TopStore
from services.score.webhooks.tops import TopWatcher
from services.score.webhooks.webhook import (
    ENTERED_TOP,
    PASSED,
    PLAYER_BLOCKED,
    PLAYER_FLAGGED,
    Fact,
    Webhook,
    webhook_id_of,
)
from services.score.webhooks.webhook_store import WebhookStore
from tests.deadline import eventually
from tests.servers import RunningStack, unique
from tests.system.webhooks.webhook_receiver import Receiver, receiver

__all__ = ["receiver"]
TRUSTED = frozenset({"127.0.0.1"})


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now


class Scene:
    """Webhooks on a database of their own; the test is the workers."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self.database = database
        self.clock = Clock()
        self.webhooks = WebhookStore(database)
        self.deliveries = DeliveryStore(database)
        self.announcer = Announcer(self.webhooks, self.deliveries, now=self.clock)

    def sender(self, trusted: frozenset[str] = TRUSTED) -> DeliverySender:
        return DeliverySender(self.webhooks, self.deliveries, trusted=trusted, now=self.clock, jitter=lambda: 0)

    async def webhook(self, url: str, *kinds: str, top: int = 10) -> Webhook:
        name = unique("hook-")
        webhook = Webhook(
            webhook_id=webhook_id_of("service:shop", name),
            owner="service:shop",
            name=name,
            url=url,
            kinds=frozenset(kinds or {PLAYER_BLOCKED}),
            boards=frozenset({"weekly"} if {ENTERED_TOP, PASSED} & set(kinds) else ()),
            top=top,
            created_at=self.clock.now - timedelta(minutes=1),
            secret=new_secret(),
        )
        assert await self.webhooks.add(webhook)
        return webhook

    def fact(self, number: int = 1) -> Fact:
        user_id = f"player-{number}"
        return Fact(f"event-{number}", PLAYER_BLOCKED, self.clock.now, {"userId": user_id}, user_id=user_id)

    async def states(self, webhook: Webhook) -> list[tuple[str, int, int, str]]:
        found = await self.deliveries.page(webhook.webhook_id, 100, None, None)
        return [(each.state, each.attempts, each.status, each.error) for each in found]


@pytest.fixture
async def scene(stack: RunningStack) -> AsyncIterator[Scene]:
    config = MongoConfig(url=stack.endpoints["stores"]["mongo"], database=unique("hooks"))
    async with open_mongo(config, "score") as mongo:
        made = Scene(mongo.database)
        await made.webhooks.prepare()
        await made.deliveries.prepare()
        yield made
        await mongo.client.drop_database(mongo.database)


async def test_a_fact_is_delivered_once_however_often_it_is_seen(scene: Scene, receiver: Receiver) -> None:
    webhook, other = await scene.webhook(receiver.url), await scene.webhook(receiver.url, PLAYER_FLAGGED)
    facts = [scene.fact(number) for number in range(20)]
    new = await asyncio.gather(*(scene.announcer.announce(facts) for _ in range(4)))
    assert sum(new) == 20
    await asyncio.gather(scene.sender().step(), scene.sender().step())
    assert await scene.announcer.announce(facts) == 0
    await scene.sender().step()
    ids = [each.headers["webhook-id"] for each in receiver.requests]
    assert (len(ids), len(set(ids))) == (20, 20)
    assert sorted(each.event["data"]["userId"] for each in receiver.requests) == sorted(each.user_id for each in facts)
    assert all(each.is_signed_by(webhook.secret) for each in receiver.requests)
    assert not any(each.is_signed_by(other.secret) for each in receiver.requests)
    assert await scene.states(webhook) == [(DELIVERED, 1, 200, "")] * 20
    assert await scene.states(other) == []
    assert receiver.most_at_once <= 2 * MAX_CONCURRENT_OF_WEBHOOK


async def test_a_delivery_is_retried_until_it_is_accepted(scene: Scene, receiver: Receiver) -> None:
    webhook = await scene.webhook(receiver.url)
    receiver.statuses = [500, 302, 410]
    await scene.announcer.announce([scene.fact()])
    errors = []
    for _ in range(4):
        await scene.sender().step()
        ((state, _, status, error),) = await scene.states(webhook)
        errors.append((state, status, error))
        requests = len(receiver.requests)
        await scene.sender().step()
        assert len(receiver.requests) == requests, "not before the pause is over"
        scene.clock.now += MAX_PAUSE
    assert errors == [
        (WAITING, 500, "The receiver responded with status 500."),
        (WAITING, 302, "The receiver responded with status 302."),
        (WAITING, 410, "The receiver responded with status 410."),
        (DELIVERED, 200, ""),
    ]
    assert len({each.headers["webhook-id"] for each in receiver.requests}) == 1
    assert len({each.headers["webhook-timestamp"] for each in receiver.requests}) == 4
    assert all(each.is_signed_by(webhook.secret) for each in receiver.requests)


async def test_a_worker_that_dies_during_an_attempt_leaves_it_to_another(scene: Scene, receiver: Receiver) -> None:
    webhook = await scene.webhook(receiver.url)
    receiver.open.clear()
    await scene.announcer.announce([scene.fact()])
    dying = asyncio.create_task(scene.sender().step())

    async def has_request() -> bool:
        return bool(receiver.requests)

    await eventually(has_request, "a request under way")
    dying.cancel()
    with suppress(asyncio.CancelledError):
        await dying
    receiver.open.set()
    await scene.sender().step()
    assert len(receiver.requests) == 1, "it is leased"
    scene.clock.now += LEASE
    await scene.sender().step()
    assert await scene.states(webhook) == [(DELIVERED, 2, 200, "")]
    assert len({each.headers["webhook-id"] for each in receiver.requests}) == 1


async def test_what_no_receiver_accepts_within_a_day_is_dead_until_it_is_replayed(
    scene: Scene, receiver: Receiver
) -> None:
    webhook = await scene.webhook(receiver.url)
    receiver.statuses = [503] * 1000
    await scene.announcer.announce([scene.fact()])
    began = scene.clock.now
    while (await scene.states(webhook))[0][0] == WAITING:
        await scene.sender().step()
        scene.clock.now += MAX_PAUSE
    assert GIVE_UP_AFTER - MAX_PAUSE <= scene.clock.now - began <= GIVE_UP_AFTER + MAX_PAUSE
    attempts = len(receiver.requests)
    assert await scene.states(webhook) == [(DEAD, attempts, 503, "The receiver responded with status 503.")]
    receiver.statuses = []
    assert await scene.deliveries.replay(webhook.webhook_id, "", scene.clock.now) == 1
    await scene.sender().step()
    assert await scene.states(webhook) == [(DELIVERED, 1, 200, "")]
    assert len({each.headers["webhook-id"] for each in receiver.requests}) == 1


async def test_nothing_is_sent_to_the_inside(scene: Scene, receiver: Receiver) -> None:
    """Neither to an address, nor to a name that leads there, even if the operator trusted it when it was registered."""
    secure = receiver.url.replace("http:", "https:")
    urls = {
        receiver.url: "The address is not an https address.",
        secure: "The address is not a public address.",
        secure.replace("127.0.0.1", "localhost"): "The host has an address that is not public.",
        secure.replace("127.0.0.1", "127.1"): "The address is malformed.",
    }
    webhooks = {url: await scene.webhook(url) for url in urls}
    await scene.announcer.announce([scene.fact()])
    await scene.sender(frozenset()).step()
    for url, error in urls.items():
        assert await scene.states(webhooks[url]) == [(WAITING, 1, 0, error)]
    assert receiver.requests == []


async def test_a_receiver_that_is_away_is_named_as_such(scene: Scene, receiver: Receiver) -> None:
    away = await scene.webhook("http://127.0.0.1:1/hook")
    plain = await scene.webhook(receiver.url.replace("http:", "https:"))
    await scene.announcer.announce([scene.fact()])
    await scene.sender().step()
    assert await scene.states(away) == [(WAITING, 1, 0, "The receiver does not accept connections.")]
    ((_, _, _, error),) = await scene.states(plain)
    assert error == "The TLS connection failed: the certificate must be valid for the host."


async def test_a_flag_is_announced_once_and_an_erased_player_is_in_no_delivery(scene: Scene) -> None:
    webhook = await scene.webhook("https://hooks.example.com/", PLAYER_FLAGGED, PLAYER_BLOCKED)
    flags = FlagStore(scene.database)
    facts = MarkedFacts(scene.announcer, flags, HeadStore(scene.database))
    at = int(scene.clock.now.timestamp() * 1000)
    suspicion = Suspicion("score_jump", "event-1", "player-1", at, "30000 points within a minute", {"points": 30_000})
    for _ in range(2):
        await flags.add([suspicion], ())
        await facts.step()
    (delivery,) = await scene.deliveries.page(webhook.webhook_id, 10, None, None)
    assert json.loads(delivery.body)["data"] == {
        "flagId": suspicion.flag_id,
        "userId": "player-1",
        "rule": "score_jump",
        "reason": "30000 points within a minute",
        "eventId": "event-1",
    }
    await scene.announcer.announce([scene.fact(2)])
    await scene.deliveries.erase("player-1")
    (left,) = await scene.deliveries.page(webhook.webhook_id, 10, None, None)
    assert left.user_id == "player-2"


def frame(version: int, *players: str, board: str = "weekly:2026-48", stale: bool = False) -> Frame:
    made = Frame(board=board, generation=1, version=version, stale=stale)
    made.timestamp.FromDatetime(utc_now())
    for rank, user_id in enumerate(players, 1):
        made.entries.add(rank=rank, user_id=user_id, score=100 - rank)
    return made


async def test_whoever_enters_a_top_is_announced_once(scene: Scene) -> None:
    """By any number of workers, also after one died between the deliveries and its frame."""
    webhook = await scene.webhook("https://hooks.example.com/", ENTERED_TOP, top=2)
    tops = TopStore(scene.database)
    nothing: Any = None
    workers = [TopWatcher(scene.webhooks, tops, scene.announcer, nothing, nothing, nothing, "w") for _ in range(2)]

    async def compare(*frames: Frame) -> list[tuple[str, str, int]]:
        known = {each.delivery_id for each in await scene.deliveries.page(webhook.webhook_id, 100, None, None)}
        for each in frames:
            await asyncio.gather(*(worker.compare("weekly", each) for worker in workers))
        found = await scene.deliveries.page(webhook.webhook_id, 100, None, None)
        data = [json.loads(each.body)["data"] for each in found if each.delivery_id not in known]
        return sorted((each["board"], each["userId"], each["rank"]) for each in data)

    week = "weekly:2026-48"
    assert await compare(frame(1, "ada", "bob", "cy")) == [], "who was there before"
    assert await compare(frame(2, "bob", "ada", "cy")) == [], "within the top"
    assert await compare(frame(3, "cy", "bob", "ada"), frame(2, "ada", "dan")) == [(week, "cy", 1)], "no older frame"
    former = await tops.find("weekly")
    assert former is not None
    fields = former._asdict()
    assert await compare(frame(4, "cy", "ada", "bob")) == [(week, "ada", 2)]
    await scene.database["webhook_tops"].delete_one({"_id": "weekly"})
    await scene.database["webhook_tops"].insert_one({"_id": fields.pop("series"), **fields})
    assert await compare(frame(5, "cy", "ada", "bob")) == [], "the crash repeats the deliveries, and doubles none"
    await tops.erase("cy")
    assert await compare(frame(6, "ada", "bob")) == [(week, "bob", 2)], "also because another left"
    assert await compare(frame(7, "dan", stale=True)) == []
    following = "weekly:2026-49"
    assert await compare(frame(1, board=following), frame(2, "bob", board=following)) == [(following, "bob", 1)]


async def test_a_player_of_the_top_who_is_passed_is_announced_with_those_who_did_it(scene: Scene) -> None:
    webhook = await scene.webhook("https://hooks.example.com/", PASSED, top=2)
    nothing: Any = None
    watcher = TopWatcher(
        scene.webhooks, TopStore(scene.database), scene.announcer, nothing, nothing, nothing, "w"
    )  # fmt: skip
    known: set[str] = set()

    async def compare(*players: str, board: str = "weekly:2026-48") -> list[tuple[str, int, list[str]]]:
        await watcher.compare("weekly", frame(len(known) + 1, *players, board=board))
        found = await scene.deliveries.page(webhook.webhook_id, 100, None, None)
        data = [json.loads(each.body)["data"] for each in found if each.delivery_id not in known]
        known.update([each.delivery_id for each in found] + [f"frame {len(known)}"])
        return sorted((each["userId"], each["rank"], each["passedBy"]) for each in data)

    assert await compare("ada", "bob", "cy") == [], "the first comparison"
    assert await compare("dan", "ada", "bob", "cy") == [("ada", 2, ["dan"]), ("bob", 3, ["dan"])], (
        "cy was below the top"
    )
    assert await compare("ada", "bob", "cy") == [], "one who leaves passes nobody, nor do those who move up"
    assert await compare("cy", "dan", "bob", "ada") == [("ada", 4, ["cy", "dan", "bob"]), ("bob", 3, ["cy", "dan"])]
    assert await compare("ada", "bob", board="weekly:2026-49") == [], "a new period"
