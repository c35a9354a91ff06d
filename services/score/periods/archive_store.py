"""The boards of closed periods in MongoDB, archived once.

Two later changes are possible: an erased player's entry gets their pseudonym and loses its metadata, and a reseal replaces
the board by a new version. The entries of the former version are kept beside it.

Owns the two collections of `closed_periods`; `closing`, the attempts that have not finished: {_id, at}; and `reseals`:
{_id, board, at, by, reason, user_id, former, made, version, players, changed, changes}, where `former` and `made` are the two
copies of the board, and `changes` are the first 1000 players whose rank or points changed. The caller makes
sure that no worker writes to the board any more. Several workers may archive one board: each writes entries of its own
attempt, and the one whose board document is inserted first wins. The entries of the others are removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog
from bson import ObjectId
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY, Board, period_of
from services.boards.encoding import ENCODING, points_of
from services.boards.periods.closed import BOARDS, ENTRIES, ClosedBoard, series_of
from services.boards.periods.period import Period
from services.boards.proofs.signed_heads import TILES
from services.boards.sharding import SHARDING_KEY, Shard, Sharding, shown_metadata
from services.runtime.stores.mongo import every_document, long_operation
from services.runtime.stores.redis_scripts import together
from services.score.errors import BoardsLostError
from services.score.periods.head_store import salt_field

PAGE: Final = 2000
_BOARDS_PER_QUERY: Final = 1000
_MAX_CHANGES: Final = 1000
Document = dict[str, Any]
_log = structlog.get_logger("archive")


class Member(NamedTuple):
    """A player on a board, in order of rank, and the metadata that is shown of them."""

    user_id: str
    value: float
    metadata: str = ""


class ResealedBoard(NamedTuple):
    """A board before a reseal: its document, None if nobody was ranked, and each member's value, rank and metadata."""

    closed: ClosedBoard | None
    values: Mapping[str, float]
    ranks: Mapping[str, int]
    metadata: Mapping[str, str]


class RankChange(NamedTuple):
    """A player's rank and points before and after a reseal; rank 0 is not on the board."""

    user_id: str
    rank_before: int
    rank_after: int
    points_before: int
    points_after: int


class Reseal(NamedTuple):
    """A board that was replaced. `changed` is how many players' rank or points changed."""

    board: str
    version: int
    players: int
    changed: int
    changes: Sequence[RankChange]


class ArchiveStore:
    """The collections. The drivers' errors are not translated."""

    def __init__(self, database: AsyncDatabase[Document], redis: Redis) -> None:
        self._client = database.client
        self._boards = database[BOARDS]
        self._entries = database[ENTRIES]
        self._attempts = database["closing"]
        self._reseals = database["reseals"]
        self._tiles = database[TILES]
        self._redis = redis

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        await self._boards.create_index("made")
        await self._boards.create_index([("series", ASCENDING), ("ends_at", DESCENDING)])
        await self._entries.create_index([("made", ASCENDING), ("rank", ASCENDING)], unique=True)
        await self._entries.create_index([("made", ASCENDING), ("user_id", ASCENDING)], unique=True)

    async def has(self, board: Board) -> bool:
        """Return whether the board is archived."""
        return await self._boards.find_one({"_id": board.name}, {"_id": 1}) is not None

    async def existing(self, names: Sequence[str]) -> set[str]:
        """Return those of the boards with these names that are archived."""
        found = self._boards.find({"_id": {"$in": list(names)}}, {"_id": 1})
        return {document["_id"] async for document in found}

    async def archive(
        self, board: Board, period: Period, now: datetime, *, generation: int, encoding: int, ascending: bool = False
    ) -> bool:
        """Archive the board of a period as it is in Redis. Return False if it is archived already.

        `encoding` is the one of the boards of this generation. Raises BoardsLostError, without archiving the board, if it
        changed meanwhile, or if another generation is in force or none.
        """
        if await self.has(board):
            return False
        in_force, sharding = await self._generation()
        if in_force != generation:
            raise BoardsLostError(f"the boards were replaced before {board.name} was archived")
        attempt = ObjectId()
        await self._attempts.insert_one({"_id": attempt, "at": now})
        shards = sharding.shards(board)
        before = await self._versions_and_sizes(shards)
        players = await self._copy(shards, attempt)
        if await self._versions_and_sizes(shards) != before or (await self._generation())[0] != generation:
            await self._abandon(attempt)
            raise BoardsLostError(f"{board.name} changed while it was archived")
        version = sum(before[: len(shards)])
        closed = ClosedBoard(
            board.name,
            series_of(board),
            attempt,
            players,
            generation,
            version,
            period.ends_at,
            now,
            encoding,
            period.starts_at,
            ascending,
        )
        try:
            await self._boards.insert_one(closed.to_document())
        except DuplicateKeyError:
            await self._abandon(attempt)
            return False
        await self._attempts.delete_one({"_id": attempt})
        _log.info("board archived", board=board.name, players=players)
        return True

    async def generation(self) -> int:
        """Return the boards' generation. Raises BoardsLostError while the boards are not complete."""
        return (await self._generation())[0]

    async def expire(self, board: Board, after: timedelta) -> None:
        """Let the keys of an archived board expire."""
        _, sharding = await self._generation()
        shards = sharding.shards(board)
        keys = [key for each in shards for key in (each.key, each.meta_key, each.previous_key, each.shown_key)]
        await together(self._redis, [("EXPIRE", key, int(after.total_seconds())) for key in keys])

    async def rename(self, user_id: str, pseudonym: str) -> None:
        """Give the player's entries to their pseudonym, and each such board a new version, so that readers reload it.

        A board that is being archived meanwhile may still contain the user id: repeat this later.
        """
        boards = [document["made"] async for document in every_document(self._boards.find({}, {"made": 1}))]
        former = self._reseals.find({"former": {"$ne": None}}, {"former": 1})
        boards += [document["former"] async for document in every_document(former)]
        attempts = [document["_id"] async for document in self._attempts.find({}, {"_id": 1})]
        for start in range(0, len(boards), _BOARDS_PER_QUERY):
            page = {"$in": boards[start : start + _BOARDS_PER_QUERY]}
            # Also where the name was replaced before: a tree may have been built from the board meanwhile.
            names = {"$in": [user_id, pseudonym]}
            entries = self._entries.find({"made": page, "user_id": names}, {"made": 1, "rank": 1, "user_id": 1})
            async for entry in entries:
                await self._rename_on(entry["made"], entry["user_id"], pseudonym, entry["rank"])
        of_attempts = {"made": {"$in": attempts}, "user_id": user_id}
        await self._entries.update_many(of_attempts, _renamed(pseudonym))
        await self._reseals.update_many({"user_id": user_id}, {"$set": {"user_id": pseudonym, "reason": ""}})
        await self._reseals.update_many({"by": user_id}, {"$set": {"by": pseudonym}})
        changed = {"$set": {"changes.$[change].user_id": pseudonym}}
        of_changes = [{"change.user_id": user_id}]
        await self._reseals.update_many({"changes.user_id": user_id}, changed, array_filters=of_changes)

    async def is_settled(self, board: Board) -> bool:
        """Return whether the board of a closed period is archived, or has nothing to archive."""
        if await self.has(board):
            return True
        _, sharding = await self._generation()
        commands = [("EXISTS", shard.key) for shard in sharding.shards(board)]
        return not any(await together(self._redis, commands))

    async def of_period(self, period: Period) -> list[Board]:
        """Return the archived boards of a period."""
        documents = self._boards.find({"ends_at": period.ends_at}, {"starts_at": 1})
        starts = {Board.parse(each["_id"], period.starts_at): each.get("starts_at") async for each in documents}
        return [
            board
            for board, starts_at in starts.items()
            if starts_at == period.starts_at or (starts_at is None and period_of(board) == period)
        ]

    async def members(self, board: Board) -> ResealedBoard:
        """Return an archived board with all its members."""
        document = await self._boards.find_one({"_id": board.name})
        if document is None:
            return ResealedBoard(None, {}, {}, {})
        closed = ClosedBoard.from_document(document)
        values: dict[str, float] = {}
        ranks: dict[str, int] = {}
        metadata: dict[str, str] = {}
        async for entry in every_document(self._entries.find({"made": closed.copy_id})):
            values[entry["user_id"]], ranks[entry["user_id"]] = entry["value"], entry["rank"]
            if "metadata" in entry:
                metadata[entry["user_id"]] = entry["metadata"]
        return ResealedBoard(closed, values, ranks, metadata)

    async def replace(
        self,
        board: Board,
        former: ResealedBoard,
        members: Sequence[Member],
        period: Period,
        now: datetime,
        *,
        ascending: bool = False,
        user_id: str,
        actor: str,
        reason: str,
    ) -> Reseal | None:
        """Replace a board by these members, with the next version, and record who did it and why.

        Readers get the former board or the new one. Returns None, without a change, if the board is not the former one.
        """
        attempt = ObjectId()
        await self._attempts.insert_one({"_id": attempt, "at": now})
        for start in range(0, len(members), PAGE):
            page = enumerate(members[start : start + PAGE], start + 1)
            await self._entries.insert_many([_entry(attempt, rank, member) for rank, member in page], ordered=False)
        if former.closed is None:
            generation, _ = await self._generation()
            bounds = (period.ends_at, now, ENCODING, period.starts_at, ascending)
            closed = ClosedBoard(board.name, series_of(board), attempt, 0, generation, 0, *bounds)
        else:
            closed = former.closed._replace(copy_id=attempt)
        closed = closed._replace(players=len(members), version=closed.version + 1)
        changes = _rank_changes(former, members, ascending=closed.ascending)
        record = {
            "board": board.name,
            "at": now,
            "by": actor,
            "reason": reason,
            "user_id": user_id,
            "former": former.closed and former.closed.copy_id,
            "made": attempt,
            "version": closed.version,
            "players": len(members),
            "changed": len(changes),
            "changes": [change._asdict() for change in changes[:_MAX_CHANGES]],
        }
        try:
            await self._commit(former.closed, closed, record)
        except (DuplicateKeyError, _ChangedError):
            await self._abandon(attempt)
            return None
        await self._attempts.delete_one({"_id": attempt})
        _log.warning("board resealed", board=board.name, players=len(members), actor=actor, version=closed.version)
        return Reseal(board.name, closed.version, len(members), len(changes), changes)

    async def _commit(self, former: ClosedBoard | None, closed: ClosedBoard, record: Document) -> None:
        """Replace the board's document and record the reseal together. Raises _ChangedError or DuplicateKeyError."""

        async def work(session: AsyncClientSession) -> None:
            if former is None:
                await self._boards.insert_one(closed.to_document(), session=session)
            else:
                unchanged = {"_id": former.name, "made": former.copy_id, "version": former.version}
                replaced = await self._boards.replace_one(unchanged, closed.to_document(), session=session)
                if not replaced.matched_count:
                    raise _ChangedError
            await self._reseals.insert_one({**record}, session=session)

        async with self._client.start_session() as session:
            await session.with_transaction(work)

    async def _rename_on(self, made: ObjectId, user_id: str, pseudonym: str, rank: int) -> None:
        """Give one entry to the pseudonym, and remove the salt of its leaf, without which the leaf says nothing."""
        number, salt = salt_field(rank)
        tile = {"made": made, "level": 0, "number": number, salt: {"$ne": b""}}

        async def work(session: AsyncClientSession) -> None:
            await self._tiles.update_many(tile, {"$set": {salt: b""}}, session=session)
            if user_id == pseudonym:
                return
            entry = {"made": made, "user_id": user_id}
            await self._entries.update_one(entry, _renamed(pseudonym), session=session)
            await self._boards.update_one({"made": made}, {"$inc": {"version": 1}}, session=session)

        async with self._client.start_session() as session:
            await session.with_transaction(work)

    async def remove_abandoned(self, now: datetime) -> None:
        """Remove what unfinished attempts left behind that started more than a day ago."""
        async for document in every_document(self._attempts.find({"at": {"$lt": now - timedelta(days=1)}})):
            attempt = document["_id"]
            if await self._boards.find_one({"made": attempt}, {"_id": 1}) is None:
                await self._abandon(attempt)
            else:
                await self._attempts.delete_one({"_id": attempt})

    async def _abandon(self, attempt: ObjectId) -> None:
        with long_operation():
            await self._entries.delete_many({"made": attempt})
        await self._attempts.delete_one({"_id": attempt})

    async def _generation(self) -> tuple[int, Sharding]:
        """Return the boards' generation and its sharding. Raises BoardsLostError while the boards are not complete."""
        values: list[Any] = await self._redis.mget(GENERATION_KEY, SHARDING_KEY)
        generation, sharding = values
        if generation is None:
            raise BoardsLostError("the boards are being rebuilt")
        return int(generation), Sharding((sharding or b"").decode())

    async def _versions_and_sizes(self, shards: Sequence[Shard]) -> list[int]:
        """Return the version of each key, then the size of each: they change whenever the board does."""
        versions = [("HGET", shard.meta_key, "version") for shard in shards]
        sizes = [("ZCARD", shard.key) for shard in shards]
        return [int(number or 0) for number in await together(self._redis, [*versions, *sizes])]

    async def _copy(self, shards: Sequence[Shard], attempt: ObjectId) -> int:
        """Copy all members as entries of the attempt, and return their number."""
        rank = 0
        page: list[Document] = []
        async for member in self._merged(shards):
            rank += 1
            page.append(_entry(attempt, rank, member))
            if len(page) >= PAGE:
                await self._entries.insert_many(page, ordered=False)
                page = []
        if page:
            await self._entries.insert_many(page, ordered=False)
        return rank

    async def _merged(self, shards: Sequence[Shard]) -> AsyncIterator[Member]:
        """Yield all members of the board: those of its keys, merged by value and id as one key orders them."""
        heads: dict[AsyncIterator[Member], Member | None] = {}
        for shard in shards:
            members = self._members(shard)
            heads[members] = await anext(members, None)
        while open_heads := {members: head for members, head in heads.items() if head is not None}:
            first = max(open_heads, key=lambda each: (open_heads[each].value, open_heads[each].user_id))
            yield open_heads[first]
            heads[first] = await anext(first, None)

    async def _members(self, shard: Shard) -> AsyncIterator[Member]:
        """Yield all members of one key, in order."""
        start = 0
        has_metadata: Any = await self._redis.hexists(shard.meta_key, "shown")
        while True:
            page: Any = await self._redis.zrevrange(shard.key, start, start + PAGE - 1, withscores=True)
            if not page:
                return
            user_ids = [member.decode() for member, _ in page]
            shown: Any = await self._redis.hmget(shard.shown_key, user_ids) if has_metadata else [None] * len(page)
            for user_id, (_, value), text in zip(user_ids, page, shown, strict=True):
                yield Member(user_id, value, shown_metadata(text))
            start += len(page)


def _entry(attempt: ObjectId, rank: int, member: Member) -> Document:
    entry: Document = {"made": attempt, "rank": rank, "user_id": member.user_id, "value": member.value}
    if member.metadata:
        entry["metadata"] = member.metadata
    return entry


def _renamed(pseudonym: str) -> Document:
    return {"$set": {"user_id": pseudonym}, "$unset": {"metadata": ""}}


class _ChangedError(RuntimeError):
    """The board is not the one that was read."""


def _rank_changes(former: ResealedBoard, members: Sequence[Member], *, ascending: bool) -> list[RankChange]:
    """Return the changed ranks and points by player, in the new order, players who left last."""
    points = {user_id: points_of(value, ascending=ascending) for user_id, value in former.values.items()}
    changes = []
    left = dict(former.ranks)
    for rank, (user_id, value, _) in enumerate(members, 1):
        rank_before, points_before = left.pop(user_id, 0), points.get(user_id, 0)
        points_after = points_of(value, ascending=ascending)
        if (rank_before, points_before) != (rank, points_after):
            changes.append(RankChange(user_id, rank_before, rank, points_before, points_after))
    changes += (RankChange(user_id, rank, 0, points[user_id], 0) for user_id, rank in left.items())
    return changes
