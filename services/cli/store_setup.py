"""Preparation of a deployment's stores: indexes and the stream, and the first account of a new MongoDB."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from nats.errors import Error as NatsError
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from services.cli.terminal import EXIT_FINDING, EXIT_USAGE, fail, say
from services.embedded import probes
from services.identity.erasure.erasure_store import ErasureStore
from services.identity.moderation.change_store import ChangeStore
from services.identity.store import IdentityStore
from services.quiz.config import QuizConfig
from services.quiz.publisher import QuizPublisher
from services.quiz.quizzes.quiz_store import QuizStore
from services.quiz.submissions.store import SubmissionStore
from services.runtime.config.loading import ConfigError, load, section
from services.runtime.config.settings import MongoConfig, ProcessConfig
from services.runtime.stores.jetstream import open_jetstream
from services.runtime.stores.mongo import long_operation, open_mongo
from services.score.config import ScoreConfig
from services.score.coordination_store import CoordinationStore
from services.score.errors import OtherSaltError
from services.score.fairplay.flag_store import FlagStore
from services.score.ingest.dead_letter_store import DeadLetterStore
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.store import ScoreStore
from services.score.webhooks.delivery_store import DeliveryStore
from services.score.webhooks.webhook_store import WebhookStore

C = TypeVar("C")
CHECK_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class BootstrapConfig:
    """The settings that `topten bootstrap-mongo` reads."""

    process: ProcessConfig = section(ProcessConfig)
    mongo: MongoConfig = section(MongoConfig)


async def prepare_stores() -> None:
    """Create indexes and the stream by the settings of the environment. Idempotent; waits up to 60 s for each store."""
    quiz, score = _load(QuizConfig), _load(ScoreConfig)
    try:
        async with open_mongo(quiz.mongo, "identity") as mongo:
            with long_operation():
                await IdentityStore(mongo.database).prepare()
                await ChangeStore(mongo.database).prepare()
                await ErasureStore(mongo.database).prepare()
        async with open_mongo(quiz.mongo, "quiz") as mongo:
            with long_operation():
                await QuizStore(mongo.database).prepare()
                await SubmissionStore(mongo.database).prepare()
        async with open_mongo(quiz.mongo, "score") as mongo:
            with long_operation():
                digests = PersonalDataDigests(await CoordinationStore(mongo.database).salt())
                await ScoreStore(mongo.database, digests).prepare(score.audit_ttl)
                await FlagStore(mongo.database).prepare()
                await WebhookStore(mongo.database).prepare()
                await DeliveryStore(mongo.database).prepare()
                await DeadLetterStore(mongo.database).prepare()
        async with open_jetstream(quiz.nats, "setup") as nats:
            publisher = QuizPublisher(
                nats.jetstream,
                partitions=quiz.partitions,
                replicas=quiz.stream_replicas,
                max_bytes=quiz.stream_max_bytes,
            )
            await publisher.prepare()
    except (PyMongoError, NatsError) as error:
        fail(f"The stores could not be set up: {type(error).__name__}.", EXIT_FINDING)
    except OtherSaltError as error:
        fail(f"The stores could not be set up. {error}", EXIT_FINDING)


async def bootstrap_mongo(*, stay: bool) -> None:
    """Initiate the replica set and create the account of TOPTEN_MONGO_URL; retry until MongoDB takes writes.

    With `stay`, keep checking it until SIGTERM. Idempotent.
    """
    host, port, user, password = _mongo_account()
    stopping = asyncio.Event()
    # The first process of a container ignores SIGTERM unless it installs a handler.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    ready = False
    while not stopping.is_set():
        try:
            await probes.mongo(host, port, user, password)
        except (PyMongoError, probes.NotReadyError) as error:
            if ready:
                say(f"MongoDB does not take writes: {type(error).__name__}")
            ready = False
        else:
            if not ready:
                say("MongoDB takes writes")
            ready = True
            if not stay:
                return
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS if ready else RETRY_SECONDS):
                await stopping.wait()


def _mongo_account() -> tuple[str, int, str, str]:
    """Host, port, username and password in TOPTEN_MONGO_URL; exits if one is missing."""
    address = parse_uri(_load(BootstrapConfig).mongo.url)
    host, port = address["nodelist"][0]
    if not address["username"] or not address["password"]:
        fail("TOPTEN_MONGO_URL must have the username and password of the account.", EXIT_USAGE)
    return host, port, address["username"], address["password"]


def _load(cls: type[C]) -> C:
    try:
        return load(cls, os.environ)
    except ConfigError as error:
        fail(str(error), EXIT_USAGE)
