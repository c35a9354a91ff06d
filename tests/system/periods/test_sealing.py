"""Signed heads of closed boards: each has one, every proof holds, and nothing half-done is ever visible."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import jwt
import pytest
from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase
from topten.leaderboard.v1 import leaderboard_pb2

from edge.graphql.resolvers.boards.leaderboards import Proof as GraphqlProof
from services.boards.board import Board, period_of
from services.boards.periods.closed import BOARDS, DATABASE, ENTRIES, ClosedBoard, series_of
from services.boards.periods.period import week
from services.boards.proofs.proof import CheckedProof, check_proof
from services.boards.proofs.signed_heads import HEADS, TILES, Head
from services.embedded.credentials import new_signing_key
from services.identity.tokens import TokenIssuer
from services.leaderboard.reading.archive import Archive
from services.leaderboard.reading.proofs import NotClosedError, NotRankedError, NotSealedError, Proofs
from services.runtime.clock import utc_now
from services.score.coordination_store import CoordinationStore
from services.score.fairplay.flag_store import FlagStore
from services.score.periods.archive_store import ArchiveStore, Member
from services.score.periods.head_store import HeadStore
from services.score.periods.sealing import PeriodSealer
from services.score.webhooks.announcer import Announcer
from services.score.webhooks.delivery_store import DeliveryStore
from services.score.webhooks.marked_facts import MarkedFacts
from services.score.webhooks.webhook import BOARD_CLOSED, Webhook, webhook_id_of
from services.score.webhooks.webhook_store import WebhookStore
from tests.deadline import deadline_seconds, eventually
from tests.system.processes import Identity, running_identity
from tests.system.score import ScoreSystem

WEEK = "weekly:2024-10"
PERIOD = week(datetime(2024, 3, 4, tzinfo=UTC))
TREES = "sealing"
Database = AsyncDatabase[dict[str, Any]]
Keys = Mapping[str, jwt.PyJWK]


def database_of(system: ScoreSystem) -> Database:
    return system.mongo.client[f"{system.prefix}_{DATABASE}"]


def names(players: int) -> list[str]:
    return [f"player-{place}" for place in range(players)]


async def archive(database: Database, name: str, user_ids: Sequence[str]) -> None:
    """Archive a board as the version before signed heads did."""
    board = Board.parse(name, utc_now())
    period = period_of(board)
    assert period is not None
    closed = ClosedBoard(
        name,
        series_of(board),
        ObjectId(),
        len(user_ids),
        1,
        9,
        ends_at=period.ends_at,
        closed_at=period.ends_at + timedelta(hours=1, milliseconds=7),
        encoding=1,
    )
    entries = [
        {"made": closed.copy_id, "rank": rank, "user_id": user_id, "value": 3 * (len(user_ids) - rank) + 1.5}
        for rank, user_id in enumerate(user_ids, 1)
    ]
    if entries:
        await database[ENTRIES].insert_many(entries)
    await database[BOARDS].insert_one(closed.to_document())


def proofs_in(database: Database) -> Proofs:
    return Proofs(database, Archive(database, timeout=timedelta(seconds=deadline_seconds())))


async def proof_of(database: Database, user_id: str, name: str = WEEK, keys: Keys | None = None) -> CheckedProof:
    """Read a proof and check it as GraphQL shows it."""
    proof = await proofs_in(database).of(Board.parse(name, utc_now()), user_id)
    message = leaderboard_pb2.Proof(board=name, user_id=user_id, **proof._asdict())
    shown = vars(GraphqlProof.from_proto(message))
    return check_proof({**shown, "userId": shown["user_id"]}, keys)


async def until_sealed(database: Database, name: str) -> None:
    async def is_sealed() -> bool:
        return bool((await database[BOARDS].find_one({"_id": name}) or {}).get("head"))

    await eventually(is_sealed, f"a signed head of {name}")


async def published_keys(identity: Identity) -> Keys:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{identity.service.ops}/.well-known/jwks.json") as response,
    ):
        return {key["kid"]: jwt.PyJWK.from_dict(key) for key in (await response.json())["keys"]}


class Sealing:
    """A sealer in this process with the signature of identity, and an archive with one board of 300 players."""

    def __init__(self, system: ScoreSystem) -> None:
        self.system = system
        self.database = database_of(system)
        self.archive = ArchiveStore(self.database, system.redis)
        self.tokens = TokenIssuer(
            new_signing_key(), issuer="topten", audience="topten", access_ttl=timedelta(minutes=10)
        )
        self.sealer = self.by("worker")

    def by(self, worker_id: str) -> PeriodSealer:
        heads, coordination = HeadStore(self.database), CoordinationStore(self.system.database)
        return PeriodSealer(heads, coordination, self.sign, worker_id, now=utc_now)

    async def sign(self, head: Head) -> str:
        return self.tokens.board_head(head)

    async def release(self, worker_id: str = "worker") -> None:
        await CoordinationStore(self.system.database).release_lease(worker_id, "sealing")


@pytest.fixture
async def sealing(system: ScoreSystem) -> AsyncIterator[Sealing]:
    scene = Sealing(system)
    await HeadStore(scene.database).prepare()
    await scene.archive.prepare()
    await archive(scene.database, WEEK, names(300))
    yield scene
    await system.mongo.client.drop_database(scene.database)


async def test_boards_that_an_earlier_version_closed_are_sealed(system: ScoreSystem) -> None:
    """Signed by identity, over gRPC, with the key that it publishes; a board closed while it is away, when it is back."""
    database = database_of(system)
    sizes = {"weekly:2024-10": 300, "monthly:2024-02": 1, "custom:north:2024-W11": 2, "weekly:2024-12": 0}
    for name, players in sizes.items():
        await archive(database, name, names(players))
    async with running_identity(system.servers["mongo"].url) as identity:
        keys = await published_keys(identity)
        settings = {**identity.environ, "TOPTEN_SCORE_CLOSE_INTERVAL": "100ms"}
        async with system.worker(**settings):
            for name in sizes:
                await until_sealed(database, name)
            for name, players in sizes.items():
                for place, user_id in enumerate(names(players)):
                    proof = await proof_of(database, user_id, name, keys)
                    assert (proof.rank, proof.score) == (place + 1, 3 * (players - place - 1) + 1)
            head = proof_head = (await proof_of(database, "player-0", keys=keys)).signed.head
            assert (head.generation, head.supersedes, head.players) == (1, b"", 300)
            assert (head.starts_at.isoformat(), head.ends_at.isoformat(), head.closed_at.isoformat()) == (
                "2024-03-04T00:00:00+00:00",
                "2024-03-11T00:00:00+00:00",
                "2024-03-11T01:00:00.007000+00:00",
            )
            await identity.service.stop()
            await archive(database, "weekly:2024-20", names(3))

            async def has_tree() -> bool:
                return await database[TREES].find_one({"root": {"$exists": True}}) is not None

            await eventually(has_tree, "a tree that waits for its signature")
            with pytest.raises(NotSealedError):
                await proof_of(database, "player-0", "weekly:2024-20")
            tiles = await database[TILES].count_documents({})
            await identity.service.start()
            await until_sealed(database, "weekly:2024-20")
            assert await database[TILES].count_documents({}) == tiles, "the tree that was there is signed"
            assert (await proof_of(database, "player-0", keys=keys)).signed.head == proof_head
            assert await system.verify() == []
    await system.mongo.client.drop_database(database)


async def test_a_webhook_is_told_of_each_head_once(sealing: Sealing) -> None:
    """When the board is sealed, and when it is resealed; a head that another one replaced meanwhile is not told of."""
    database, hooks = sealing.system.database, WebhookStore(sealing.system.database)
    deliveries, flags, heads = DeliveryStore(database), FlagStore(database), HeadStore(sealing.database)
    registered = utc_now() - timedelta(minutes=1)
    kinds, boards = frozenset({BOARD_CLOSED}), frozenset({"weekly"})
    webhook_id = webhook_id_of("o", "n")
    webhook = Webhook(webhook_id, "o", "n", "https://example.com/", kinds, boards, 10, registered, "whsec_")
    assert await hooks.add(webhook)
    facts = MarkedFacts(Announcer(hooks, deliveries, now=utc_now), flags, heads)

    async def told() -> list[dict[str, Any]]:
        for _ in range(2):
            await facts.step()
        found = await deliveries.page(webhook_id, 10, None, None)
        return [json.loads(each.body)["data"] for each in found]

    assert await told() == []
    await sealing.sealer.step()
    (first,) = await told()
    proof = await proofs_in(sealing.database).of(Board.parse(WEEK, utc_now()), "player-1")
    assert (first["board"], first["players"], first["generation"]) == (WEEK, 300, 1)
    assert (first["endsAt"], first["head"]) == ("2024-03-11T00:00:00.000Z", proof.head)
    board = Board.parse(WEEK, utc_now())
    for points in (7.5, 9.5):
        before = await sealing.archive.members(board)
        await sealing.archive.replace(
            board, before, [Member("ada", points)], PERIOD, utc_now(), user_id="", actor="m", reason="a test"
        )
        await sealing.sealer.step()
    assert sorted(each["generation"] for each in await told()) == [1, 3]


async def test_what_has_no_proof_is_told_apart(sealing: Sealing) -> None:
    with pytest.raises(NotSealedError):
        await proof_of(sealing.database, "player-0")
    await sealing.sealer.step()
    with pytest.raises(NotClosedError):
        await proof_of(sealing.database, "player-0", "weekly:2024-11")
    with pytest.raises(NotRankedError):
        await proof_of(sealing.database, "nobody")


async def test_resealed_board_gets_a_head_that_names_the_former_one(sealing: Sealing) -> None:
    board = Board.parse(WEEK, utc_now())
    await sealing.sealer.step()
    former = (await proof_of(sealing.database, "player-1")).signed.head
    for generation, members in ((2, [Member("player-1", 50.5), Member("erased-00", 7.5)]), (3, [Member("ada", 1.5)])):
        before = await sealing.archive.members(board)
        await sealing.archive.replace(board, before, members, PERIOD, utc_now(), user_id="", actor="m", reason="a test")
        with pytest.raises(NotSealedError):
            await proof_of(sealing.database, members[0].user_id)
        await sealing.sealer.step()
        proof = await proof_of(sealing.database, members[0].user_id)
        assert (proof.signed.head.generation, proof.signed.head.supersedes) == (generation, former.root)
        assert (proof.rank, proof.signed.head.players) == (1, len(members))
        former = proof.signed.head
    assert await sealing.database[HEADS].count_documents({}) == 3
    assert await sealing.system.verify() == []


async def test_erasure_keeps_the_root_and_removes_the_salt(sealing: Sealing) -> None:
    """Also if the tree was being built while the entry got its pseudonym: the erasure is repeated."""
    board, pseudonym = Board.parse(WEEK, utc_now()), "erased-" + "ab" * 32
    await sealing.sealer.step()
    kept = await sealing.archive.members(board)
    resealed = [Member(user_id, value) for user_id, value in kept.values.items() if user_id != "player-0"]
    resealed.sort(key=lambda member: -member.value)
    await sealing.archive.replace(board, kept, resealed, PERIOD, utc_now(), user_id="", actor="m", reason="a test")
    await sealing.sealer.step()
    former = await proof_of(sealing.database, "player-257")
    (tile,) = await sealing.database[TILES].find({"attempt": await head_id(sealing), "level": 0, "number": 1}).to_list()
    salt = tile["salts"][0]
    assert salt

    async def salts() -> int:
        """Return how many copies of the board still have the salt of the player, who had rank 258 and then 257."""
        query = {"level": 0, "number": 1, "$or": [{"salts.0": {"$ne": b""}}, {"salts.1": {"$ne": b""}}]}
        found = await sealing.database[TILES].find(query).to_list()
        return sum(bool(tile["salts"][1 if len(tile["salts"]) == 44 else 0]) for tile in found)

    assert await salts() == 2
    await sealing.archive.rename("player-257", pseudonym)
    assert await salts() == 0
    # As a sealer that read the entry before and writes its tile now.
    await sealing.database[TILES].update_one({"_id": tile["_id"]}, {"$set": {"salts.0": salt}})
    await sealing.archive.rename("player-257", pseudonym)
    assert await salts() == 0
    erased = await proof_of(sealing.database, pseudonym)
    assert (erased.rank, erased.score, erased.is_named) == (former.rank, former.score, False)
    assert erased.signed == former.signed
    assert (await proof_of(sealing.database, "player-258")).signed == former.signed
    with pytest.raises(NotRankedError):
        await proof_of(sealing.database, "player-257")
    assert await sealing.system.verify() == []


async def head_id(sealing: Sealing) -> ObjectId:
    document = await sealing.database[BOARDS].find_one({"_id": WEEK})
    assert document is not None
    head: ObjectId = document["head"]
    return head


async def test_two_sealers_leave_one_head(sealing: Sealing) -> None:
    """One whose lease ended while it waited for the signature, and one that took over."""
    waiting, answered = asyncio.Event(), asyncio.Event()

    async def sign_later(head: Head) -> str:
        waiting.set()
        await answered.wait()
        return sealing.tokens.board_head(head)

    slow = PeriodSealer(
        HeadStore(sealing.database), CoordinationStore(sealing.system.database), sign_later, "slow", now=utc_now
    )
    task = asyncio.create_task(slow.step())
    await waiting.wait()
    await sealing.release("slow")
    await sealing.sealer.step()
    before = await proof_of(sealing.database, "player-3")
    answered.set()
    await task
    assert await proof_of(sealing.database, "player-3") == before
    assert await sealing.database[HEADS].count_documents({}) == 1
    assert await sealing.system.verify() == []


async def test_abandoned_tree_is_removed_and_gets_no_head(sealing: Sealing) -> None:
    """Even if its worker comes back after a day."""
    heads = HeadStore(sealing.database)

    async def sign_after_a_day(head: Head) -> str:
        await heads.remove_abandoned(utc_now() + timedelta(days=2))
        return sealing.tokens.board_head(head)

    late = PeriodSealer(heads, CoordinationStore(sealing.system.database), sign_after_a_day, "worker", now=utc_now)
    await late.step()
    for collection in (HEADS, TILES, TREES):
        assert await sealing.database[collection].count_documents({}) == 0
    await sealing.sealer.step()
    await heads.remove_abandoned(utc_now() + timedelta(days=2))
    await proof_of(sealing.database, "player-299")


async def test_board_with_a_missing_rank_is_not_sealed_and_stops_no_other(sealing: Sealing) -> None:
    await sealing.database[ENTRIES].delete_one({"rank": 299})
    await archive(sealing.database, "weekly:2024-08", names(2))
    await sealing.sealer.step()
    await proof_of(sealing.database, "player-1", "weekly:2024-08")
    with pytest.raises(NotSealedError):
        await proof_of(sealing.database, "player-1")
    assert await sealing.database[TREES].count_documents({}) == 0


TAMPERINGS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "score": (ENTRIES, {"rank": 5}, {"$inc": {"value": 1}}),
    "player": (ENTRIES, {"rank": 5}, {"$set": {"user_id": "somebody-else"}}),
    "rank": (ENTRIES, {"rank": 300}, {"$set": {"rank": 301}}),
    "size": (BOARDS, {}, {"$inc": {"players": 1}}),
    "time of closing": (BOARDS, {}, {"$set": {"closed_at": utc_now()}}),
    "leaf": (TILES, {"level": 0, "number": 1}, {"$set": {"hashes": b"\0" * 32 * 44}}),
    "node": (TILES, {"level": 1}, {"$set": {"hashes": b"\0" * 32}}),
    "digest": (TILES, {"level": 0, "number": 0}, {"$set": {"digests": b"\0" * 32 * 256}}),
    "salt": (TILES, {"level": 0, "number": 0}, {"$set": {"salts.7": b"\1" * 16}}),
    "lost salt": (TILES, {"level": 0, "number": 0}, {"$set": {"salts.7": b""}}),
    "stored root": (HEADS, {}, {"$set": {"root": b"\0" * 32}}),
    "signature": (HEADS, {}, [{"$set": {"text": {"$concat": ["$text", "A"]}}}]),  # type: ignore[dict-item]  # a pipeline
}


async def test_verify_finds_whatever_differs_from_a_signed_root(sealing: Sealing) -> None:
    await sealing.sealer.step()
    for name, (collection, query, change) in TAMPERINGS.items():
        (before,) = await sealing.database[collection].find(query).limit(1).to_list()
        await sealing.database[collection].update_one({"_id": before["_id"]}, change)
        findings = await sealing.system.verify()
        assert [(each.kind, each.subject) for each in findings] == [("head", WEEK)], name
        await sealing.database[collection].replace_one({"_id": before["_id"]}, before)
    assert await sealing.system.verify() == []
