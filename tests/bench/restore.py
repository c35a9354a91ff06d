"""The drill: a system of N players (1 000 000 unless given) is backed up and restored into an empty MongoDB and Redis.

    python -m tests.bench restore [PLAYERS …]

Each player has an account, one submission, its ledger row and the fold. `topten backup` and `topten restore` run as an
operator runs them; then all boards are rebuilt, and their sums are compared with the ledger's. The floor is a plain unordered
`insert_many` of the same documents with the same indexes, in the same run, on a MongoDB of its own; reading the file is not
counted there.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pymongo import IndexModel

from services.boards.encoding import points_of
from services.cli.backup.archive import Collection, Header, read, verify
from services.identity.store import IdentityStore
from services.quiz.submissions.store import SubmissionStore
from services.runtime.config.settings import MongoConfig, RedisConfig
from services.runtime.stores.mongo import Document, Mongo, open_mongo
from services.runtime.stores.redis import open_redis
from services.score.coordination_store import CoordinationStore
from services.score.ledger.documents import fold_document, row_document
from services.score.ledger.events import Event
from services.score.ledger.folds.fold import apply, next_row
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.store import ScoreStore
from tests.bench.scoring import now_ms, open_scoring
from tests.bench.sizes import PAGE, event
from tests.servers import running, topten

PLAYERS = 1_000_000
HOUR = timedelta(hours=1)


class Drill(NamedTuple):
    """What was measured for one size; seconds and mebibytes."""

    documents: int
    backup: float
    size: float
    restore: float
    floor: float
    rebuild: float


def account(event: Event, at: datetime) -> Document:
    """An account as identity records it."""
    name = event.user_id.replace("-", "_")
    digest = f"$argon2id$v=19$m=19456,t=2,p=1${event.event_id[:22]}${event.event_id * 2:.43}"
    return {
        "_id": event.user_id,
        "username": name,
        "username_key": name,
        "username_skeleton": name,
        "password_hash": digest,
        "roles": ["player"],
        "country": event.country,
        "created_at": at,
    }


def submission(event: Event, at: datetime) -> Document:
    """A submission of ten answers as quiz records it, published."""
    return {
        "_id": event.event_id,
        "user_id": event.user_id,
        "action_id": event.event_id,
        "quiz_id": event.quiz_id,
        "quiz_version": 1,
        "payload_digest": event.event_id.replace("-", "") * 2,
        "answers": [[f"q{number}", "abcd"[(number * event.delta) % 4]] for number in range(10)],
        "points": event.delta,
        "correct": 7,
        "questions": 10,
        "attempt": 1,
        "used": 1,
        "valid": 1,
        "points_sum": event.delta,
        "counted": event.delta,
        "delta": event.delta,
        "country": event.country,
        "client_time": at,
        "received_at": at,
    }


async def fill(mongo: Mongo, players: int) -> None:
    """Write players straight into the databases, as of an hour ago, with the indexes of the services."""
    identity, quiz = (mongo.client[f"topten_{name}"] for name in ("identity", "quiz"))
    await IdentityStore(identity).prepare()
    await SubmissionStore(quiz).prepare()
    store = ScoreStore(mongo.database, PersonalDataDigests(await CoordinationStore(mongo.database).salt()))
    await store.prepare(timedelta(days=90))
    now = now_ms() - 3_600_000
    at = datetime.fromtimestamp(now / 1000, UTC)
    for start in range(0, players, PAGE):
        events = [event(number, 1) for number in range(start, min(start + PAGE, players))]
        rows, folds = [], []
        for each in events:
            empty = store.empty_fold(each.user_id)
            row = next_row(empty, each, now)
            rows.append(row_document(row))
            folds.append(fold_document(apply(empty, row)))
        await identity["users"].insert_many([account(each, at) for each in events], ordered=False)
        await quiz["submissions"].insert_many([submission(each, at) for each in events], ordered=False)
        await mongo.database["ledger"].insert_many(rows, ordered=False)
        await mongo.database["players"].insert_many(folds, ordered=False)


async def command(mongo_url: str, *arguments: str) -> float:
    """Run `topten` against a MongoDB and return its seconds."""
    environ = os.environ | {"TOPTEN_MONGO_URL": mongo_url}
    start = time.perf_counter()
    await asyncio.to_thread(subprocess.run, topten(*arguments), env=environ, check=True, capture_output=True)
    return time.perf_counter() - start


async def floor(mongo: Mongo, file: Path) -> float:
    """Return the seconds of plain inserts of the backup's documents, and of its indexes."""
    took = 0.0
    collections: list[Collection] = []
    with file.open("rb") as source:
        for part in read(source):
            start = time.perf_counter()
            match part:
                case Header():
                    pass
                case Collection():
                    collections.append(part)
                case documents if documents:
                    target = mongo.client[f"topten_{collections[-1].database}"][collections[-1].name]
                    await target.insert_many(documents, ordered=False)
            took += time.perf_counter() - start
    start = time.perf_counter()
    for collection in collections:
        models = [
            IndexModel(list(one["key"].items()), unique=one.get("unique", False), sparse=one.get("sparse", False))
            for one in collection.indexes
        ]
        if models:
            await mongo.client[f"topten_{collection.database}"][collection.name].create_indexes(models)
    return took + time.perf_counter() - start


async def rebuild_boards(mongo: Mongo, redis_url: str) -> tuple[float, int]:
    """Rebuild all boards from the restored MongoDB; return the seconds and the sum of the all-time board."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=redis_url), "score"))
        scoring = await open_scoring(mongo, redis, stack)
        start = time.perf_counter()
        await scoring.rebuild.run("drill", lambda *_: None)
        took = time.perf_counter() - start
        total = 0
        async for _, value in redis.zscan_iter("leaderboard:all", count=PAGE):
            total += points_of(value)
        return took, total


async def ledger_sum(mongo: Mongo) -> int:
    """Return the sum of all deltas."""
    group = {"$group": {"_id": None, "sum": {"$sum": "$delta"}}}
    (found,) = await (await mongo.database["ledger"].aggregate([group])).to_list()
    total: int = found["sum"]
    return total


async def measure(players: int) -> Drill:
    async with AsyncExitStack() as stack:
        file = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="topten-drill-"))) / "drill.topten"

        async def mongo() -> tuple[str, Mongo]:
            url = (await stack.enter_async_context(running("mongo"))).url
            config = MongoConfig(url=url, timeout=timedelta(minutes=5))
            return url, await stack.enter_async_context(open_mongo(config, "score"))

        url, source = await mongo()
        await fill(source, players)
        expected = await ledger_sum(source)
        backup = await command(url, "backup", str(file))
        with file.open("rb") as content:
            documents = sum(verify(content).counts.values())
        url, target = await mongo()
        restore = await command(url, "restore", str(file))
        _, plain = await mongo()
        least = await floor(plain, file)
        redis = await stack.enter_async_context(running("redis"))
        rebuild, total = await rebuild_boards(target, redis.url)
        assert await ledger_sum(target) == total == expected, "the restored sums differ"
        return Drill(documents, backup, file.stat().st_size / 2**20, restore, least, rebuild)


async def main(sizes: list[int]) -> None:
    print(f"load before the run: {os.getloadavg()[0]:.1f}")
    print(
        "| players | documents | backup, s | MiB | restore, s | documents/s | floor, s | × | rebuild, s | back after, s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for players in sizes or [PLAYERS]:
        drill = await measure(players)
        print(
            f"| {players:,} | {drill.documents:,} | {drill.backup:.0f} | {drill.size:.0f} | {drill.restore:.0f} "
            f"| {drill.documents / drill.restore:,.0f} | {drill.floor:.0f} | {drill.restore / drill.floor:.1f} "
            f"| {drill.rebuild:.0f} | {drill.restore + drill.rebuild:.0f} |",
            flush=True,
        )
