"""A store that comes back different from the one that was left: what is acknowledged is counted, and chains stay whole."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Self

import aiohttp
import nats
import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from redis.asyncio import Redis
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient, GraphqlError
from services.score.projection.loss_detection import BUILT_ON_KEY
from services.streams import QUIZ_STREAM
from tests.deadline import deadline
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import Event, Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, assert_verified, run_topten, running_stack, unique

RIGHT, POINTS = [("q1", "a"), ("q2", "a")], 20
FAST = {
    "TOPTEN_LEADERBOARD_TICK": "100ms",
    "TOPTEN_SCORE_RECONCILE_INTERVAL": "1s",
    "TOPTEN_SCORE_RECONCILE_AFTER": "3s",
}
# The one with the incarnation last, as docs/operator/backup.md demands: everything else is in place when it is noticed.
DATABASES = ("topten_identity", "topten_quiz", "topten_score", "topten_boards", "topten")
SNAPSHOT_UNAVAILABLE = 246
COUNTRIES = iter(("IS", "MT", "LU", "CY", "EE", "LV"))
Mongo = AsyncMongoClient[dict[str, Any]]


@pytest.fixture(scope="module")
def system() -> Iterator[RunningStack]:
    """One system for the module. Each test leaves it with everything counted, and judges its own players alone."""
    with running_stack(FAST) as stack:
        yield stack


@asynccontextmanager
async def mongo_of(stack: RunningStack) -> AsyncIterator[Mongo]:
    client: Mongo = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with client:
        yield client


class Play:
    """Players who submit until the block ends, each action until it is accepted, and how many were.

    They have a country of their own, so that its board shows them all and nobody else.
    """

    def __init__(self, quiz_id: str, country: str, players: list[Player]) -> None:
        self.quiz_id = quiz_id
        self.country = country
        self.players = players
        self.accepted: Counter[str] = Counter()

    @classmethod
    async def of(cls, stack: RunningStack, client: GraphqlClient, players: int) -> Self:
        """Register players and import a quiz whose attempts add up."""
        quiz_id = unique("replaced-")
        await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
        country = next(COUNTRIES)
        return cls(quiz_id, country, [await register(client, country=country) for _ in range(players)])

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        over = asyncio.Event()
        tasks = [asyncio.create_task(self._play(player, over)) for player in self.players]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*tasks)

    async def more(self, count: int) -> None:
        """Wait until so many more actions were accepted."""
        wanted = self.accepted.total() + count
        async with deadline(f"{count} more actions are accepted"):
            while self.accepted.total() < wanted:
                await asyncio.sleep(0.02)

    async def are_counted(self, stack: RunningStack) -> None:
        """Wait until the board shows every accepted action."""
        expected = {player.username: POINTS * self.accepted[player.username] for player in self.players}
        async with self.board(stack) as events:
            await until(
                events, lambda data: {entry["username"]: entry["score"] for entry in data["leaderboard"]} == expected
            )

    def board(self, stack: RunningStack) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Open a stream of the board with these players."""
        return stream(stack.http, self.players[0].access_token, f"country:{self.country}")

    async def _play(self, player: Player, over: asyncio.Event) -> None:
        while not over.is_set():
            action_id = str(uuid.uuid4())
            while True:
                try:
                    await player.submit(self.quiz_id, RIGHT, action_id)
                    break
                except (GraphqlError, aiohttp.ClientError, TimeoutError):
                    await asyncio.sleep(0.05)
            self.accepted[player.username] += 1
            await asyncio.sleep(0.05)


async def delete_stream(stack: RunningStack) -> None:
    client = await nats.connect(stack.endpoints["stores"]["nats"])
    await client.jetstream().delete_stream(QUIZ_STREAM)
    await client.close()


async def empty_nats(stack: RunningStack) -> None:
    """Kill NATS and remove its disk; the supervisor starts it again."""
    before = stack.pid_of("nats")
    os.kill(before, signal.SIGSTOP)
    shutil.rmtree(stack.data / "nats" / "jetstream")
    os.kill(before, signal.SIGKILL)
    async with deadline("NATS is back"):
        while stack.pid_of("nats") == before:
            await asyncio.sleep(0.05)


async def test_what_a_lost_stream_held_is_counted_without_an_operator(system: RunningStack) -> None:
    """The stream is deleted, then NATS comes back with an empty disk; some events are on the stream and uncounted."""
    async with GraphqlClient(endpoints(system).graphql) as client:
        play = await Play.of(system, client, 3)
        async with play.going_on():
            await play.more(10)
            for lose in (delete_stream, empty_nats):
                score = system.pid_of("score")
                os.kill(score, signal.SIGSTOP)  # what is accepted now stays on the stream
                await play.more(20)
                await lose(system)
                os.kill(score, signal.SIGCONT)
                await play.more(20)
        await play.are_counted(system)
    await assert_verified(system)


async def test_stream_that_was_lost_while_score_was_away_is_noticed(system: RunningStack) -> None:
    async with GraphqlClient(endpoints(system).graphql) as client:
        play = await Play.of(system, client, 2)
        async with play.going_on():
            await play.more(5)
        await play.are_counted(system)
        score = system.pid_of("score")
        os.kill(score, signal.SIGSTOP)
        async with play.going_on():
            await play.more(10)
        await delete_stream(system)
        os.kill(score, signal.SIGKILL)
        await play.are_counted(system)
    await assert_verified(system)


async def test_accepted_and_uncounted_is_a_finding_with_cause_and_runbook(system: RunningStack) -> None:
    async with GraphqlClient(endpoints(system).graphql) as client:
        play = await Play.of(system, client, 1)
        nats_server = system.pid_of("nats")
        os.kill(nats_server, signal.SIGSTOP)
        try:
            await play.players[0].submit(play.quiz_id, RIGHT)
            verified = await run_topten("verify", "--patience", "1", "--uncounted-after", "0.5", data=system.data)
            doctor = await run_topten("doctor", data=system.data)
        finally:
            os.kill(nats_server, signal.SIGCONT)
        assert verified.returncode == 1, verified
        assert "NATS does not respond" in verified.stdout
        assert "operations.md#toptenstoreaway" in verified.stdout
        assert doctor.returncode == 1, doctor
        play.accepted[play.players[0].username] += 1
        await play.are_counted(system)
    await assert_verified(system)


class Moment:
    """A copy of every collection, to be put back without any of Topten's own means. Indexes stay."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._names: list[tuple[str, str]] = []

    async def keep(self) -> None:
        async with deadline("no collection is being created"):
            while True:
                try:
                    return await self._keep()
                except OperationFailure as error:
                    assert error.code == SNAPSHOT_UNAVAILABLE, error
                    await asyncio.sleep(0.5)

    async def _keep(self) -> None:
        self._names = []
        async with self._mongo.start_session(snapshot=True) as session:
            for database in DATABASES:
                for name in await self._mongo[database].list_collection_names(filter={"type": "collection"}):
                    documents = await self._mongo[database][name].find({}, session=session).to_list()
                    kept = self._mongo[f"kept_{database}"][name]
                    await kept.drop()
                    if documents:
                        await kept.insert_many(documents)
                    self._names.append((database, name))

    async def put_back(self) -> None:
        for database, name in self._names:
            await (
                await self._mongo[f"kept_{database}"][name].aggregate([{"$out": {"db": database, "coll": name}}])
            ).to_list()


async def board_is_the_ledger(play: Play, mongo: Mongo) -> None:
    """Wait until the board shows the sums of the players' rows in the ledger."""
    players, board = [player.user_id for player in play.players], {"kind": "COUNTRY", "country": play.country}
    async with deadline("the board shows the sums of the ledger"):
        while True:
            points: Counter[str] = Counter()
            async for row in mongo["topten_score"]["ledger"].find({"user_id": {"$in": players}}):
                points[row["user_id"]] += row["delta"]
            with suppress(GraphqlError):  # no frame was read before the boards were withdrawn
                if {entry["userId"]: entry["score"] for entry in await play.players[0].top(board)} == dict(points):
                    return
            await asyncio.sleep(0.2)


async def attempts_have_no_gap(mongo: Mongo) -> None:
    """Fail unless the attempts of every player are 1, 2, 3 …, and each counts on top of the one before it."""
    points: Counter[str] = Counter()
    attempts: Counter[str] = Counter()
    async for record in mongo["topten_quiz"]["submissions"].find({}).sort([("user_id", 1), ("attempt", 1)]):
        player = record["user_id"]
        attempts[player] += 1
        points[player] += record["points"]
        assert (record["attempt"], record["points_sum"]) == (attempts[player], points[player]), record


async def test_mongodb_that_went_back_while_everything_runs_breaks_no_chain(system: RunningStack) -> None:
    async with GraphqlClient(endpoints(system).graphql) as client, mongo_of(system) as mongo:
        play = await Play.of(system, client, 3)
        moment = Moment(mongo)
        async with play.going_on():
            await play.more(20)
            await moment.keep()
            await play.more(30)
            await moment.put_back()
            await play.more(60)
        await board_is_the_ledger(play, mongo)
        await attempts_have_no_gap(mongo)
    await assert_verified(system)


async def test_event_that_older_data_has_as_unpublished_counts_although_the_stream_knows_it() -> None:
    """The stream refuses it as a duplicate within two minutes, so it needs another message ID."""
    with running_stack({"TOPTEN_LEADERBOARD_TICK": "100ms"}) as stack:
        async with GraphqlClient(endpoints(stack).graphql) as client, mongo_of(stack) as mongo:
            play = await Play.of(stack, client, 1)
            player = play.players[0]
            async with stream(stack.http, player.access_token) as events:
                nats_server, moment = stack.pid_of("nats"), Moment(mongo)
                os.kill(nats_server, signal.SIGSTOP)
                try:
                    await player.submit(play.quiz_id, RIGHT)
                    await moment.keep()
                finally:
                    os.kill(nats_server, signal.SIGCONT)
                await until(events, shows(player.username, POINTS))
                await moment.put_back()
                await mongo["topten"]["incarnation"].update_one(
                    {}, {"$inc": {"mark": -1}}
                )  # rises each two seconds only
                async with deadline("the data is given another identity"):
                    kept = await mongo["kept_topten"]["incarnation"].find_one({})
                    assert kept is not None
                    while await mongo["topten"]["incarnation"].find_one({"id": kept["id"]}):
                        await asyncio.sleep(0.1)
                async with deadline("the event is counted again"):
                    while not await mongo["topten_score"]["ledger"].find_one({}):
                        await asyncio.sleep(0.1)
        await assert_verified(stack)


async def redis_remembers_a_later_mark(stack: RunningStack, mongo: Mongo) -> None:
    """Wait until the boards' mark is later than the one that was kept."""
    kept = await mongo["kept_topten"]["incarnation"].find_one({})
    assert kept is not None
    async with Redis.from_url(stack.endpoints["stores"]["redis"]) as redis, deadline("the mark is remembered"):
        while (await redis.zscore(BUILT_ON_KEY, kept["id"]) or 0) <= kept["mark"]:
            await asyncio.sleep(0.1)


async def test_mongodb_that_went_back_while_no_worker_ran_is_noticed(system: RunningStack) -> None:
    async with GraphqlClient(endpoints(system).graphql) as client, mongo_of(system) as mongo:
        play = await Play.of(system, client, 1)
        player = play.players[0]
        await player.submit(play.quiz_id, RIGHT)
        async with play.board(system) as events:
            await until(events, shows(player.username, POINTS))
            moment = Moment(mongo)
            await moment.keep()
            await player.submit(play.quiz_id, RIGHT)
            await until(events, shows(player.username, 2 * POINTS))
            await redis_remembers_a_later_mark(system, mongo)
            for name in ("quiz", "identity", "score"):
                os.kill(system.pid_of(name), signal.SIGSTOP)
            await moment.put_back()
            for name in ("quiz", "identity", "score"):
                os.kill(system.pid_of(name), signal.SIGKILL)
            await until(events, lambda data: [entry["score"] for entry in data["leaderboard"]] == [POINTS])
    await assert_verified(system)
