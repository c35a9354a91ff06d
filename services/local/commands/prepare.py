"""`topten setup` and `topten found`: what a deployment does to its stores before or while the processes start.

Both may run at any time and any number of times: what is there already stays as it is.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import typer
from nats.errors import Error as NatsError
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from services.identity.change_store import ChangeStore
from services.identity.erasure_store import ErasureStore
from services.identity.store import IdentityStore
from services.local import probes
from services.local.terminal import FOUND, USAGE, fail, out, run
from services.quiz.config import QuizConfig
from services.quiz.publisher import STREAM, QuizPublisher
from services.quiz.store import QuizStore
from services.runtime.config import ConfigError, load, section
from services.runtime.jetstream import open_jetstream
from services.runtime.mongo_client import open_mongo
from services.runtime.settings import MongoConfig, ProcessConfig
from services.score.config import ScoreConfig
from services.score.dead_letters import DeadLetters
from services.score.flags import Flags
from services.score.meta import Meta
from services.score.seals import Seals
from services.score.store import ScoreStore

C = TypeVar("C")
WATCH_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class FoundConfig:
    """What `topten found` reads."""

    process: ProcessConfig = section(ProcessConfig)
    mongo: MongoConfig = section(MongoConfig)


def setup() -> None:
    """Make the indexes of the large collections and the stream, by the TOPTEN_* variables of the processes.

    The processes make what is missing when they start; this does it ahead of them, before an upgrade or on a large
    database. Waits up to 60 s for each store.
    """
    quiz, score = _read(QuizConfig), _read(ScoreConfig)
    try:
        run(_setup(quiz, score))
    except (PyMongoError, NatsError) as error:
        fail(f"could not set up: {type(error).__name__}", FOUND)
    out.print(f"indexes and the stream {STREAM} are there")


async def _setup(quiz: QuizConfig, score: ScoreConfig) -> None:
    async with open_mongo(quiz.mongo, "identity") as mongo:
        await IdentityStore(mongo.database).prepare()
        await ChangeStore(mongo.database).prepare()
        await ErasureStore(mongo.database).prepare()
    async with open_mongo(quiz.mongo, "quiz") as mongo:
        await QuizStore(mongo.database).prepare()
    async with open_mongo(quiz.mongo, "score") as mongo:
        seals = Seals(await Meta(mongo.database).salt())
        await ScoreStore(mongo.database, seals).prepare(score.audit_ttl)
        await Flags(mongo.database).prepare()
        await DeadLetters(mongo.database).prepare()
    async with open_jetstream(quiz.nats, "setup") as nats:
        await QuizPublisher(nats.jetstream).prepare(
            partitions=quiz.partitions, replicas=quiz.stream_replicas, max_bytes=quiz.stream_max_bytes
        )


def found(
    stay: Annotated[
        bool, typer.Option("--stay", help="Look after it until SIGTERM, as a pod's second container.")
    ] = False,
) -> None:
    """Found a replica set of one node and the account of TOPTEN_MONGO_URL on a new MongoDB, for a trial.

    Runs beside the MongoDB, on its own address: only from there a new server lets its first account be made. Tries until
    it has succeeded.
    """
    address = parse_uri(_read(FoundConfig).mongo.url)
    host, port = address["nodelist"][0]
    if not address["username"] or not address["password"]:
        fail("TOPTEN_MONGO_URL needs the name and password of the account", USAGE)
    run(_found(host, port, address["username"], address["password"], stay=stay))


async def _found(host: str, port: int, user: str, password: str, *, stay: bool) -> None:
    told = asyncio.Event()
    # A container's first process has to ask for SIGTERM, or it is ignored.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    serves = False
    while not told.is_set():
        try:
            await probes.mongo(host, port, user, password)
        except (PyMongoError, probes.NotReadyError) as error:
            if serves:
                out.print(f"MongoDB does not take writes: {type(error).__name__}")
            serves = False
        else:
            if not serves:
                out.print("MongoDB takes writes")
            serves = True
            if not stay:
                return
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS if serves else RETRY_SECONDS):
                await told.wait()


def _read(cls: type[C]) -> C:
    try:
        return load(cls, os.environ)
    except ConfigError as error:
        fail(str(error), USAGE)
