"""Writes folds behind the ledger, at an interval and at shutdown."""

from __future__ import annotations

from datetime import timedelta

from services.runtime.process.lifecycle import Stage
from services.runtime.process.periodic import Periodic
from services.score.errors import STORE_ERRORS, ReplacedDataError, RetryableError
from services.score.ledger.folds.cache import FoldCache

_TAKE_OVER_EVERY = 10  # flushes


class WriteBehind:
    """A server of the stage PUBLISHER: the last flush comes after counting has stopped."""

    stage = Stage.PUBLISHER

    def __init__(self, folds: FoldCache, interval: timedelta) -> None:
        self._folds = folds
        self._loop = Periodic(
            "write-behind",
            self._flush,
            every=interval,
            at_rest=2,
            retry_on=(*STORE_ERRORS, ReplacedDataError, RetryableError),
            immediately=False,
            stage=self.stage,
        )
        self._flushes = 0

    async def start(self) -> None:
        """Register this worker and take over dead ones before the worker inserts its first row."""
        await self._folds.flush()
        await self._folds.take_over_silent_workers()
        await self._loop.start()

    async def stop(self) -> None:
        """Stop the loop and flush for the last time."""
        await self._loop.stop()
        await self._folds.close()

    async def _flush(self) -> None:
        await self._folds.flush()
        self._flushes += 1
        if self._flushes % _TAKE_OVER_EVERY == 0:
            await self._folds.take_over_silent_workers()
