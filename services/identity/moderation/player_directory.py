"""Finds players, and reads the evidence for moderators: accounts by name, their sessions, and their changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from services.identity.accounts import Account
from services.identity.erasure.personal_data import MAX_SESSIONS
from services.identity.moderation.change_store import ChangeStore
from services.identity.moderation.changes import Change
from services.identity.store import IdentityStore, SessionState
from services.identity.usernames import username_key
from services.runtime.errors import Reason, ServiceError
from services.runtime.page_tokens import page_token, read_page_token

DEFAULT_PAGE: Final = 20


class AccountPage(NamedTuple):
    """Accounts by name, the token of the next page, empty on the last one, and for each account that of the page after it."""

    accounts: list[Account]
    next_page_token: str
    cursors: list[str]


class PlayerDirectory:
    """Every method only reads, and raises UNAVAILABLE if the database does not respond."""

    def __init__(self, accounts: IdentityStore, changes: ChangeStore, *, now: Callable[[], datetime]) -> None:
        self._accounts = accounts
        self._changes = changes
        self._now = now

    async def users(self, prefix: str, token: str, size: int, *, blocked: bool) -> AccountPage:
        """Return a page of accounts whose names start with `prefix`; with `blocked` only those that are blocked now.

        A `size` of 0 means 20. Raises INVALID_ARGUMENT and CURSOR_EXPIRED for a token of another list.
        """
        listing = f"{'blocked' if blocked else 'users'} {username_key(prefix)}".rstrip()
        position = read_page_token(token, listing, str)
        size = size or DEFAULT_PAGE
        after = None if position is None else position[0]
        found = await self._accounts.accounts_by_name(
            prefix, after, size + 1, blocked_at=self._now() if blocked else None
        )
        cursors = [page_token(listing, username_key(account.username)) for account in found[:size]]
        return AccountPage(found[:size], cursors[-1] if len(found) > size else "", cursors)

    async def sessions(self, user_id: str) -> list[SessionState]:
        """Return the open sessions of an account, latest renewal first, at most 1000. Raises PLAYER_NOT_FOUND."""
        account = await self._accounts.account(user_id)
        if account is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this ID.")
        sessions = await self._accounts.sessions(account, MAX_SESSIONS)
        live = [session for session in sessions if session.expires_at > self._now()]
        return sorted(live, key=lambda session: session.rotated_at, reverse=True)

    async def changes(self, user_id: str) -> list[Change]:
        """Return the changes of an account, latest first, at most 1000; none for an unknown id."""
        return (await self._changes.of_player(user_id))[::-1]
