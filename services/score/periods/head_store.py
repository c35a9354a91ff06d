"""Signed heads of closed boards and their trees in MongoDB (see `services.boards.proofs.signed_heads`).

Owns `heads` and `head_tiles`, the field `head` of `closed`, and `sealing`, the trees without a signed head: {_id, made, at,
root}, the root once the tree is whole. A head becomes visible by one transaction, after its tree; before that nothing refers
to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.boards.encoding import points_of
from services.boards.periods.closed import BOARDS, ENTRIES, ClosedBoard
from services.boards.proofs.merkle import TILE, Tile
from services.boards.proofs.signed_heads import HEADS, TILES, Head
from services.runtime.stores.mongo import every_document, long_operation

_TREES: Final = "sealing"
_UNANNOUNCED: Final = {"announce": True}
Document = dict[str, Any]


class Entry(NamedTuple):
    """An entry of a closed board."""

    user_id: str
    rank: int
    score: int


class Leaf(NamedTuple):
    """A player's leaf of the tree; the salt of an erased player is empty."""

    digest: bytes
    salt: bytes


class Tree(NamedTuple):
    """A whole tree whose root is not signed yet."""

    tree_id: ObjectId
    root: bytes


class StoredHead(NamedTuple):
    """A head as it is stored."""

    head_id: ObjectId
    board: str
    copy_id: ObjectId
    generation: int
    root: bytes
    players: int
    text: str


class HeadStore:
    """The collections. The drivers' errors are not translated."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._boards = database[BOARDS]
        self._entries = database[ENTRIES]
        self._heads = database[HEADS]
        self._tiles = database[TILES]
        self._trees = database[_TREES]

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        await self._boards.create_index("head")
        await self._heads.create_index("made", unique=True)
        await self._heads.create_index([("board", ASCENDING), ("generation", DESCENDING)], unique=True)
        await self._heads.create_index("announce", partialFilterExpression=_UNANNOUNCED)
        by_place = [("attempt", ASCENDING), ("level", ASCENDING), ("number", ASCENDING)]
        await self._tiles.create_index(by_place, unique=True)
        await self._tiles.create_index([("made", ASCENDING), ("level", ASCENDING), ("number", ASCENDING)])
        await self._trees.create_index("made")

    async def boards_without_head(self) -> list[ClosedBoard]:
        """Return the closed boards without a signed head, the latest first: new, resealed, or closed by an older version."""
        documents = await self._boards.find({"head": None}).sort("ends_at", DESCENDING).to_list()
        return [ClosedBoard.from_document(document) for document in documents]

    async def entries(self, board: str, copy_id: ObjectId) -> AsyncIterator[Entry]:
        """Yield the entries of a copy of a board by rank."""
        closed = await self._boards.find_one({"_id": board}, {"ascending": 1}) or {}
        ascending = closed.get("ascending", False)
        async for entry in every_document(self._entries.find({"made": copy_id}).sort("rank", ASCENDING)):
            yield Entry(entry["user_id"], entry["rank"], points_of(entry["value"], ascending=ascending))

    async def unsigned_tree(self, copy_id: ObjectId) -> Tree | None:
        """Return a whole tree of a copy whose root is not signed."""
        document = await self._trees.find_one({"made": copy_id, "root": {"$exists": True}})
        return None if document is None else Tree(document["_id"], document["root"])

    async def begin_tree(self, copy_id: ObjectId, now: datetime) -> ObjectId:
        """Return the id of a new tree."""
        tree_id = ObjectId()
        await self._trees.insert_one({"_id": tree_id, "made": copy_id, "at": now})
        return tree_id

    async def add_tiles(
        self, tree_id: ObjectId, copy_id: ObjectId, tiles: Sequence[tuple[Tile, Sequence[Leaf]]]
    ) -> None:
        """Store tiles of a tree, those of level 0 with their leaves."""
        documents: list[Document] = []
        for tile, leaves in tiles:
            document = {
                "attempt": tree_id,
                "made": copy_id,
                "level": tile.level,
                "number": tile.number,
                "hashes": b"".join(tile.hashes),
            }
            if tile.level == 0:
                document["digests"] = b"".join(leaf.digest for leaf in leaves)
                document["salts"] = [leaf.salt for leaf in leaves]
            documents.append(document)
        if documents:
            await self._tiles.insert_many(documents, ordered=False)

    async def finish_tree(self, tree: Tree) -> None:
        """Store the root of a tree all of whose tiles are stored."""
        await self._trees.update_one({"_id": tree.tree_id}, {"$set": {"root": tree.root}})

    async def drop_tree(self, tree_id: ObjectId) -> None:
        """Remove a tree, unless it has got its head."""
        # In this order: without its document a tree gets no head.
        await self._trees.delete_one({"_id": tree_id})
        if await self._heads.find_one({"_id": tree_id}, {"_id": 1}) is None:
            with long_operation():
                await self._tiles.delete_many({"attempt": tree_id})

    async def latest(self, board: str) -> StoredHead | None:
        """Return the latest head of a board, which may be that of a former copy."""
        document = await self._heads.find_one({"board": board}, sort=[("generation", DESCENDING)])
        return None if document is None else _stored(document)

    async def add(self, closed: ClosedBoard, tree: Tree, head: Head, text: str) -> bool:
        """Make a signed head that of its board. Return False, and drop its tree, if the board has changed or has a head."""

        async def work(session: AsyncClientSession) -> None:
            current = {"_id": closed.name, "made": closed.copy_id, "head": None}
            updated = await self._boards.update_one(current, {"$set": {"head": tree.tree_id}}, session=session)
            # A tree without this document may have lost its tiles, see `drop_tree`.
            finished = await self._trees.delete_one({"_id": tree.tree_id}, session=session)
            if not updated.matched_count or not finished.deleted_count:
                raise _ChangedError
            document = {
                "_id": tree.tree_id,
                "board": closed.name,
                "made": closed.copy_id,
                "generation": head.generation,
                "root": head.root,
                "players": head.players,
                "text": text,
                **_UNANNOUNCED,
            }
            await self._heads.insert_one(document, session=session)

        try:
            async with self._client.start_session() as session:
                await session.with_transaction(work)
        except (DuplicateKeyError, _ChangedError):
            await self.drop_tree(tree.tree_id)
            return False
        return True

    async def remove_abandoned(self, now: datetime) -> None:
        """Remove the trees without a head that were begun more than a day ago."""
        async for document in every_document(self._trees.find({"at": {"$lt": now - timedelta(days=1)}})):
            await self.drop_tree(document["_id"])

    async def unannounced(self, limit: int) -> list[StoredHead]:
        """Return up to `limit` heads that webhooks have not been told of."""
        return [_stored(document) async for document in self._heads.find(_UNANNOUNCED).limit(limit)]

    async def mark_announced(self, head_ids: Sequence[ObjectId]) -> None:
        """Record that the deliveries of these heads are stored."""
        await self._heads.update_many({"_id": {"$in": list(head_ids)}}, {"$unset": {"announce": ""}})

    async def all(self) -> list[StoredHead]:
        """Return every head, superseded ones too."""
        return [_stored(document) async for document in self._heads.find().sort("_id", ASCENDING)]

    async def closed_board(self, copy_id: ObjectId) -> ClosedBoard | None:
        """Return the board whose current copy this is; None for a former copy."""
        document = await self._boards.find_one({"made": copy_id})
        return None if document is None else ClosedBoard.from_document(document)

    async def tile(self, tree_id: ObjectId, level: int, number: int) -> tuple[bytes, Sequence[Leaf]] | None:
        """Return the hashes of a tile, joined, and at level 0 its leaves; None if it is missing."""
        document = await self._tiles.find_one({"attempt": tree_id, "level": level, "number": number})
        if document is None:
            return None
        digests, salts = document.get("digests", b""), document.get("salts", ())
        leaves = [Leaf(digests[32 * place : 32 * place + 32], salt) for place, salt in enumerate(salts)]
        return document["hashes"], leaves


def salt_field(rank: int) -> tuple[int, str]:
    """Return the number of the tile of level 0 with the salt of this rank, and the name of its field there."""
    number, place = divmod(rank - 1, TILE)
    return number, f"salts.{place}"


class _ChangedError(RuntimeError):
    """The board is not the one that the head was made for."""


def _stored(document: Document) -> StoredHead:
    fields = ("_id", "board", "made", "generation", "root", "players", "text")
    return StoredHead(*(document[field] for field in fields))
