"""The use cases of score that callers request; counting is the worker's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from services.boards.board import Board
from services.runtime.clock import milliseconds_of
from services.runtime.errors import Reason, ServiceError
from services.runtime.page_tokens import list_of, page_token, read_page_token
from services.runtime.uuid7 import time_of_uuid7
from services.score.admin.progress import Progress, rebuild_with_progress
from services.score.admin.repair import verify_and_repair
from services.score.admin.verify import Finding, Verification, VerifySummary
from services.score.errors import store_errors_as_unavailable
from services.score.fairplay.flag_store import Flag, FlagStore
from services.score.ingest.dead_letter_store import DeadLetterStore
from services.score.ledger.events import Origin
from services.score.ledger.folds.cache import MARGIN, FoldCache
from services.score.ledger.rows import Row
from services.score.ledger.seals import Seal
from services.score.ledger.store import EventKey, ScoreStore
from services.score.ledger.times import time_of
from services.score.projection.archived_boards import archived_before, boards_of_rows, last_archiving
from services.score.projection.loss_detection import LossDetector
from services.score.projection.rebuild import RebuildSummary
from services.score.projection.standings import Placement
from services.streams import COUNTERS_ADDED

if TYPE_CHECKING:
    from services.boards.caller_groups import CallerGroups
    from services.runtime.auth.claims import Claims

_DEFAULT_PAGE = 20
_EVENT_PAGE = 500
_EXPORT_PAGE = 200
_MAX_EXPORTED_BOARDS = 500
_MAX_REVISION = 2**31
_EFFECT_READS, _EFFECT_PAUSE = 40, 0.05
_HISTORY, _FLAGS = "history", "flags"


class Score(NamedTuple):
    """A player's total and its revision."""

    user_id: str
    total: int
    revision: int


class ScoreChange(NamedTuple):
    """A row of the ledger, and the origin of its action if that is known and the caller may see it."""

    row: Row
    origin: Origin | None


class EventLocation(NamedTuple):
    """Where an event is. `counted` is player and delta of its row; without one it may be a dead letter, or unknown yet."""

    event_id: str
    counted: tuple[str, int] | None
    is_dead_letter: bool


class EventEffect(NamedTuple):
    """What an event changed: the total, and the boards; `unchanged` are closed and archived ones that it did not reach."""

    delta: int
    new_total: int
    changed: list[Board]
    unchanged: list[Board]


class CountedEvent(NamedTuple):
    """An event in the ledger. `counted_after_restore`: made before MongoDB's data was replaced, and counted after."""

    event_id: str
    user_id: str
    kind: str
    counted_after_restore: bool


class PlayerExport(NamedTuple):
    """A page of what is stored about a player."""

    changes: list[ScoreChange]
    flags: list[Flag]
    boards: list[Board]
    next_page_token: str


class ScoreService:
    """Every method raises UNAVAILABLE if a store is away. `now` returns milliseconds."""

    def __init__(
        self,
        store: ScoreStore,
        folds: FoldCache,
        flags: FlagStore,
        dead_letters: DeadLetterStore,
        placement: Placement,
        loss_detector: LossDetector,
        verification: Callable[[], Verification],
        now: Callable[[], int],
        replacements: Callable[[], Awaitable[Sequence[datetime]]],
        caller_groups: CallerGroups,
    ) -> None:
        """`replacements` returns when MongoDB's data was replaced."""
        self._store = store
        self._folds = folds
        self._flags = flags
        self._dead_letters = dead_letters
        self._placement = placement
        self._loss_detector = loss_detector
        self._verification = verification
        self._now = now
        self._replacements = replacements
        self._caller_groups = caller_groups

    async def get_score(self, user_id: str, *, caller_id: str, sees_all: bool) -> Score:
        """Return the player's total; 0 at revision 0 without rows. Raises PERMISSION_DENIED for another player's."""
        if caller_id != user_id and not sees_all:
            raise ServiceError(Reason.PERMISSION_DENIED, "You can read only your own score.")
        async with store_errors_as_unavailable():
            revision, total = await self._store.last_total(user_id)
        return Score(user_id, total.points, revision)

    async def history(
        self, user_id: str, limit: int, token: str, *, caller_id: str, sees_all: bool
    ) -> tuple[list[ScoreChange], str]:
        """Return a player's rows, newest first, and the token of the next page; `limit` is 1 to 100, 0 is 20.

        Origins are returned only to callers who see all players. Raises PERMISSION_DENIED for another player's history,
        and INVALID_ARGUMENT for an invalid token.
        """
        if caller_id != user_id and not sees_all:
            raise ServiceError(Reason.PERMISSION_DENIED, "You can read only your own history.")
        return await self._changes(user_id, limit or _DEFAULT_PAGE, token, with_origins=sees_all)

    async def export(self, caller: Claims, token: str) -> PlayerExport:
        """Return a page of everything stored about the calling player. Flags and boards are on the first page.

        Boards that they may not read are left out. Raises INVALID_ARGUMENT for an invalid token.
        """
        user_id = caller.user_id
        changes, next_page_token = await self._changes(user_id, _EXPORT_PAGE, token, with_origins=True)
        flags: list[Flag] = []
        boards: list[Board] = []
        if not token:
            async with store_errors_as_unavailable():
                flags = await self._flags.of_player(user_id, _EXPORT_PAGE)
                fold = (await self._store.current_folds([user_id]))[user_id]
            catalog = self._placement.catalog
            readable = await self._caller_groups.readable(catalog, list(self._placement.boards_of(fold)), caller)
            boards = readable[:_MAX_EXPORTED_BOARDS]
        return PlayerExport(changes, flags, boards, next_page_token)

    async def locate(self, event_ids: Sequence[str]) -> list[EventLocation]:
        """Return the location of each event, in the order given."""
        async with store_errors_as_unavailable():
            counted = await self._store.deltas(event_ids)
            dead = await self._dead_letters.existing([event_id for event_id in event_ids if event_id not in counted])
        return [EventLocation(event_id, counted.get(event_id), event_id in dead) for event_id in event_ids]

    async def event_effect(self, event_id: str) -> EventEffect | None:
        """Return what an event changed; None if it is not counted within 2 s."""
        row = None
        async with store_errors_as_unavailable():
            for _ in range(_EFFECT_READS):
                row = await self._store.row(event_id)
                if row is not None:
                    break
                await asyncio.sleep(_EFFECT_PAUSE)
            if row is None:
                return None
            fold = (await self._store.current_folds([row.user_id]))[row.user_id]
        changed: list[Board] = []
        unchanged: list[Board] = []
        for board in self._placement.affected_boards(fold, row):
            (changed if self._is_reached(board, row) else unchanged).append(board)
        async with store_errors_as_unavailable():
            unchanged += await self._archived(row, fold.country)
        return EventEffect(row.delta, row.total.points, changed, unchanged)

    def _is_reached(self, board: Board, row: Row) -> bool:
        period = self._placement.catalog.period_of(board)
        if period is None or (not row.late and not (row.change and row.change.version)):
            return True
        return milliseconds_of(period.ends_at) > self._placement.agreement.closed_through

    async def _archived(self, row: Row, country: str) -> list[Board]:
        """Return the archived boards that a row concerns: a block or its end concerns those that counted the player."""
        definitions = archived_before(self._placement.catalog, row.recorded_at)
        until, rows = last_archiving(definitions), [row]
        if until is not None and row.change is not None and row.change.version:
            found = self._store.rows_of_period(0, milliseconds_of(until), timedelta(), row.user_id)
            rows = [each async for each in found]
        return boards_of_rows(definitions, country, rows)

    async def flags(self, limit: int, token: str, state: str | None, user_id: str = "") -> tuple[list[Flag], str]:
        """Return a page of flags, newest first, and the token of the next; `limit` is 1 to 100, 0 is 20.

        With `user_id` only that player's. Raises INVALID_ARGUMENT for an invalid token.
        """
        limit = limit or _DEFAULT_PAGE
        after = read_page_token(token, _FLAGS, int, str)
        async with store_errors_as_unavailable():
            flags = await self._flags.page(limit + 1, after, state, user_id)
        page = flags[:limit]
        return page, flag_cursor(page[-1]) if len(flags) > limit else ""

    async def close_flag(self, flag_id: str, note: str, *, by: str) -> Flag:
        """Record a moderator's decision. Raises FLAG_NOT_FOUND."""
        async with store_errors_as_unavailable():
            flag = await self._flags.close(flag_id, by=by, note=note)
        if flag is None:
            raise ServiceError(Reason.FLAG_NOT_FOUND, "No such flag.")
        return flag

    async def counted_events(self) -> AsyncIterator[tuple[list[CountedEvent], int]]:
        """Yield every event in the ledger, up to 500 at a time, with their approximate number."""
        async with store_errors_as_unavailable():
            total, _ = await self._store.count()
            replacements = await self._replacements()
            page: list[CountedEvent] = []
            async for key in self._store.event_keys():
                page.append(
                    CountedEvent(key.event_id, key.user_id, key.kind, was_counted_after_restore(key, replacements))
                )
                if len(page) == _EVENT_PAGE:
                    yield page, total
                    page = []
            yield page, total

    async def verify_scores(
        self, *, repair: bool, actor: str
    ) -> AsyncIterator[Progress | Finding | Seal | VerifySummary]:
        """Verify everything derived from the ledger, and repair it if requested. Yields the summary last.

        `actor` is the account that the seals of a repair name.
        """
        verification = self._verification()
        async with store_errors_as_unavailable():
            if not repair:
                async for step in verification.run():
                    yield step
                return
            async for step in verify_and_repair(
                verification, self._store, self._folds, self._loss_detector, actor=actor, now=self._now
            ):
                yield step

    async def rebuild_boards(self) -> AsyncIterator[Progress | RebuildSummary]:
        """Rebuild every board. Yields progress, and the summary last.

        If the caller goes away, the heartbeat starts a rebuild that was in progress again.
        """
        async with store_errors_as_unavailable():
            async for step in rebuild_with_progress(self._loss_detector.rebuild):
                yield step

    async def _changes(
        self, user_id: str, limit: int, token: str, *, with_origins: bool
    ) -> tuple[list[ScoreChange], str]:
        (before,) = read_page_token(token, list_of(_HISTORY, user_id), int) or (_MAX_REVISION,)
        async with store_errors_as_unavailable():
            rows = await self._store.rows_before(user_id, before, limit + 1, without=COUNTERS_ADDED)
            page = rows[:limit]
            origins = await self._store.origins.of([row.event_id for row in page]) if with_origins else {}
        changes = [ScoreChange(row, origins.get(row.event_id)) for row in page]
        return changes, row_cursor(user_id, page[-1]) if len(rows) > limit else ""


def was_counted_after_restore(key: EventKey, replacements: Sequence[datetime]) -> bool:
    """Whether an event was made before one of these times, and its row recorded after, or a little before."""
    if not replacements:
        return False
    # A block has the id that its caller gave; all others tell when they were made.
    made_at, recorded = time_of_uuid7(key.event_id) or time_of(key.at), time_of(key.recorded_at) + MARGIN
    return any(made_at < replaced <= recorded for replaced in replacements)


def row_cursor(user_id: str, row: Row) -> str:
    """Return the token of the page of a player's history that follows `row`."""
    return page_token(list_of(_HISTORY, user_id), row.revision)


def flag_cursor(flag: Flag) -> str:
    """Return the token of the page of flags that follows `flag`."""
    return page_token(_FLAGS, flag.at, flag.flag_id)
