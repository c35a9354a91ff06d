"""The use cases that change what a player may do and where he stands: blocks, their ends, his country."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
import uuid_utils
from prometheus_client import Counter

from services.identity.accounts import Account, InvalidAccountError, check_country
from services.identity.changes import (
    COUNTRY_CHANGED,
    PLAYER_BLOCKED,
    PLAYER_UNBLOCKED,
    TIME_IS_OVER,
    Change,
    blocked,
    expired,
    moved,
    unblocked,
)
from services.identity.service import refuse_if_blocked
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox import WaitingEvent

if TYPE_CHECKING:
    from services.identity.change_store import ChangeStore
    from services.runtime.outbox import Outbox

AUDIT_PAGE: Final = 500
_STAFF: Final = frozenset({"moderator", "admin"})
blocks = Counter("topten_blocks_total", "Players that were blocked", ["by"])
_log = structlog.get_logger("moderation")


class Moderation:
    """Every method raises UNAVAILABLE if the database does not answer; doing the same again is safe."""

    def __init__(self, store: ChangeStore, outbox: Outbox, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._outbox = outbox
        self._now = now

    async def block(
        self,
        user_id: str,
        reason: str,
        expires_at: datetime | None,
        change_id: str,
        *,
        actor: str,
        roles: frozenset[str],
    ) -> tuple[Account, str]:
        """Block a player, end his sessions; the account and the event. With a `change_id` it happens once.

        Raises PLAYER_NOT_FOUND, INVALID_ARGUMENT for a time that does not lie ahead, PERMISSION_DENIED for who moderates,
        unless by an admin.
        """
        now = self._now()
        if expires_at is not None and expires_at <= now:
            violation = ("expires_at", "must lie ahead")
            raise ServiceError(Reason.INVALID_ARGUMENT, "The block would be over.", violations=[violation])

        def become(account: Account) -> Account:
            if account.roles & _STAFF and "admin" not in roles:
                raise ServiceError(Reason.PERMISSION_DENIED, "Only an admin blocks who moderates.")
            return blocked(account, change, expires_at)

        change = self._change(user_id, PLAYER_BLOCKED, now, actor, reason, change_id)
        account, is_new = await self._apply(change, become)
        if is_new:
            blocks.labels("service" if "service" in roles else "moderator").inc()
        return account, change.event_id

    async def unblock(self, user_id: str, reason: str, *, actor: str) -> tuple[Account, str]:
        """Take a block back; the account, and the event or nothing. Raises PLAYER_NOT_FOUND."""
        change = self._change(user_id, PLAYER_UNBLOCKED, self._now(), actor, reason)
        account, is_new = await self._apply(change, unblocked)
        return account, change.event_id if is_new else ""

    async def update_profile(self, user_id: str, country: str) -> Account:
        """Change a player's own country. Raises PLAYER_NOT_FOUND, PLAYER_BLOCKED, INVALID_ARGUMENT."""
        try:
            country = check_country(country)
        except InvalidAccountError as error:
            raise ServiceError(Reason.INVALID_ARGUMENT, str(error), field=error.field) from None
        now = self._now()

        def become(account: Account) -> Account | None:
            refuse_if_blocked(account, now)
            return moved(account, country)

        account, _ = await self._apply(self._change(user_id, COUNTRY_CHANGED, now, user_id, ""), become)
        return account

    async def end_expired(self, limit: int) -> int:
        """Ends blocks whose time is over; how many players were looked at. Of several instances one does it."""
        now = self._now()
        players = await self._store.expired(now, limit)
        for user_id in players:
            change = self._change(user_id, PLAYER_UNBLOCKED, now, "", TIME_IS_OVER)
            await self._apply(change, partial(expired, now=now))
        return len(players)

    async def events(self) -> AsyncIterator[tuple[list[tuple[str, str, bool]], int]]:
        """Id, player and whether it is published of every event, up to 500 at a time, and how many there are."""
        total = await self._store.count()
        page: list[tuple[str, str, bool]] = []
        async for event in self._store.events():
            page.append(event)
            if len(page) == AUDIT_PAGE:
                yield page, total
                page = []
        yield page, total

    async def republish(self, event_ids: Sequence[str], *, only_check: bool) -> list[str]:
        """Those of the ids that are events of accounts; unless `only_check`, they are published once more."""
        recorded = await self._store.recorded(event_ids)
        if recorded and not only_check:
            await self._store.republish(recorded, self._now())
        return recorded

    async def _apply(self, change: Change, become: Callable[[Account], Account | None]) -> tuple[Account, bool]:
        account, event = await self._store.apply(change, become, self._now() + self._outbox.lease)
        if account is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this id.")
        if event:
            _log.info("account changed", kind=change.kind, change=change.event_id)
            self._outbox.publish(WaitingEvent(change.event_id, change.user_id, event))
        return account, bool(event)

    def _change(self, user_id: str, kind: str, at: datetime, actor: str, reason: str, change_id: str = "") -> Change:
        return Change(change_id.lower() or str(uuid_utils.uuid7()), user_id, kind, at, actor, reason)
