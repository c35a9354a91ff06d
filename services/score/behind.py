"""Writing folds behind the ledger, at an interval and at the end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from services.runtime.lifecycle import Stage, cancel, spawn
from services.score.answers import STORE_ERRORS
from services.score.fold import Folds

# Silent workers are looked for this often, in intervals.
_ADOPT_EVERY = 10
_log = structlog.get_logger("fold")


class WriteBehind:
    """A server of the stage PUBLISHER: its last flush comes when nothing is counted any more."""

    stage = Stage.PUBLISHER

    def __init__(self, folds: Folds, interval: timedelta) -> None:
        self._folds = folds
        self._interval = interval.total_seconds()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """This worker is known, and the rows of workers that died are in the folds, before it inserts any."""
        await self._folds.flush()
        await self._folds.adopt()
        self._task = spawn("write-behind", self._run())

    async def stop(self) -> None:
        """Writes what is left."""
        if self._task is not None:
            await cancel(self._task)
        await self._folds.leave()

    async def _run(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(self._interval)
            turn += 1
            try:
                await self._folds.flush()
                if turn % _ADOPT_EVERY == 0:
                    await self._folds.adopt()
            except STORE_ERRORS as error:
                _log.warning("folds are not written yet", error=type(error).__name__)
