"""Erases a player: removes their personal data from everything that score stores.

Their row of kind PLAYER_ERASED takes them off the boards, as a block would; this does the rest, as often as identity asks
for it. At once: origins of their actions, which notices they have seen, flags, deliveries to webhooks about them, the
content of dead letters, and their name in closed periods, whose entries stay. Last, once no write that started before that
row can be in progress: the user id in their rows and fold, the texts that are hashed as digests, and the fences that kept
them off the boards.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from redis.asyncio import Redis

from services.boards.proofs.pseudonyms import pseudonym_of
from services.score.errors import store_errors_as_unavailable
from services.score.fairplay.flag_store import FlagStore
from services.score.ingest.dead_letter_store import DeadLetterStore
from services.score.ledger.folds.cache import FoldCache
from services.score.ledger.folds.fold import Fold
from services.score.ledger.store import ScoreStore
from services.score.ledger.times import time_of
from services.score.notices.seen_store import SeenStore
from services.score.periods.archive_store import ArchiveStore
from services.score.projection.board_writer import BoardWriter, TooOldError, by_board
from services.score.projection.rebuild import REBUILD_KEY, server_time, shards_in
from services.score.projection.standings import unranked
from services.score.webhooks.delivery_store import DeliveryStore
from services.score.webhooks.top_store import TopStore


class PlayerEraser:
    """`now` returns milliseconds."""

    def __init__(
        self,
        store: ScoreStore,
        folds: FoldCache,
        seen: SeenStore,
        flags: FlagStore,
        deliveries: DeliveryStore,
        tops: TopStore,
        dead_letters: DeadLetterStore,
        archive: ArchiveStore,
        writer: BoardWriter,
        redis: Redis,
        *,
        fence_ttl: timedelta,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._folds = folds
        self._seen = seen
        self._flags = flags
        self._deliveries = deliveries
        self._tops = tops
        self._dead_letters = dead_letters
        self._archive = archive
        self._writer = writer
        self._redis = redis
        self._fence_ms = int(fence_ttl.total_seconds() * 1000)
        self._now = now

    async def erase(self, user_id: str) -> tuple[str, bool]:
        """Return the player's pseudonym, and whether the erasure is complete. Idempotent. Raises UNAVAILABLE."""
        pseudonym = pseudonym_of(self._store.digests.chain(user_id))
        async with store_errors_as_unavailable():
            await self._store.origins.delete(user_id)
            await self._seen.erase(user_id)
            await self._flags.erase(user_id)
            await self._deliveries.erase(user_id)
            await self._tops.erase(user_id)
            await self._dead_letters.erase(user_id, pseudonym)
            await self._archive.rename(user_id, pseudonym)
            fold = (await self._folds.catch_up({user_id}))[user_id]
            if not fold.erased or await self._may_be_written(fold.recorded_at):
                return pseudonym, False
            try:
                await self._remove_from_boards(fold)
            except TooOldError:
                return pseudonym, False
            await self._writer.remove_fences(user_id)
            await self._store.erase_names(user_id, pseudonym)
        return pseudonym, True

    async def _remove_from_boards(self, fold: Fold) -> None:
        """Remove the player from every board: the worker that counted the erasure may have died before writing them."""
        boards = {shard.board async for shard in shards_in(self._redis, time_of(self._now()))}
        standings = by_board(unranked(fold, board) for board in boards)
        await self._writer.write(standings, started_at=await server_time(self._redis), generation=0)

    async def _may_be_written(self, recorded_at: int) -> bool:
        """Return whether a write may be in progress that read the player before this time.

        A batch older than half the life of a fence is refused; the whole life leaves room for clocks that differ. A rebuild
        may have read the fold as it was before, and needs the user id in the row to undo that.
        """
        return self._now() - recorded_at < self._fence_ms or bool(await self._redis.exists(REBUILD_KEY))
