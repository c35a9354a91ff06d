"""Login sessions: whether identity still knows a session whose token is valid by itself.

Checked when a stream opens and every few seconds while it lasts, many sessions per call. Must never refuse or end a stream
because identity is unavailable: until it responds, a valid token is enough.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

import structlog
from cachetools import FIFOCache
from topten.identity.v1.identity_service_pb2 import CheckSessionsRequest

from services.runtime.auth.issuers import SESSION_PREFIX
from services.runtime.batcher import Batcher
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from edge.upstreams import Upstreams

MAX_PER_CALL: Final = 500
CALL_SECONDS: Final = 1.0
# After a failed call, none is tried for this long.
PAUSE_SECONDS: Final = 1.0
MAX_ENDED: Final = 20_000
_log = structlog.get_logger("http.sessions")


class Sessions:
    """Checks sessions at identity. Use from one event loop."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._is_open: Batcher[str, bool] = Batcher("sessions", self._check, max_size=MAX_PER_CALL, max_concurrent=2)
        self._paused_until = float("-inf")
        self._ended: FIFOCache[str, None] = FIFOCache(MAX_ENDED)

    def require_not_ended(self, session_id: str) -> None:
        """Raise UNAUTHENTICATED if an earlier check found that the session has ended. Makes no call."""
        if session_id in self._ended:
            raise _session_ended()

    async def require_open(self, session_id: str) -> None:
        """Raise UNAUTHENTICATED if the session has ended. A token without a session (an empty id) passes."""
        if session_id and not await self._is_open(session_id):
            raise _session_ended()

    async def ended(self, session_ids: Collection[str]) -> set[str]:
        """Return the sessions that have ended."""
        ids = list(session_ids)
        ended: set[str] = set()
        for start in range(0, len(ids), MAX_PER_CALL):
            chunk = ids[start : start + MAX_PER_CALL]
            ended.update(each for each, is_open in zip(chunk, await self._check(chunk), strict=True) if not is_open)
        return ended

    async def _check(self, session_ids: Sequence[str]) -> list[bool]:
        if time.monotonic() < self._paused_until:
            return [True] * len(session_ids)
        try:
            token = await self._upstreams.service_token.get()
            request = CheckSessionsRequest(session_ids=dict.fromkeys(session_ids))
            response = await call(self._upstreams.identity.CheckSessions, request, token=token, timeout=CALL_SECONDS)
        except ServiceError as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            _log.warning("session check failed", reason=error.reason)
            return [True] * len(session_ids)
        ended = set(response.ended)
        # An outside player's session opens again when their block is lifted, so its end is not remembered.
        self._ended.update(dict.fromkeys(each for each in ended if not each.startswith(SESSION_PREFIX)))
        return [session_id not in ended for session_id in session_ids]


def _session_ended() -> ServiceError:
    return ServiceError(Reason.UNAUTHENTICATED, "The session has ended. Sign in again.")
