"""What is on record of an account, for the player himself."""

from __future__ import annotations

from typing import Final

from services.identity.accounts import Account
from services.identity.changes import Change
from services.identity.erasure_store import ErasureStore
from services.identity.store import IdentityStore, SessionState
from services.runtime.errors import Reason, ServiceError

MOST_SESSIONS: Final = 1000


class AccountExport:
    """Reads; secrets are for the caller to leave out."""

    def __init__(self, accounts: IdentityStore, changes: ErasureStore) -> None:
        self._accounts = accounts
        self._changes = changes

    async def of(self, user_id: str) -> tuple[Account, list[SessionState], list[Change]]:
        """The account, its sessions, and what was done to it. Raises PLAYER_NOT_FOUND, UNAVAILABLE."""
        accounts = await self._accounts.accounts([user_id])
        if not accounts:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this id.")
        sessions = await self._accounts.sessions(user_id, MOST_SESSIONS)
        return accounts[0], sessions, await self._changes.changes(user_id)
