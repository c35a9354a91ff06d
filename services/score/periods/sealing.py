"""Gives every closed board a signed head: the root of a Merkle tree over its entries, signed by identity.

A board without one gets it, whatever the cause: its period was just closed, it was resealed, an earlier version closed it, or
identity was away. The entries are streamed, so memory does not grow with the board, and the event loop is free between pages.
A crash leaves a tree that nothing refers to; it is built again. A tree that only lacks its signature is kept and signed.

One worker does this at a time, under a lease; if two do, one head wins.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from bson import ObjectId
from topten.identity.v1.identity_service_pb2 import SignBoardHeadRequest

from services.boards.board import Board, period_of
from services.boards.periods.closed import ClosedBoard
from services.boards.proofs.merkle import HASH_BYTES, Tile, TreeBuilder
from services.boards.proofs.pseudonyms import is_pseudonym
from services.boards.proofs.signed_heads import SALT_BYTES, Head, entry_leaf, player_digest
from services.runtime.auth.service_token import ServiceToken
from services.runtime.grpc.client import call
from services.score.coordination_store import CoordinationStore
from services.score.periods.head_store import HeadStore, Leaf, Tree

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

_LEASE: Final = timedelta(seconds=30)
_LEASE_NAME: Final = "sealing"
# A tile of leaves has 20 KiB.
_TILES_PER_WRITE: Final = 16
_log = structlog.get_logger("sealing")


class HeadSigner:
    """Has heads signed by identity."""

    def __init__(self, identity: IdentityServiceAsyncStub, token: ServiceToken) -> None:
        self._identity = identity
        self._token = token

    async def sign(self, head: Head) -> str:
        """Return the signed head. Raises ServiceError."""
        request = SignBoardHeadRequest(
            board=head.board,
            players=head.players,
            generation=head.generation,
            root=head.root,
            supersedes=head.supersedes,
        )
        request.starts_at.FromDatetime(head.starts_at)
        request.ends_at.FromDatetime(head.ends_at)
        request.closed_at.FromDatetime(head.closed_at)
        return (await call(self._identity.SignBoardHead, request, token=await self._token.get())).head


class PeriodSealer:
    """`sign` is that of `HeadSigner`."""

    def __init__(
        self,
        heads: HeadStore,
        coordination: CoordinationStore,
        sign: Callable[[Head], Awaitable[str]],
        worker_id: str,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._heads = heads
        self._coordination = coordination
        self._sign = sign
        self._worker_id = worker_id
        self._now = now
        self._unsealable: set[ObjectId] = set()

    async def step(self) -> None:
        """Seal the boards that have no signed head. Raises store errors, and ServiceError while identity is away."""
        if not await self._has_lease():
            return
        await self._heads.remove_abandoned(self._now())
        for closed in await self._heads.boards_without_head():
            if closed.copy_id in self._unsealable:
                continue
            if not await self._has_lease():
                return
            try:
                await self._seal(closed)
            except _IncompleteBoardError as error:
                self._unsealable.add(closed.copy_id)
                _log.error("closed board cannot be sealed", board=closed.name, reason=str(error))

    async def _seal(self, closed: ClosedBoard) -> None:
        tree = await self._heads.unsigned_tree(closed.copy_id) or await self._build(closed)
        if tree is None:
            return
        starts_at = closed.starts_at
        if starts_at is None:  # an earlier version closed it, which knew weeks and months in UTC
            period = period_of(Board.parse(closed.name, closed.ends_at))
            assert period is not None, "only boards of periods were closed"
            starts_at = period.starts_at
        former = await self._heads.latest(closed.name)
        head = Head(
            board=closed.name,
            starts_at=starts_at.astimezone(UTC),
            ends_at=closed.ends_at.astimezone(UTC),
            closed_at=closed.closed_at.astimezone(UTC),
            players=closed.players,
            generation=1 if former is None else former.generation + 1,
            root=tree.root,
            supersedes=b"" if former is None else former.root,
        )
        text = await self._sign(head)
        if await self._heads.add(closed, tree, head, text):
            _log.info("board sealed", board=closed.name, players=closed.players, generation=head.generation)

    async def _build(self, closed: ClosedBoard) -> Tree | None:
        """Build the tree of a board. Return None if the lease was lost. Raises _IncompleteBoardError."""
        tree_id = await self._heads.begin_tree(closed.copy_id, self._now())
        builder = TreeBuilder()
        leaves: list[Leaf] = []
        tiles: list[tuple[Tile, list[Leaf]]] = []
        async for user_id, rank, score in self._heads.entries(closed.name, closed.copy_id):
            if rank != builder.size + 1:
                break
            leaf = _new_leaf(user_id)
            leaves.append(leaf)
            for tile in builder.append(entry_leaf(leaf.digest, rank, score)):
                tiles.append((tile, leaves))
                if tile.level == 0:
                    leaves = []
            if len(tiles) >= _TILES_PER_WRITE:
                await self._heads.add_tiles(tree_id, closed.copy_id, tiles)
                tiles = []
                if not await self._has_lease():
                    await self._heads.drop_tree(tree_id)
                    return None
        if builder.size != closed.players:
            await self._heads.drop_tree(tree_id)
            raise _IncompleteBoardError(f"rank {builder.size + 1} of {closed.players} is missing")
        tiles += ((tile, leaves) for tile in builder.partial_tiles())
        await self._heads.add_tiles(tree_id, closed.copy_id, tiles)
        tree = Tree(tree_id, builder.root())
        await self._heads.finish_tree(tree)
        return tree

    async def _has_lease(self) -> bool:
        return await self._coordination.take_lease(self._worker_id, _LEASE, _LEASE_NAME)


class _IncompleteBoardError(RuntimeError):
    """The entries of a closed board are not its ranks."""


def _new_leaf(user_id: str) -> Leaf:
    """Return a leaf that says nothing without its salt; that of an erased player has none."""
    if is_pseudonym(user_id):
        return Leaf(secrets.token_bytes(HASH_BYTES), b"")
    salt = secrets.token_bytes(SALT_BYTES)
    return Leaf(player_digest(salt, user_id), salt)
