"""The use cases of score that are asked for; counting is the worker's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from services.runtime.errors import Reason, ServiceError
from services.runtime.lifecycle import cancel
from services.score.answers import STORE_ERRORS
from services.score.ledger import Total
from services.score.reports import At, BoardsLostError, Checked, Found, Progress, Rebuilt

_SEES_ALL = frozenset({"moderator", "admin", "service"})


class Ledger(Protocol):
    """Reading totals."""

    async def last_total(self, user_id: str) -> tuple[int, Total]:
        """Revision and total of a player's last row."""


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
        async with _available():
            revision, total = await self._ledger.last_total(user_id)
        return ScoreNow(user_id, total.points, revision)

    async def verify_scores(self) -> AsyncIterator[At | Found | Checked]:
        """Progress and findings as they come, the summary last."""
        async with _available():
            async for step in self._check().run():
                yield step

    async def rebuild_boards(self) -> AsyncIterator[At | Rebuilt]:
        """Makes every board anew: progress as it comes, what was made last.

        If the caller goes away, a rebuild that has begun is taken up again by the heartbeat.
        """
        steps: asyncio.Queue[At] = asyncio.Queue()
        async with _available():
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


@asynccontextmanager
async def _available() -> AsyncIterator[None]:
    try:
        yield
    except STORE_ERRORS as error:
        raise ServiceError(Reason.UNAVAILABLE, "a store does not answer at this moment") from error
    except BoardsLostError as error:
        raise ServiceError(Reason.UNAVAILABLE, "the boards were lost while they were made") from error
