"""The use cases of score that are asked for; counting is the worker's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from services.runtime.errors import Reason, ServiceError
from services.runtime.lifecycle import cancel
from services.score.available import available
from services.score.ledger import Origin, Row, Total
from services.score.reports import At, Checked, Found, Progress, Rebuilt

_DEFAULT_PAGE = 20
_NEWEST = 2**31
_SEES_ALL = frozenset({"moderator", "admin", "service"})


class Ledger(Protocol):
    """Reading totals and rows."""

    async def last_total(self, user_id: str) -> tuple[int, Total]:
        """Revision and total of a player's last row."""

    async def rows_before(self, user_id: str, revision: int, limit: int) -> list[Row]:
        """A player's rows below a revision, the newest first."""

    async def origins(self, event_ids: Sequence[str]) -> Mapping[str, Origin]:
        """Where these actions came from, as far as that is still kept."""


class Maker(Protocol):
    """Making boards anew."""

    async def make(self, progress: Progress) -> Rebuilt:
        """Makes them."""


class Check(Protocol):
    """One check of everything."""

    def run(self) -> AsyncIterator[At | Found | Checked]:
        """Progress, findings, and the summary last."""


class ScoreNow(NamedTuple):
    """A player's total and the revision it stands at."""

    user_id: str
    total: int
    revision: int


class Change(NamedTuple):
    """A row of the ledger with where its action came from, if that is known and may be seen."""

    row: Row
    origin: Origin | None


class ScoreService:
    """Every method raises UNAVAILABLE if a store does not answer."""

    def __init__(self, ledger: Ledger, maker: Maker, check: Callable[[], Check]) -> None:
        self._ledger = ledger
        self._maker = maker
        self._check = check

    async def get_score(self, user_id: str, *, asker: str, roles: frozenset[str]) -> ScoreNow:
        """The player's total; 0 at revision 0 if he has no row. Raises PERMISSION_DENIED for a player's other."""
        if asker != user_id and not roles & _SEES_ALL:
            raise ServiceError(Reason.PERMISSION_DENIED, "only your own score")
        async with available():
            revision, total = await self._ledger.last_total(user_id)
        return ScoreNow(user_id, total.points, revision)

    async def history(
        self, user_id: str, limit: int, token: str, *, asker: str, roles: frozenset[str]
    ) -> tuple[list[Change], str]:
        """A player's rows, the newest first, and the token of the next page; `limit` 1 to 100, 0 is 20.

        Addresses and user agents are for those who see everybody. Raises PERMISSION_DENIED for a player's other,
        INVALID_ARGUMENT for a token that is none.
        """
        if asker != user_id and not roles & _SEES_ALL:
            raise ServiceError(Reason.PERMISSION_DENIED, "only your own history")
        limit = limit or _DEFAULT_PAGE
        async with available():
            rows = await self._ledger.rows_before(user_id, _revision_of(token), limit + 1)
            shown = rows[:limit]
            sees_origins = bool(roles & _SEES_ALL)
            origins = await self._ledger.origins([row.event_id for row in shown]) if sees_origins else {}
        next_token = str(shown[-1].revision) if len(rows) > limit else ""
        return [Change(row, origins.get(row.event_id)) for row in shown], next_token

    async def verify_scores(self) -> AsyncIterator[At | Found | Checked]:
        """Progress and findings as they come, the summary last."""
        async with available():
            async for step in self._check().run():
                yield step

    async def rebuild_boards(self) -> AsyncIterator[At | Rebuilt]:
        """Makes every board anew: progress as it comes, what was made last.

        If the caller goes away, a rebuild that has begun is taken up again by the heartbeat.
        """
        steps: asyncio.Queue[At] = asyncio.Queue()
        async with available():
            work = asyncio.create_task(self._maker.make(lambda *step: steps.put_nowait(At(*step))))
            try:
                while not work.done() or not steps.empty():
                    step = asyncio.ensure_future(steps.get())
                    await asyncio.wait({work, step}, return_when=asyncio.FIRST_COMPLETED)
                    if step.done():
                        yield step.result()
                    else:
                        step.cancel()
                yield work.result()
            finally:
                await cancel(work)


def _revision_of(token: str) -> int:
    """The revision below which a page begins."""
    if not token:
        return _NEWEST
    if token.isascii() and token.isdigit() and int(token) <= _NEWEST:
        return int(token)
    violation = ("page_token", "is not a token of this list")
    raise ServiceError(Reason.INVALID_ARGUMENT, "The page token is not valid.", violations=[violation])
