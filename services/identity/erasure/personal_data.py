"""The use cases of a player's own data: export it, erase the account.

An account is erased by one transaction: from then on nobody signs in with it, and its event removes the player from every
board. `propagation` then removes the player from the other services.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog
import uuid_utils
from prometheus_client import Counter

from services.identity.accounts import Account
from services.identity.erasure.erasure_store import ErasureStore
from services.identity.groups.group import Group
from services.identity.groups.group_store import GroupStore
from services.identity.moderation.change_store import ChangeStore
from services.identity.moderation.changes import Change
from services.identity.passwords import Passwords
from services.identity.store import IdentityStore, SessionState
from services.runtime.auth.verification import auth_failures
from services.runtime.errors import Reason, ServiceError
from services.runtime.outbox.publishing import Outbox, UnpublishedEvent
from services.streams import PLAYER_ERASED

MAX_SESSIONS: Final = 1000
# The actor of an erasure that nobody asked for.
_RETENTION: Final = "service:identity"
erasures = Counter("topten_erasures_total", "Erased accounts")
_log = structlog.get_logger("personal_data")


class PersonalData:
    """Every method raises UNAVAILABLE if the database does not respond, and is safe to repeat."""

    def __init__(
        self,
        accounts: IdentityStore,
        changes: ChangeStore,
        erasures: ErasureStore,
        groups: GroupStore,
        passwords: Passwords,
        outbox: Outbox,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._accounts = accounts
        self._changes = changes
        self._erasures = erasures
        self._groups = groups
        self._passwords = passwords
        self._outbox = outbox
        self._now = now

    async def export(self, user_id: str) -> tuple[Account, list[SessionState], list[Change], list[Group]]:
        """Return an account with its sessions and changes, each at most 1000, and its groups. Raises PLAYER_NOT_FOUND.

        The caller must leave the digests out.
        """
        account = await self._accounts.account(user_id)
        if account is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
        sessions = await self._accounts.sessions(account, MAX_SESSIONS)
        changes, groups = await self._changes.of_player(user_id), await self._groups.of_player(user_id)
        return account, sessions, changes, groups

    async def delete_account(self, user_id: str, password: str) -> None:
        """Erase the caller's own account. Raises CREDENTIALS_INVALID, PLAYER_NOT_FOUND.

        A player of an external issuer has no password here; the issuer's token is their proof.
        """
        account = await self._accounts.account(user_id)
        if account is None:
            if await self._erasures.are_erased([user_id]):
                return  # the caller's token proves that the account was theirs
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
        digest = account.password_hash
        if digest and not await self._passwords.matches(digest, password):
            auth_failures.labels("password").inc()
            raise ServiceError(Reason.CREDENTIALS_INVALID, "Wrong password.")
        await self._erase(user_id, actor="")

    async def erase_user(self, username: str, *, actor: str) -> None:
        """Erase the account with this name. Raises PLAYER_NOT_FOUND."""
        account = await self._accounts.account_by_name(username)
        if account is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this username.")
        await self._erase(account.user_id, actor=actor)

    async def erase_guest(self, user_id: str, *, ended_by: datetime) -> bool:
        """Erase a guest that ended at `ended_by` or earlier; False if there is none, or if it was claimed in the meantime."""
        return await self._erase(user_id, actor=_RETENTION, ended_by=ended_by)

    async def erased(self, user_ids: list[str]) -> list[str]:
        """Return the ids whose accounts were erased."""
        return await self._erasures.are_erased(user_ids) if user_ids else []

    async def _erase(self, user_id: str, *, actor: str, ended_by: datetime | None = None) -> bool:
        change = Change(str(uuid_utils.uuid7()), user_id, PLAYER_ERASED, self._now(), actor, "")
        recorded_on = self._outbox.recorded_on
        event = await self._erasures.erase(change, self._now() + self._outbox.lease, ended_by=ended_by)
        if event:
            erasures.inc()
            _log.info("account erased", change=change.event_id, actor=actor or "the player")
            self._outbox.publish(UnpublishedEvent(change.event_id, user_id, event, recorded_on))
        return bool(event)
