"""Whether sessions are still open, as identity knows: a token that is good by itself may be of a session that has ended.

Asked when a stream begins and every few seconds while it lasts, many sessions in one call. Must never end or refuse a
stream because identity does not answer: until it does, the token alone counts.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

import structlog
from topten.identity.v1.identity_service_pb2 import CheckSessionsRequest

from services.runtime.errors import Reason, ServiceError
from services.runtime.gathered import Gathered
from services.runtime.grpc_client import call
from services.runtime.issuers import SESSION_PREFIX

if TYPE_CHECKING:
    from edge.upstreams import Upstreams

MAX_ASKED: Final = 500
CALL_SECONDS: Final = 1.0
# After a failed call nobody waits for another for this long.
PAUSE_SECONDS: Final = 1.0
MAX_ENDED: Final = 20_000
_log = structlog.get_logger("stream.sessions")


class Sessions:
    """Asks identity. Use from one event loop."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._is_open: Gathered[str, bool] = Gathered("sessions", self._ask, most=MAX_ASKED, at_once=2)
        self._silent_until = float("-inf")
        # In the order in which it was told of; an outside player's begins again when he is not blocked any more.
        self._ended: OrderedDict[str, None] = OrderedDict()

    def has_ended(self, session_id: str) -> bool:
        """Whether this process was told that the session has ended, at once and without asking anybody."""
        return session_id in self._ended

    async def require(self, session_id: str) -> None:
        """Raises UNAUTHENTICATED if the session has ended; a token of no session (an empty id) has none to end."""
        if session_id and not await self._is_open(session_id):
            raise ServiceError(Reason.UNAUTHENTICATED, "The session has ended. Please sign in again.")

    async def ended(self, session_ids: Collection[str]) -> set[str]:
        """Those of the sessions that are known to have ended."""
        ids = list(session_ids)
        ended: set[str] = set()
        for start in range(0, len(ids), MAX_ASKED):
            asked = ids[start : start + MAX_ASKED]
            ended.update(each for each, is_open in zip(asked, await self._ask(asked), strict=True) if not is_open)
        return ended

    async def _ask(self, session_ids: Sequence[str]) -> list[bool]:
        if time.monotonic() < self._silent_until:
            return [True] * len(session_ids)
        try:
            token = await self._upstreams.service_token.get()
            request = CheckSessionsRequest(session_ids=dict.fromkeys(session_ids))
            answer = await call(self._upstreams.identity.CheckSessions, request, token=token, timeout=CALL_SECONDS)
        except ServiceError as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            _log.warning("sessions can't be checked at this moment", reason=error.reason)
            return [True] * len(session_ids)
        ended = set(answer.ended)
        self._ended.update(dict.fromkeys(each for each in ended if not each.startswith(SESSION_PREFIX)))
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
        return [session_id not in ended for session_id in session_ids]
