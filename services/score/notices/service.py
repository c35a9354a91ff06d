"""The use cases of notices: what a player has not seen, and that they have seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from services.score.errors import store_errors_as_unavailable
from services.score.notices.notice import Notice, notices_of

if TYPE_CHECKING:
    from services.score.ledger.store import ScoreStore
    from services.score.notices.seen_store import SeenStore

_MAX_NOTICES: Final = 20
_MAX_ROWS: Final = 100


class Unseen(NamedTuple):
    """The notices of a player, newest first, and the revision up to which they are seen once these are."""

    notices: list[Notice]
    through: int


class Notices:
    """Every method raises UNAVAILABLE if the store is away."""

    def __init__(self, store: ScoreStore, seen: SeenStore) -> None:
        self._store = store
        self._seen = seen

    async def unseen(self, user_id: str) -> Unseen:
        """Return the newest notices that the player has not seen, at most 20, made of at most 100 rows."""
        async with store_errors_as_unavailable():
            through = await self._seen.through(user_id)
            rows = await self._store.amendments_after(user_id, through, _MAX_ROWS)
        return Unseen(notices_of(rows)[:_MAX_NOTICES], rows[0].revision if rows else through)

    async def mark_seen(self, user_id: str, through: int) -> int:
        """Record that the player has seen notices up to a revision, and return what is recorded. It never goes back.

        A revision above the player's last row counts as that of the last row, so that no later notice is missed.
        """
        async with store_errors_as_unavailable():
            last, _ = await self._store.last_total(user_id)
            if not last:
                return 0
            return await self._seen.raise_to(user_id, min(through, last))

    async def seen_through(self, user_id: str) -> int:
        """Return the revision up to which the player has seen notices; 0 if none."""
        async with store_errors_as_unavailable():
            return await self._seen.through(user_id)
