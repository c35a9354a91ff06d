"""The use cases of score that are asked for; counting is the worker's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from services.runtime.boards import Board
from services.runtime.errors import Reason, ServiceError
from services.score.available import available
from services.score.flags import Flag
from services.score.ledger import Fold, Origin, Row, Total
from services.score.paging import Place, place_of, token_of
from services.score.repair import Check
from services.score.reports import At, Checked, Found, Progress, Rebuilt, followed

_DEFAULT_PAGE = 20
_AUDIT_PAGE = 500
_EXPORT_PAGE = 200
_MOST_BOARDS = 500
_NEWEST = 2**31


class Ledger(Protocol):
    """Reading totals and rows."""

    async def last_total(self, user_id: str) -> tuple[int, Total]:
        """Revision and total of a player's last row."""

    async def rows_before(self, user_id: str, revision: int, limit: int) -> list[Row]:
        """A player's rows below a revision, the newest first."""

    def counted(self) -> AsyncIterator[tuple[str, str, str]]:
        """Id, player and kind of every event that is counted."""

    async def count(self) -> tuple[int, int]:
        """About how many rows and players there are."""

    async def exact_folds(self, user_ids: Sequence[str]) -> Mapping[str, Fold]:
        """Where players stand."""

    async def origins(self, event_ids: Sequence[str]) -> Mapping[str, Origin]:
        """Where these actions came from, as far as that is still kept."""


class Maker(Protocol):
    """Making boards anew."""

    def make(self, progress: Progress) -> Coroutine[Any, Any, Rebuilt]:
        """Makes them."""


class FlagList(Protocol):
    """What the rules of fair play have seen."""

    async def page(self, limit: int, after: Place | None, state: str | None) -> list[Flag]:
        """Some of it, the newest first."""

    async def of_player(self, user_id: str, limit: int) -> list[Flag]:
        """What was seen of one player, the newest first."""

    async def close(self, flag_id: str, *, by: str, note: str) -> Flag | None:
        """Records a decision."""


class ScoreNow(NamedTuple):
    """A player's total and the revision it stands at."""

    user_id: str
    total: int
    revision: int


class Change(NamedTuple):
    """A row of the ledger with where its action came from, if that is known and may be seen."""

    row: Row
    origin: Origin | None


class Export(NamedTuple):
    """A page of what is kept of a player."""

    changes: list[Change]
    flags: list[Flag]
    boards: list[Board]
    next_token: str


class ScoreService:
    """Every method raises UNAVAILABLE if a store does not answer."""

    def __init__(
        self,
        ledger: Ledger,
        maker: Maker,
        check: Callable[[bool], Check],
        flags: FlagList,
        boards_of: Callable[[Fold], list[Board]],
    ) -> None:
        self._boards_of = boards_of
        self._ledger = ledger
        self._maker = maker
        self._check = check
        self._flags = flags

    async def get_score(self, user_id: str, *, asker: str, sees_all: bool) -> ScoreNow:
        """The player's total; 0 at revision 0 if he has no row. Raises PERMISSION_DENIED for a player's other."""
        if asker != user_id and not sees_all:
            raise ServiceError(Reason.PERMISSION_DENIED, "only your own score")
        async with available():
            revision, total = await self._ledger.last_total(user_id)
        return ScoreNow(user_id, total.points, revision)

    async def history(
        self, user_id: str, limit: int, token: str, *, asker: str, sees_all: bool
    ) -> tuple[list[Change], str]:
        """A player's rows, the newest first, and the token of the next page; `limit` 1 to 100, 0 is 20.

        Addresses and user agents are for those who see everybody. Raises PERMISSION_DENIED for a player's other,
        INVALID_ARGUMENT for a token that is none.
        """
        if asker != user_id and not sees_all:
            raise ServiceError(Reason.PERMISSION_DENIED, "only your own history")
        limit = limit or _DEFAULT_PAGE
        async with available():
            rows = await self._ledger.rows_before(user_id, _revision_of(token), limit + 1)
            shown = rows[:limit]
            origins = await self._ledger.origins([row.event_id for row in shown]) if sees_all else {}
        next_token = str(shown[-1].revision) if len(rows) > limit else ""
        return [Change(row, origins.get(row.event_id)) for row in shown], next_token

    async def export(self, user_id: str, token: str) -> Export:
        """A page of all that is kept of a player, for himself; flags and boards are on the first.

        Raises INVALID_ARGUMENT for a token that is none.
        """
        async with available():
            rows = await self._ledger.rows_before(user_id, _revision_of(token), _EXPORT_PAGE + 1)
            shown = rows[:_EXPORT_PAGE]
            origins = await self._ledger.origins([row.event_id for row in shown])
            flags = [] if token else await self._flags.of_player(user_id, _EXPORT_PAGE)
            fold = None if token else (await self._ledger.exact_folds([user_id]))[user_id]
        next_token = str(shown[-1].revision) if len(rows) > _EXPORT_PAGE else ""
        changes = [Change(row, origins.get(row.event_id)) for row in shown]
        return Export(changes, flags, [] if fold is None else self._boards_of(fold)[:_MOST_BOARDS], next_token)

    async def flags(self, limit: int, token: str, state: str | None) -> tuple[list[Flag], str]:
        """A page of flags, the newest first, and the token of the next; `limit` 1 to 100, 0 is 20.

        Raises INVALID_ARGUMENT for a token that is none.
        """
        limit = limit or _DEFAULT_PAGE
        async with available():
            found = await self._flags.page(limit + 1, place_of(token), state)
        shown = found[:limit]
        return shown, token_of((shown[-1].at, shown[-1].flag_id)) if len(found) > limit else ""

    async def close_flag(self, flag_id: str, note: str, *, by: str) -> Flag:
        """Records what a moderator decided. Raises FLAG_NOT_FOUND."""
        async with available():
            flag = await self._flags.close(flag_id, by=by, note=note)
        if flag is None:
            raise ServiceError(Reason.FLAG_NOT_FOUND, "There is no such flag.")
        return flag

    async def counted_events(self) -> AsyncIterator[tuple[list[tuple[str, str, str]], int]]:
        """Id, player and kind of every event in the ledger, up to 500 at a time, and about how many there are."""
        async with available():
            total, _ = await self._ledger.count()
            page: list[tuple[str, str, str]] = []
            async for event in self._ledger.counted():
                page.append(event)
                if len(page) == _AUDIT_PAGE:
                    yield page, total
                    page = []
            yield page, total

    async def verify_scores(self, *, repair: bool) -> AsyncIterator[At | Found | Checked]:
        """Progress and findings as they come, the summary last; what is derived is mended if `repair` is asked for."""
        async with available():
            async for step in self._check(repair).run():
                yield step

    async def rebuild_boards(self) -> AsyncIterator[At | Rebuilt]:
        """Makes every board anew: progress as it comes, what was made last.

        If the caller goes away, a rebuild that has begun is taken up again by the heartbeat.
        """
        async with available():
            async for step in followed(self._maker.make):
                yield step


def _revision_of(token: str) -> int:
    """The revision below which a page begins."""
    if not token:
        return _NEWEST
    if token.isascii() and token.isdigit() and int(token) <= _NEWEST:
        return int(token)
    violation = ("page_token", "is not a token of this list")
    raise ServiceError(Reason.INVALID_ARGUMENT, "The page token is not valid.", violations=[violation])
