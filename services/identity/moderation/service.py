"""The use cases of moderation and profiles: blocks and their ends, names, countries, avatars."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
import uuid_utils
from prometheus_client import Counter

from services.identity.accounts import Account, InvalidAccountError, Profile, Sanction, SetBy, check_country
from services.identity.moderation.changes import (
    BLOCK_EXPIRED,
    MAX_SANCTIONS,
    SESSIONS_ENDED,
    Change,
    TooManySanctionsError,
    claimed,
    with_country,
    with_profile,
    with_sanction,
    with_username,
    without_sanctions,
)
from services.identity.service import refuse_if_blocked
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.outbox.publishing import UnpublishedEvent
from services.streams import COUNTRY_CHANGED, PLAYER_BLOCKED, PLAYER_UNBLOCKED, PROFILE_CHANGED

if TYPE_CHECKING:
    from services.identity.moderation.change_store import AccountEvent, Applied, ChangeStore
    from services.runtime.outbox.publishing import Outbox

EXPIRED_PAGE: Final = 100
_STAFF: Final = frozenset({"moderator", "admin"})
blocks = Counter("topten_blocks_total", "Blocks of players", ["by"])
_log = structlog.get_logger("moderation")


class SanctionResult(NamedTuple):
    """The account, the event's id, empty if boards see no difference, and the ids of sanctions set or lifted."""

    account: Account
    event_id: str
    sanction_ids: tuple[str, ...]


class RenameResult(NamedTuple):
    """The account, its name before, and the id of the event, empty if it had the name already."""

    account: Account
    former_username: str
    event_id: str


class Moderation:
    """Every method raises UNAVAILABLE if the database does not respond, and is safe to repeat."""

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
    ) -> SanctionResult:
        """Block a player by one more sanction, and end their sessions.

        Calls with the same `change_id`, which is also the sanction's id, block once. Raises PLAYER_NOT_FOUND,
        INVALID_ARGUMENT for an `expires_at` in the past and beyond 100 sanctions in force, PERMISSION_DENIED for a moderator
        or admin, whom only an admin blocks.
        """
        now = self._now()
        if expires_at is not None and expires_at <= now:
            raise invalid("expires_at", "must be in the future", "A block must end in the future.")
        change = self._change(user_id, PLAYER_BLOCKED, now, actor, reason, change_id)
        sanction = Sanction(change.event_id, reason, actor, _authority(roles), now, expires_at)

        def transform(account: Account) -> Account:
            _refuse_staff(account, roles, "block")
            try:
                return with_sanction(account, sanction)
            except TooManySanctionsError:
                message = f"The player has {MAX_SANCTIONS} sanctions in force. Lift one first."
                raise ServiceError(Reason.INVALID_ARGUMENT, message) from None

        applied = await self._apply(change, transform)
        if applied.is_new:
            blocks.labels("service" if sanction.is_automatic else "moderator").inc()
        return SanctionResult(applied.account, change.event_id if applied.event else "", (change.event_id,))

    async def unblock(
        self, user_id: str, reason: str, sanction_id: str, *, actor: str, roles: frozenset[str]
    ) -> SanctionResult:
        """Lift the sanction with this id, or without one all that the caller may lift. Others stay in force.

        A service lifts what services imposed, a moderator also what moderators did, an admin all. Nothing happens if there is
        nothing to lift. Raises PLAYER_NOT_FOUND, PERMISSION_DENIED if there are only sanctions that the caller may not lift.
        """
        now = self._now()
        authority = _authority(roles)
        lifted: list[str] = []

        def transform(account: Account) -> Account | None:
            asked = [each for each in account.sanctions_at(now) if sanction_id in ("", each.sanction_id)]
            lifted[:] = [each.sanction_id for each in asked if authority.lifts(each.set_by)]
            if asked and not lifted:
                raise ServiceError(
                    Reason.PERMISSION_DENIED,
                    "You are not allowed to lift this block: services lift what services imposed, moderators also what "
                    "moderators did, admins all.",
                )
            return without_sanctions(account, lifted, now) if lifted else None

        change = self._change(user_id, PLAYER_UNBLOCKED, now, actor, reason)
        applied = await self._apply(change, transform)
        return SanctionResult(applied.account, change.event_id if applied.event else "", tuple(lifted))

    async def rename(
        self, user_id: str, username: str, reason: str, *, actor: str, roles: frozenset[str]
    ) -> RenameResult:
        """Give an account another name, which boards show from then on; `username` is as UsernameRules accept it.

        Raises PLAYER_NOT_FOUND, USERNAME_TAKEN, PERMISSION_DENIED for a moderator or admin, whom only an admin renames.
        """
        former = ""

        def transform(account: Account) -> Account | None:
            nonlocal former
            _refuse_staff(account, roles, "rename")
            former = account.username
            return with_username(account, username)

        change = self._change(user_id, PROFILE_CHANGED, self._now(), actor, reason)
        applied = await self._apply(change, transform)
        return RenameResult(applied.account, former, change.event_id if applied.event else "")

    async def end_sessions(
        self, user_id: str, session_id: str, reason: str, *, actor: str, roles: frozenset[str]
    ) -> int:
        """End one session of a player, or without an id all of them; return how many had not ended.

        Raises PLAYER_NOT_FOUND, PERMISSION_DENIED for a moderator or admin, whose sessions only an admin ends.
        """
        change = self._change(user_id, SESSIONS_ENDED, self._now(), actor, reason)
        check = partial(_refuse_staff, roles=roles, act="end the sessions of")
        ended = await self._store.end_sessions(change, session_id, check)
        if ended is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
        if ended:
            _log.info("sessions ended", change=change.event_id, count=ended)
        return ended

    async def update_profile(self, user_id: str, country: str) -> Account:
        """Change a player's country. Raises PLAYER_NOT_FOUND, PLAYER_BLOCKED, INVALID_ARGUMENT."""
        try:
            country = check_country(country)
        except InvalidAccountError as error:
            raise ServiceError(Reason.INVALID_ARGUMENT, str(error), field=error.field) from None
        now = self._now()

        def transform(account: Account) -> Account | None:
            refuse_if_blocked(account, now)
            return with_country(account, country)

        return (await self._apply(self._change(user_id, COUNTRY_CHANGED, now, user_id, ""), transform)).account

    async def set_profile(self, user_id: str, profile: Profile, *, actor: str) -> bool:
        """Give a player of another system their profile, also if they are blocked; False if they have it.

        Raises PLAYER_NOT_FOUND, USERNAME_TAKEN.
        """
        change = self._change(user_id, PROFILE_CHANGED, self._now(), actor, "")
        return (await self._apply(change, partial(with_profile, profile=profile))).is_new

    async def claim(self, guest_id: str, player: Account) -> Account | None:
        """Make a guest this player, see `claimed`; None if the account is no guest, or one that has ended or is blocked.

        Raises USERNAME_TAKEN.
        """
        now = self._now()

        def transform(account: Account) -> Account | None:
            is_live = account.guest_until is not None and account.guest_until > now and account.block_at(now) is None
            return claimed(account, player) if is_live else None

        applied = await self._apply(self._change(guest_id, PROFILE_CHANGED, now, guest_id, ""), transform)
        return applied.account if applied.is_new else None

    async def end_expired_sanctions(self) -> None:
        """Remove all sanctions that have expired. Safe in several instances: one of them removes each."""
        now = self._now()
        while True:
            players = await self._store.with_expired_sanctions(now, EXPIRED_PAGE)
            for user_id in players:
                change = self._change(user_id, PLAYER_UNBLOCKED, now, "", BLOCK_EXPIRED)
                await self._apply(change, partial(without_sanctions, lifted=(), now=now))
            if len(players) < EXPIRED_PAGE:
                return

    async def events(self, since: datetime | None = None) -> AsyncIterator[tuple[list[AccountEvent], int]]:
        """Yield all events, or those since a time, oldest first, up to 500 at a time, with the estimated number of all."""
        total = await self._store.count()
        async for page in self._store.events(since):
            yield page, total

    async def republish(self, event_ids: Sequence[str], *, only_check: bool) -> list[str]:
        """Return the ids of events recorded here; unless `only_check`, publish those again."""
        recorded = await self._store.recorded(event_ids)
        if recorded and not only_check:
            await self._store.republish(recorded, self._now())
        return recorded

    async def _apply(self, change: Change, transform: Callable[[Account], Account | None]) -> Applied:
        recorded_on = self._outbox.recorded_on
        applied = await self._store.apply(change, transform, self._now() + self._outbox.lease)
        if applied is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
        if applied.is_new:
            _log.info("account changed", kind=change.kind, change=change.event_id)
        if applied.is_new and applied.event:
            self._outbox.publish(UnpublishedEvent(change.event_id, change.user_id, applied.event, recorded_on))
        return applied

    def _change(self, user_id: str, kind: str, at: datetime, actor: str, reason: str, change_id: str = "") -> Change:
        return Change(change_id or str(uuid_utils.uuid7()), user_id, kind, at, actor, reason)


def _refuse_staff(account: Account, roles: frozenset[str], act: str) -> None:
    """Raise PERMISSION_DENIED if the account is a moderator's or an admin's and the caller is no admin."""
    if account.roles & _STAFF and "admin" not in roles:
        raise ServiceError(Reason.PERMISSION_DENIED, f"Only an admin can {act} a moderator or an admin.")


def _authority(roles: frozenset[str]) -> SetBy:
    """Return the highest authority among the roles of a caller who may block."""
    if "admin" in roles:
        return SetBy.ADMIN
    return SetBy.MODERATOR if "moderator" in roles else SetBy.SERVICE
