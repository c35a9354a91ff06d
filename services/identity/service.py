"""The use cases of identity, one async method a verb.

Must never import an adapter's driver: the store and the digests are handed in.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import uuid_utils

from services.identity.accounts import Account, InvalidAccountError, check_country
from services.identity.passwords import Passwords
from services.identity.store import IdentityStore, SessionState
from services.identity.tokens import RefreshToken, TokenIssuer
from services.identity.usernames import names_for, normalise_username
from services.runtime.auth import auth_failures
from services.runtime.errors import Reason, ServiceError
from services.runtime.issuers import SESSION_PREFIX


@dataclass(frozen=True, slots=True)
class OpenSession:
    """What a player who has signed in is handed."""

    account: Account
    session_id: str
    access_token: str
    refresh_token: str
    stream_token: str
    access_ttl: timedelta
    expires_at: datetime


class IdentityService:
    """Accounts and sessions."""

    def __init__(
        self,
        store: IdentityStore,
        passwords: Passwords,
        tokens: TokenIssuer,
        *,
        session_ttl: timedelta,
        rotation_grace: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._tokens = tokens
        self._session_ttl = session_ttl
        self._rotation_grace = rotation_grace
        self._now = now

    async def register(self, username: str, password: str, country: str) -> OpenSession:
        """Make an account with the role ``player`` and sign it in.

        Raises INVALID_ARGUMENT for a name or country that no account may have, USERNAME_TAKEN, UNAVAILABLE.
        """
        try:
            name, country = normalise_username(username), check_country(country)
        except InvalidAccountError as error:
            raise ServiceError(Reason.INVALID_ARGUMENT, str(error), field=error.field) from None
        account = Account(
            user_id=str(uuid_utils.uuid7()),
            username=name,
            password_hash=await self._passwords.digest(password),
            roles=frozenset({"player"}),
            country=country,
            created_at=self._now(),
        )
        await self._store.add_account(account)
        return await self._open(account)

    async def admit(self, user_id: str, wanted: str) -> Account:
        """The account of a player of an outside issuer, made if there is none; ``wanted`` is its name for him.

        Raises UNAVAILABLE.
        """
        for name in names_for(wanted, user_id):
            found = await self._store.accounts([user_id])
            if found:
                return found[0]
            account = Account(user_id, name, "", frozenset({"player"}), "", self._now())
            try:
                await self._store.add_account(account)
            except ServiceError as error:
                if error.reason is not Reason.USERNAME_TAKEN:
                    raise
            else:
                return account
        raise ServiceError(Reason.UNAVAILABLE, "No name could be found for the player.")

    async def login(self, username: str, password: str) -> OpenSession:
        """Check a password and open a session.

        Raises CREDENTIALS_INVALID, in the same time for an unknown name and for a wrong password, PLAYER_BLOCKED with the
        right one, or UNAVAILABLE.
        """
        account = await self._store.account_by_name(username)
        # An account of an outside issuer has no password, which must take as long to find out as any other.
        digest = None if account is None else account.password_hash or None
        if not await self._passwords.matches(digest, password) or account is None:
            auth_failures.labels("password").inc()
            raise ServiceError(Reason.CREDENTIALS_INVALID, "The username and password do not belong together.")
        refuse_if_blocked(account, self._now())
        session = await self._open(account)
        if not await self._store.is_unchanged(account):
            # What ends sessions (another password, a block) came between and did not find this one yet.
            await self._store.end_session(session.session_id)
            return await self.login(username, password)
        if self._passwords.is_outdated(account.password_hash):
            renewed = await self._passwords.digest(password)
            await self._store.set_password_hash(account.user_id, account.password_hash, renewed)
        return session

    async def change_password(self, user_id: str, session_id: str, current: str, new: str) -> None:
        """Give an account another password; all its sessions end but the one named.

        Raises CREDENTIALS_INVALID if the current one is not right or there is no such account, PLAYER_BLOCKED, UNAVAILABLE.
        """
        accounts = await self._store.accounts([user_id])
        digest = (accounts[0].password_hash or None) if accounts else None
        if not await self._passwords.matches(digest, current) or not accounts:
            raise ServiceError(Reason.CREDENTIALS_INVALID, "The current password is not right.")
        refuse_if_blocked(accounts[0], self._now())
        renewed = await self._passwords.digest(new)
        if not await self._store.change_password(accounts[0], renewed, keep=session_id):
            await self.change_password(user_id, session_id, current, new)  # somebody was faster: look again

    async def refresh(self, refresh_token: str) -> OpenSession:
        """Trade a refresh token for the session's next tokens (RFC 9700, 4.14).

        The token traded last stays good for the grace while its successor is unused, and buys that same successor.
        Any other token of the session, used or made up, ends the session. Raises UNAUTHENTICATED, PLAYER_BLOCKED,
        UNAVAILABLE.
        """
        token = RefreshToken.parse(refresh_token)
        state = None if token is None else await self._store.session(token.session_id)
        now = self._now()
        if token is None or state is None or state.expires_at <= now:
            raise _refused()
        expires_at = now + self._session_ttl
        if hmac.compare_digest(token.digest, state.current):
            salt = secrets.token_bytes(32)
            successor = token.successor(salt)
            if not await self._store.rotate(state.session_id, token.digest, successor.digest, salt, now, expires_at):
                # Somebody traded the same token in this moment: read again, which finds it as the previous one.
                return await self.refresh(refresh_token)
        elif self._within_grace(token, state, now):
            successor = token.successor(state.salt)
            expires_at = state.expires_at
        else:
            await self._store.end_session(state.session_id)
            raise _refused()
        accounts = await self._store.accounts([state.user_id])
        if not accounts:
            raise _refused()
        refuse_if_blocked(accounts[0], now)
        return self._session(accounts[0], successor, now, expires_at)

    async def logout(self, refresh_token: str) -> bool:
        """End the session that the token belongs to; True if one was ended. An unknown token is no error."""
        token = RefreshToken.parse(refresh_token)
        state = None if token is None else await self._store.session(token.session_id)
        if token is None or state is None or token.digest not in (state.current, state.previous):
            return False
        return await self._store.end_session(state.session_id)

    async def stream_token(self, session_id: str) -> tuple[str, timedelta]:
        """A token for the leaderboard's stream and how long it is good. Raises UNAUTHENTICATED once the session is over."""
        state = await self._store.session(session_id) if session_id else None
        now = self._now()
        if state is None or state.expires_at <= now:
            raise ServiceError(Reason.UNAUTHENTICATED, "The session has ended. Please sign in again.")
        accounts = await self._store.accounts([state.user_id])
        if not accounts:
            raise ServiceError(Reason.UNAUTHENTICATED, "The session has ended. Please sign in again.")
        refuse_if_blocked(accounts[0], now)
        token = self._tokens.stream_token(accounts[0], session_id, now, state.expires_at)
        return token, state.expires_at - now

    async def ended_sessions(self, session_ids: Sequence[str]) -> list[str]:
        """Those of the sessions (at most 500) that have ended, or never were.

        What stands for a session of an outside issuer's player lasts as long as he has an account and no block.
        """
        now = self._now()
        live = await self._store.live_sessions(session_ids, now)
        outside = [each.removeprefix(SESSION_PREFIX) for each in session_ids if each.startswith(SESSION_PREFIX)]
        if outside:
            players = await self._store.accounts(outside)
            live |= {SESSION_PREFIX + player.user_id for player in players if player.block_at(now) is None}
        return [session_id for session_id in session_ids if session_id not in live]

    async def users(self, user_ids: Sequence[str]) -> list[Account]:
        """The accounts that exist among ``user_ids`` (at most 100), in one round trip."""
        return await self._store.accounts(user_ids)

    async def grant_role(self, username: str, role: str) -> Account:
        """Add ``role`` to an account; it shows in tokens from the next refresh on. Raises PLAYER_NOT_FOUND."""
        account = await self._store.grant_role(username, role)
        if account is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this username.")
        return account

    async def revoke_role(self, username: str, role: str) -> Account:
        """Take ``role`` from an account; tokens that carry it run out. Raises PLAYER_NOT_FOUND."""
        account = await self._store.revoke_role(username, role)
        if account is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "No player has this username.")
        return account

    def _within_grace(self, token: RefreshToken, state: SessionState, now: datetime) -> bool:
        previous = state.previous or ""
        return hmac.compare_digest(token.digest, previous) and now - state.rotated_at <= self._rotation_grace

    async def _open(self, account: Account) -> OpenSession:
        now = self._now()
        token = RefreshToken.new(str(uuid_utils.uuid7()))
        expires_at = now + self._session_ttl
        await self._store.add_session(
            SessionState(token.session_id, account.user_id, token.digest, None, b"", now, expires_at)
        )
        return self._session(account, token, now, expires_at)

    def _session(self, account: Account, refresh: RefreshToken, now: datetime, expires_at: datetime) -> OpenSession:
        return OpenSession(
            account=account,
            session_id=refresh.session_id,
            access_token=self._tokens.access_token(account, refresh.session_id, now),
            refresh_token=refresh.text,
            stream_token=self._tokens.stream_token(account, refresh.session_id, now, expires_at),
            access_ttl=self._tokens.access_ttl,
            expires_at=expires_at,
        )


def refuse_if_blocked(account: Account, now: datetime) -> None:
    """Raises PLAYER_BLOCKED, with the reason and the end of the block."""
    block = account.block_at(now)
    if block is None:
        return
    until = "" if block.expires_at is None else block.expires_at.isoformat(timespec="milliseconds")
    raise ServiceError(Reason.PLAYER_BLOCKED, "You are blocked.", block_reason=block.reason, expires_at=until)


def _refused() -> ServiceError:
    return ServiceError(Reason.UNAUTHENTICATED, "The refresh token is not valid. Please sign in again.")
