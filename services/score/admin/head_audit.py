"""Compares the signed heads of closed boards with the entries of these boards. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.boards.proofs.merkle import TILE, Tile, TreeBuilder
from services.boards.proofs.pseudonyms import is_pseudonym
from services.boards.proofs.signed_heads import entry_leaf, player_digest, read_head
from services.score.periods.head_store import HeadStore, Leaf, StoredHead


class HeadAudit:
    """Memory is a page of entries and a tile per level. Raises store errors."""

    def __init__(self, heads: HeadStore) -> None:
        self._heads = heads

    async def heads(self) -> list[StoredHead]:
        """Return the heads to check, superseded ones too: their copies of the boards are kept."""
        return await self._heads.all()

    async def fault(self, head: StoredHead) -> str:
        """Return the first fault of a head, or an empty text.

        A player may be erased between two reads, so a first fault is confirmed by another read.
        """
        return await self._fault(head) and await self._fault(head)

    async def _fault(self, stored: StoredHead) -> str:
        try:
            head = read_head(stored.text).head
        except ValueError as error:
            return str(error)
        if (head.board, head.generation, head.root, head.players) != (
            stored.board,
            stored.generation,
            stored.root,
            stored.players,
        ):
            return "what is signed is not what is stored beside it"
        closed = await self._heads.closed_board(stored.copy_id)
        if closed is not None and (closed.name, closed.players, closed.ends_at, closed.closed_at) != (
            head.board,
            head.players,
            head.ends_at,
            head.closed_at,
        ):
            return "what is signed is not the closed board"
        return await self._fault_of_tree(stored)

    async def _fault_of_tree(self, stored: StoredHead) -> str:
        builder = TreeBuilder()
        leaves: Sequence[Leaf] = ()
        async for user_id, rank, score in self._heads.entries(stored.board, stored.copy_id):
            number, place = divmod(builder.size, TILE)
            if place == 0:
                tile = await self._heads.tile(stored.head_id, 0, number)
                leaves = () if tile is None else tile[1]
            if rank != builder.size + 1 or place >= len(leaves):
                return f"the entry or the leaf of rank {builder.size + 1} is missing"
            digest, salt = leaves[place]
            # An erased player's leaf says nothing, and its salt may be about to go.
            if not is_pseudonym(user_id) and (not salt or player_digest(salt, user_id) != digest):
                return f"the leaf of rank {rank} is not that of its player"
            fault = await self._fault_of_tiles(stored, builder.append(entry_leaf(digest, rank, score)))
            if fault:
                return fault
        fault = await self._fault_of_tiles(stored, builder.partial_tiles())
        if not fault and (builder.size, builder.root()) != (stored.players, stored.root):
            return "the signed root is not that of the entries"
        return fault

    async def _fault_of_tiles(self, stored: StoredHead, tiles: Iterable[Tile]) -> str:
        for tile in tiles:
            found = await self._heads.tile(stored.head_id, tile.level, tile.number)
            if found is None or found[0] != b"".join(tile.hashes):
                return f"tile {tile.number} of level {tile.level} is not that of the entries"
        return ""
