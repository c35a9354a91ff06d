"""What is personal of an erased player, taken out of everything that score keeps.

His row of kind PLAYER_ERASED takes him from the boards, as a block would; this does the rest, as often as identity asks
for it. At once: where his actions came from, flags about him, what letters say of him, and his name in closed periods,
whose places stay. Last, when nothing that began before that row can write any more: the user id in his rows and fold, the
words in them that are hashed as digests, and the fences that kept him off the boards.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from redis.asyncio import Redis

from services.runtime.erased import pseudonym_of
from services.score.archive import Archive
from services.score.available import available
from services.score.board_writer import BoardWriter, TooOldError, by_board
from services.score.dead_letters import DeadLetters
from services.score.flags import Flags
from services.score.fold import Folds
from services.score.ledger import Fold
from services.score.rebuild import REBUILD_KEY, parts_in, server_time
from services.score.standings import Standing, time_of
from services.score.store import ScoreStore


class Eraser:
    """`now` is in milliseconds."""

    def __init__(
        self,
        store: ScoreStore,
        folds: Folds,
        flags: Flags,
        letters: DeadLetters,
        archive: Archive,
        writer: BoardWriter,
        redis: Redis,
        *,
        fence_ttl: timedelta,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._folds = folds
        self._flags = flags
        self._letters = letters
        self._archive = archive
        self._writer = writer
        self._redis = redis
        self._fence_ms = int(fence_ttl.total_seconds() * 1000)
        self._now = now

    async def erase(self, user_id: str) -> tuple[str, bool]:
        """The player's pseudonym, and whether nothing names him any more. Doing it again is safe. Raises UNAVAILABLE."""
        pseudonym = pseudonym_of(self._store.seals.chain(user_id))
        async with available():
            await self._store.forget_origins(user_id)
            await self._flags.forget(user_id)
            await self._letters.forget(user_id, pseudonym)
            await self._archive.rename(user_id, pseudonym)
            fold = (await self._folds.mend({user_id}))[user_id]
            if not fold.erased or await self._may_be_written(fold.recorded_at):
                return pseudonym, False
            try:
                await self._take_down(fold)
            except TooOldError:
                return pseudonym, False
            await self._writer.unfence(user_id)
            await self._store.rename(user_id, pseudonym)
        return pseudonym, True

    async def _take_down(self, fold: Fold) -> None:
        """From every board that there is: the worker that counted the erasure may have died before it came to them."""
        boards = {part.board async for part in parts_in(self._redis, time_of(self._now()))}
        places = by_board(Standing(board, fold.user_id, 0, 0.0, fold.revision, lowered=True) for board in boards)
        await self._writer.write(places, begun_at=await server_time(self._redis), generation=0)

    async def _may_be_written(self, recorded_at: int) -> bool:
        """Whether somebody may be writing to a board who read the player before this time.

        A batch that began longer ago than half a fence's life is refused; the whole life leaves room for clocks that
        differ. A rebuild may have read a fold as it was before, and needs the user id in the row to take that back.
        """
        return self._now() - recorded_at < self._fence_ms or bool(await self._redis.exists(REBUILD_KEY))
