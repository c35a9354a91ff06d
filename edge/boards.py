"""Whether a board that a client names exists: decided before anything is allocated for it.

Asks quiz about a quiz's board, leaderboard about a past period and score about boards that teams define, each board once.
The visibility of a defined board is known here within seconds of a change; the leaderboard service, which is called in the
caller's name, checks it again. Existing boards are cached for all clients, other names for each client, so that a client that
makes names up evicts only its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from cachetools import LRUCache, TTLCache
from topten.board.v1.board_service_pb2 import ListBoardsRequest
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest
from topten.quiz.v1.quiz_service_pb2 import GetQuizRequest

from services.boards.board import Board
from services.boards.caller_groups import CallerGroups
from services.boards.catalog import Catalog
from services.boards.existence import Existence, existence_of
from services.boards.messages import defined_board_of
from services.boards.visibility import is_decided_by_groups, is_public, may_read
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.grpc.client import call
from services.runtime.process.periodic import Periodic

if TYPE_CHECKING:
    from edge.upstreams import Upstreams
    from services.runtime.auth.claims import Claims

MAX_EXISTING: Final = 10_000
MAX_CLIENTS: Final = 1_000
MAX_UNKNOWN: Final = 16
UNKNOWN_SECONDS: Final = 5.0
CHECK_SECONDS: Final = 2.0
DEFINITION_PAUSE: Final = timedelta(seconds=1)
# Score is told the edition that is known here only if it was read as lately as this: its data may have gone back since
# then, and have given the number to other definitions.
KNOWN_FOR: Final = timedelta(seconds=10)
REFRESH_EVERY: Final = timedelta(seconds=2)
_log = structlog.get_logger("boards")


class ExistingBoard(NamedTuple):
    """A board that exists, by the one name under which this process knows it; `is_closed` if its period is over."""

    name: str
    is_closed: bool


class ExistingBoards:
    """Checks names of boards. Use from one event loop."""

    def __init__(self, upstreams: Upstreams, catalog: Catalog, *, now: Callable[[], datetime]) -> None:
        self._upstreams = upstreams
        self._caller_groups = CallerGroups(upstreams.group, upstreams.service_token)
        self._catalog = catalog
        self._now = now
        self._existing: LRUCache[str, None] = LRUCache(MAX_EXISTING)
        self._unknown: LRUCache[str, TTLCache[str, None]] = LRUCache(MAX_CLIENTS)
        self._checks: dict[str, asyncio.Task[bool]] = {}
        self._reading: asyncio.Task[bool] | None = None
        self._read_again_at = self._known_until = now()

    def server(self, needed: Callable[[], bool]) -> Periodic:
        """Return the server that keeps the definitions up to date while they are `needed`."""

        async def refresh() -> None:
            if needed():
                await self._read_definitions()

        return Periodic("definitions", refresh, every=REFRESH_EVERY)

    async def find(self, name: str, client: str) -> ExistingBoard:
        """Return the board that a client names; an empty name is `all`. Raises BOARD_NOT_FOUND, UNAVAILABLE.

        While quiz is unavailable, the board of any quiz is assumed to exist: the client's quota bounds what it takes.
        """
        now = self._now()
        try:
            board = self._catalog.parse(name or "all", now)
        except ValueError:
            if not name.startswith("custom:"):
                raise _not_found() from None
            if not await self._read_definitions():
                raise ServiceError(
                    Reason.UNAVAILABLE, "Whether there is such a board cannot be known now. Try again."
                ) from None
            board = self._defined(name, now)
        existence = existence_of(self._catalog, board, now)
        unknown = self._unknown.get(client, ())
        if existence is Existence.NO or board.name in unknown:
            raise _not_found()
        is_known = existence is Existence.YES or board.name in self._existing
        if not is_known and not await self._check(board, existence):
            self._unknown.setdefault(client, TTLCache(MAX_UNKNOWN, UNKNOWN_SECONDS))[board.name] = None
            raise _not_found()
        follows_calendar = self._catalog.follows_calendar(name)
        return ExistingBoard(name if follows_calendar else board.name, existence is Existence.IF_RANKED)

    async def require_readable(self, name: str, caller: Claims) -> str:
        """Raise BOARD_NOT_FOUND for a defined board that the caller may not read, UNAVAILABLE if identity has to say.

        Return the group as whose member alone they may read it; empty if it does not depend on one. A board that is not
        known here passes: the leaderboard service knows it, or does not.
        """
        board = await self._known(name)
        if board is None:
            return ""
        definition = self._catalog.definition_of(board)
        groups = await self._caller_groups.deciding([definition], caller)
        if not may_read(self._catalog, board, caller, groups):
            raise _not_found()
        return definition.group if definition is not None and is_decided_by_groups(definition, caller) else ""

    async def require_public(self, name: str) -> None:
        """Raise INVALID_ARGUMENT for a defined board that is not public."""
        board = await self._known(name)
        if board is not None and not is_public(self._catalog, board):
            fault = "names a board that is not public"
            raise invalid("board", fault, f"The field board {fault}.")

    async def _known(self, name: str) -> Board | None:
        """Return a custom board; None for another one, and for one that is not known after the definitions were read.

        The definitions are read again for the next request; this one does not wait for them if it need not.
        """
        if not name.startswith("custom:"):
            return None
        reading = asyncio.ensure_future(self._read_definitions())
        try:
            return self._catalog.parse(name, self._now())
        except ValueError:
            await reading
        try:
            return self._catalog.parse(name, self._now())
        except ValueError:
            return None

    def _defined(self, name: str, now: datetime) -> Board:
        try:
            return self._catalog.parse(name, now)
        except ValueError:
            raise _not_found() from None

    async def _read_definitions(self) -> bool:
        """Read the definitions of boards, at most once a second. Return whether they could be read."""
        if self._reading is None or (self._reading.done() and self._now() >= self._read_again_at):
            self._read_again_at = self._now() + DEFINITION_PAUSE
            self._reading = asyncio.ensure_future(self._ask_for_definitions())
        return await asyncio.shield(self._reading)

    async def _ask_for_definitions(self) -> bool:
        token, now = await self._upstreams.service_token.get(), self._now()
        edition = self._catalog.edition if now < self._known_until else 0
        request = ListBoardsRequest(edition=edition)
        try:
            response = await call(self._upstreams.board.ListBoards, request, token=token, timeout=CHECK_SECONDS)
        except ServiceError as error:
            _log.warning("definitions of boards not read", reason=error.reason)
            return False
        self._known_until = now + KNOWN_FOR
        if not edition or response.edition != edition:
            boards = [defined_board_of(each) for each in response.boards if not each.declared]
            self._catalog.update(boards, edition=response.edition, numbers=0)
        return True

    async def _check(self, board: Board, existence: Existence) -> bool:
        """Ask once for all clients that ask at the same time."""
        task = self._checks.get(board.name)
        if task is None:
            ask = self._has_quiz(board) if existence is Existence.IF_QUIZ else self._is_ranked(board)
            task = self._checks[board.name] = asyncio.ensure_future(ask)
            task.add_done_callback(partial(self._checked, board.name))
        return await asyncio.shield(task)

    def _checked(self, name: str, task: asyncio.Task[bool]) -> None:
        del self._checks[name]
        if not task.cancelled():
            task.exception()  # seen, also if every client has left

    async def _has_quiz(self, board: Board) -> bool:
        token = await self._upstreams.service_token.get()
        request = GetQuizRequest(quiz_id=board.qualifier)
        try:
            await call(self._upstreams.quiz.GetQuiz, request, token=token, timeout=CHECK_SECONDS)
        except ServiceError as error:
            if error.reason is Reason.QUIZ_NOT_FOUND:
                return False
            _log.warning("quiz of a board not checked", board=board.name, reason=error.reason)
        else:
            self._existing[board.name] = None
        return True

    async def _is_ranked(self, board: Board) -> bool:
        token = await self._upstreams.service_token.get()
        request = GetLeaderboardRequest(board=board.name, limit=1)
        response = await call(self._upstreams.leaderboard.GetLeaderboard, request, token=token, timeout=CHECK_SECONDS)
        if response.frame.entries:
            self._existing[board.name] = None
        # A board that is being filled may lack all who are ranked on it.
        return bool(response.frame.entries) or response.frame.stale


def _not_found() -> ServiceError:
    return ServiceError(Reason.BOARD_NOT_FOUND, "Board not found. Check the name: all, weekly, country:VN, quiz:<id> …")
