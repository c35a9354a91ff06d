"""Whether a room that a client names exists: asked before anything is allocated for it.

Most PINs that do not exist are guesses. Without the question each would hold a feed of this process for seconds.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from topten.room.v1.room_pb2 import ROOM_PHASE_ENDED
from topten.room.v1.room_service_pb2 import GetRoomRequest

from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from edge.upstreams import Upstreams

CHECK_SECONDS: Final = 2.0
_REFUSALS: Final = frozenset({Reason.ROOM_NOT_FOUND, Reason.INVALID_ARGUMENT})
_log = structlog.get_logger("rooms")


class ExistingRooms:
    """Checks PINs. Use from one event loop."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._checks: dict[str, asyncio.Task[bool]] = {}

    async def has_ended(self, pin: str) -> bool:
        """Return whether the room with a PIN has ended. Raises ROOM_NOT_FOUND; INVALID_ARGUMENT for a text that is no PIN.

        Asks once for all clients that ask at the same time. While quiz is unavailable, the room is assumed to be open: the
        client's quota bounds what it takes.
        """
        task = self._checks.get(pin)
        if task is None:
            task = self._checks[pin] = asyncio.ensure_future(self._check(pin))
            task.add_done_callback(partial(self._checked, pin))
        return await asyncio.shield(task)

    async def _check(self, pin: str) -> bool:
        token = await self._upstreams.service_token.get()
        request = GetRoomRequest(pin=pin)
        try:
            response = await call(self._upstreams.room.GetRoom, request, token=token, timeout=CHECK_SECONDS)
        except ServiceError as error:
            if error.reason in _REFUSALS:
                raise
            _log.warning("room not checked", reason=error.reason)
            return False
        return bool(response.frame.phase == ROOM_PHASE_ENDED)

    def _checked(self, pin: str, task: asyncio.Task[bool]) -> None:
        del self._checks[pin]
        if not task.cancelled():
            task.exception()  # seen, also if every client has left
