"""Ending blocks whose time is over, about once a second."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from services.identity.moderation import Moderation
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import cancel, spawn

LOOK_SECONDS: Final = 1.0
PAGE: Final = 100
_log = structlog.get_logger("expiry")


class Expiry:
    """A server: between `start` and `stop` it looks."""

    def __init__(self, moderation: Moderation) -> None:
        self._moderation = moderation
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to look."""
        self._task = spawn("expiry", self._run())

    async def stop(self) -> None:
        """Stops looking."""
        if self._task is not None:
            await cancel(self._task)

    async def _run(self) -> None:
        while True:
            try:
                while await self._moderation.end_expired(PAGE) == PAGE:
                    pass
            except ServiceError as error:
                _log.warning("blocks are not ended yet", reason=error.reason)
            await asyncio.sleep(LOOK_SECONDS)
