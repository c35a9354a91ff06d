"""A process whose clock is a day ahead ends nothing before its time.

What is due is ended twice, one after the other: between the two the process has looked at everything.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from services.identity.account_documents import account_document, sanction_document
from services.identity.accounts import Account, Sanction, SetBy
from services.quiz.attempts.attempt import Attempt
from services.quiz.attempts.attempt_store import AttemptStore
from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.questions.answers import selected
from services.quiz.rooms.room import LIFE, Options, Phase, Room
from services.quiz.rooms.room_store import RoomStore
from services.runtime.auth.access import GUEST
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.stores.mongo import open_mongo
from services.score.webhooks.delivery_store import WAITING, Delivery, DeliveryStore
from services.score.webhooks.signing import new_secret
from services.score.webhooks.webhook import PLAYER_BLOCKED, Webhook
from services.score.webhooks.webhook_store import WebhookStore
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.servers import HOST, RunningServer, free_port, unique
from tests.system.processes import running_identity, running_service
from tests.system.score import ScoreSystem

HOUR: Final = timedelta(hours=1)
# How long a guest is kept after their end.
RETENTION: Final = timedelta(hours=24)


async def is_ended_only_when_due(
    begin: Callable[[datetime], Awaitable[str]], is_over: Callable[[str], Awaitable[bool]]
) -> None:
    """Begin something that ends in an hour; it must not have ended when two that ended before have."""
    later = await begin(utc_now() + HOUR)
    for _ in range(2):
        due = await begin(utc_now() - HOUR)
        await eventually(partial(is_over, due), "what is due is ended")
    assert not await is_over(later)


def a_day_ahead(service: str) -> Sequence[str]:
    return "tests.faults.shifted", service, "86400"


async def test_identity_keeps_guests_and_sanctions_until_their_end(servers: dict[str, RunningServer]) -> None:
    config = MongoConfig(url=servers["mongo"].url, database=unique("clocks"))
    async with (
        running_identity(config.url, config.database, a_day_ahead("identity")),
        open_mongo(config, "identity") as mongo,
    ):
        users = mongo.database["users"]

        async def guest_until(end: datetime) -> str:
            guest = Account(str(uuid.uuid4()), unique("guest-"), "", GUEST, "", utc_now(), guest_until=end - RETENTION)
            await users.insert_one(account_document(guest))
            return guest.user_id

        async def blocked_until(end: datetime) -> str:
            player = Account(str(uuid.uuid4()), unique("player-"), "", frozenset({"player"}), "", utc_now())
            sanction = Sanction(str(uuid.uuid4()), "a test", "", SetBy.MODERATOR, utc_now() - 2 * HOUR, end)
            stored = sanction_document(sanction)
            await users.insert_one(account_document(player) | {"block": stored, "sanctions": [stored]})
            return player.user_id

        async def is_erased(user_id: str) -> bool:
            return await users.find_one({"_id": user_id}) is None

        async def is_acquitted(user_id: str) -> bool:
            return await users.find_one({"_id": user_id, "block": {"$exists": True}}) is None

        await asyncio.gather(
            is_ended_only_when_due(guest_until, is_erased), is_ended_only_when_due(blocked_until, is_acquitted)
        )


async def test_quiz_keeps_attempts_and_rooms_open_until_their_end(servers: dict[str, RunningServer]) -> None:
    config = MongoConfig(url=servers["mongo"].url, database=unique("clocks"))
    async with open_mongo(config, "quiz") as mongo, running_identity(config.url, config.database) as identity:
        attempts, rooms = AttemptStore(mongo.database), RoomStore(mongo.database)

        async def attempt_until(end: datetime) -> Attempt:
            attempt = Attempt(
                str(uuid.uuid4()), "ada", unique("q"), 1, 1, "", end - 2 * HOUR, end, end, ExtraTime.NONE, {}
            )
            assert await attempts.add(attempt)
            return attempt

        async def is_handed_in(attempt: Attempt) -> bool:
            return not await attempts.attempts([attempt.attempt_id])

        async def room_until(end: datetime) -> str:
            definition = quiz_definition(unique("q"))
            opened = end - LIFE
            room = Room(
                str(uuid.uuid4()), "", definition.quiz_id, 1, "", ("q1", "q2"), ("hal",), Options(), opened, opened
            )
            return (await rooms.open(room, definition)).room_id

        async def is_over(room_id: str) -> bool:
            return (await rooms.rooms([room_id]))[room_id].phase is Phase.ENDED

        # The process hands in together what it finds as it starts.
        later, due = await attempt_until(utc_now() + HOUR), await attempt_until(utc_now() - HOUR)
        environ = {
            "TOPTEN_MONGO_URL": config.url,
            "TOPTEN_MONGO_DATABASE": config.database,
            "TOPTEN_REDIS_URL": servers["redis"].url,
            "TOPTEN_NATS_URL": servers["nats"].url,
            **identity.environ,
        }
        async with running_service("quiz", environ, a_day_ahead("quiz")):
            await eventually(partial(is_handed_in, due), "the attempt that is due is handed in")
            saved = await attempts.save(later.attempt_id, "ada", [selected("q1", "a")], [], utc_now())
            assert saved is not None, "an attempt that has an hour left takes no more answers"
            await is_ended_only_when_due(room_until, is_over)


async def test_score_gives_no_delivery_up_before_its_end(system: ScoreSystem) -> None:
    now, database = utc_now(), system.mongo.database
    webhook = Webhook(
        webhook_id=str(uuid.uuid4()),
        owner="service:shop",
        name="away",
        url=f"http://{HOST}:{free_port()}/",  # nobody listens there
        kinds=frozenset({PLAYER_BLOCKED}),
        boards=frozenset(),
        top=10,
        created_at=now,
        secret=new_secret(),
    )
    assert await WebhookStore(database).add(webhook)
    deliveries = DeliveryStore(database)
    delivery = Delivery(str(uuid.uuid4()), webhook.webhook_id, PLAYER_BLOCKED, "ada", "{}", now, now, now + HOUR)
    await deliveries.add([delivery])

    async def failed() -> Delivery | None:
        (found,) = await deliveries.page(webhook.webhook_id, 1, None, None)
        return found if found.error else None

    environ = {**system.environ, "TOPTEN_SCORE_WEBHOOK_TRUSTED_HOSTS": HOST}
    async with running_service("score", environ, a_day_ahead("score")):
        found = await eventually(failed, "the first attempt has failed")
        assert found is not None
        assert found.state == WAITING
        assert found.next_at < found.give_up_at
