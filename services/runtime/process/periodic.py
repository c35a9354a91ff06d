"""A background loop: run a step, pause, run it again, from the start of a process to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import structlog

from services.runtime.process.activity import PROCESS
from services.runtime.process.lifecycle import Stage, cancel, spawn

_log = structlog.get_logger("periodic")


class Periodic:
    """Runs `step`, then pauses for `every`, until it is stopped. A server (see `lifecycle`).

    An exception in `retry_on` is logged, counts as work, and the step runs again after the pause; any other ends the
    process, as that of every background task does. With `immediately=False` the first run comes after the first pause.
    `stop` cancels a step that is under way.

    While the process has no work, pauses are `at_rest` times as long; the first work ends such a pause after `every`.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[Any]],
        *,
        every: timedelta,
        retry_on: tuple[type[Exception], ...] = (),
        immediately: bool = True,
        at_rest: int = 1,
        stage: Stage = Stage.INBOUND,
    ) -> None:
        self.stage = stage
        self._name = name
        self._step = step
        self._pause = every.total_seconds()
        self._retry_on = retry_on
        self._immediately = immediately
        self._at_rest = at_rest
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the loop."""
        self._task = spawn(self._name, self._run())

    async def stop(self) -> None:
        """Cancel the loop and wait for its end. Does nothing if it was never started."""
        if self._task is not None:
            await cancel(self._task)

    async def _run(self) -> None:
        if not self._immediately:
            await self._wait()
        while True:
            try:
                await self._step()
            except self._retry_on as error:
                _log.warning("periodic step failed", step=self._name, error=type(error).__name__)
                PROCESS.note()  # until the step succeeds again
                await asyncio.sleep(self._pause)
            else:
                await self._wait()

    async def _wait(self) -> None:
        if self._at_rest == 1 or PROCESS.works_for(0):
            await asyncio.sleep(self._pause)
        elif await PROCESS.rest(self._pause * self._at_rest):
            # As soon as it would have run if the process had worked all along, not in front of the first action.
            await asyncio.sleep(self._pause)
