"""Proofs of places on closed boards, read from their trees in MongoDB. Reads only."""

from __future__ import annotations

from typing import Any, NamedTuple

from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from services.boards.board import Board
from services.boards.encoding import points_of
from services.boards.periods.closed import BOARDS, ENTRIES
from services.boards.proofs.merkle import HASH_BYTES, TILE, path_of, root_of, tiles_of_path
from services.boards.proofs.signed_heads import HEADS, TILES, entry_leaf
from services.leaderboard.reading.archive import Archive

Document = dict[str, Any]


class Proof(NamedTuple):
    """A player's place on a closed board, and what proves it (see `topten.leaderboard.v1.Proof`)."""

    rank: int
    score: int
    salt: bytes
    digest: bytes
    path: list[bytes]
    head: str


class NotClosedError(Exception):
    """The board has no archived copy."""


class NotRankedError(Exception):
    """The player has no place on the board."""


class NotSealedError(Exception):
    """The board has no signed head yet."""


class Proofs:
    """Reads proofs within the time limit of the archive: at most two tiles, 16 KiB of hashes, for each factor of 256."""

    def __init__(self, database: AsyncDatabase[Document], archive: Archive) -> None:
        self._archive = archive
        self._boards = database[BOARDS]
        self._entries = database[ENTRIES]
        self._heads = database[HEADS]
        self._tiles = database[TILES]

    async def of(self, board: Board, user_id: str) -> Proof:
        """Return the proof of a player's place, which holds.

        Raises NotClosedError, NotRankedError, NotSealedError, and UnreadableError if MongoDB does not respond.
        """
        return await self._archive.read(self._read(board, user_id))

    async def _read(self, board: Board, user_id: str) -> Proof:
        closed = await self._boards.find_one({"_id": board.name})
        if closed is None:
            raise NotClosedError
        entry = await self._entries.find_one({"made": closed["made"], "user_id": user_id})
        if entry is None:
            raise NotRankedError
        head = await self._heads.find_one({"_id": closed["head"]}) if closed.get("head") else None
        if head is None:
            raise NotSealedError
        index, size = entry["rank"] - 1, head["players"]
        tiles = await self._read_tiles(head["_id"], index, size)
        number, place = divmod(index, TILE)
        leaves = tiles[0, number]
        digest, salt = _hash_in(leaves["digests"], place), bytes(leaves["salts"][place])

        def hash_at(level: int, position: int) -> bytes:
            number, place = divmod(position, TILE)
            return _hash_in(tiles[level, number]["hashes"], place)

        path = path_of(index, size, hash_at)
        score = points_of(entry["value"], ascending=closed.get("ascending", False))
        if root_of(entry_leaf(digest, entry["rank"], score), index, size, path) != head["root"]:
            raise RuntimeError(f"the tree of {board.name} is not that of its entries: `topten verify` says where")
        return Proof(entry["rank"], score, salt, digest, path, head["text"])

    async def _read_tiles(self, head_id: ObjectId, index: int, size: int) -> dict[tuple[int, int], Document]:
        wanted = [{"level": level, "number": number} for level, number in tiles_of_path(index, size)]
        found = self._tiles.find({"attempt": head_id, "$or": wanted})
        return {(tile["level"], tile["number"]): tile async for tile in found}


def _hash_in(hashes: bytes, place: int) -> bytes:
    return bytes(hashes[HASH_BYTES * place : HASH_BYTES * (place + 1)])
