"""The use cases of accounts and sessions, one method each."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import uuid_utils

from services.identity.accounts import Account, InvalidAccountError, Standing, check_country
from services.identity.board_tokens.service import BoardTokens
from services.identity.guests import Guests
from services.identity.passwords import MAX_PASSWORD, MIN_PASSWORD, Passwords, is_allowed
from services.identity.store import IdentityStore, SessionState
from services.identity.tokens import RefreshToken, TokenIssuer
from services.identity.usernames import UsernameRules
from services.runtime.auth.claims import Claims
from services.runtime.auth.issuers import SESSION_PREFIX
from services.runtime.auth.verification import auth_failures
from services.runtime.errors import Reason, ServiceError, invalid


@dataclass(frozen=True, slots=True)
class OpenSession:
    """The tokens of a session, and its account."""

    account: Account
    session_id: str
    access_token: str
    refresh_token: str
    stream_token: str
    access_ttl: timedelta
    expires_at: datetime


class IdentityService:
    """Accounts and sessions. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(
        self,
        store: IdentityStore,
        passwords: Passwords,
        tokens: TokenIssuer,
        usernames: UsernameRules,
        board_tokens: BoardTokens,
        guests: Guests,
        *,
        session_ttl: timedelta,
        rotation_grace: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._tokens = tokens
        self._usernames = usernames
        self._board_tokens = board_tokens
        self._guests = guests
        self._session_ttl = session_ttl
        self._rotation_grace = rotation_grace
        self._now = now
        self.access_ttl = tokens.access_ttl

    async def register(self, username: str, password: str, country: str, guest_token: str = "") -> OpenSession:
        """Create an account with the role `player` and open a session.

        A guest becomes the player and keeps the id, if `guest_token` is the refresh token of the guest's session; any other
        token has no effect. Raises INVALID_ARGUMENT for a username, country or password that no account may have,
        USERNAME_TAKEN.
        """
        _check_new_password(password, "credentials.password")
        try:
            name, country = self._usernames.accept(username), check_country(country)
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
        guest = await self._guest(guest_token)
        claimed = None if guest is None else await self._guests.claim(guest, account)
        if claimed is None:
            await self._store.add_account(account)
        return await self._open(claimed or account)

    async def create_guest(self, nickname: str) -> OpenSession:
        """Create a guest and open a session, which ends with the guest. Raises INVALID_ARGUMENT, USERNAME_TAKEN."""
        return await self._open(await self._guests.create(nickname))

    async def login(self, username: str, password: str) -> OpenSession:
        """Check a password and open a session.

        Raises CREDENTIALS_INVALID, in the same time for an unknown username and for a wrong password; PLAYER_BLOCKED only
        with the correct password.
        """
        account, is_outdated = await self._authenticated(username, password)
        refuse_if_blocked(account, self._now())
        session = await self._open(account)
        if is_outdated:
            renewed = await self._passwords.digest(password)
            await self._store.set_password_hash(account.user_id, account.password_hash, renewed)
        return session

    async def data_token(self, username: str, password: str) -> tuple[Account, str]:
        """Check a password like `login`; return the account and a token for its data alone, also if it is blocked.

        Raises CREDENTIALS_INVALID.
        """
        account, _ = await self._authenticated(username, password)
        return account, self._tokens.data_token(account, self._now())

    async def change_password(self, user_id: str, session_id: str, current: str, new: str) -> None:
        """Replace a password and end all sessions of the account but this one, also those that are being opened.

        Raises CREDENTIALS_INVALID if `current` is wrong or the account does not exist, PLAYER_BLOCKED, INVALID_ARGUMENT.
        """
        _check_new_password(new, "new_password")
        account = await self._store.account(user_id)
        digest = None if account is None else account.password_hash or None
        if not await self._passwords.matches(digest, current) or account is None:
            raise ServiceError(Reason.CREDENTIALS_INVALID, "Wrong current password.")
        refuse_if_blocked(account, self._now())
        renewed = await self._passwords.digest(new)
        if not await self._store.change_password(account, renewed, keep=session_id):
            await self.change_password(user_id, session_id, current, new)  # another change came first: check it again

    async def refresh(self, refresh_token: str) -> OpenSession:
        """Exchange a refresh token for the session's next tokens (rotation, RFC 9700, 4.14).

        The previous token stays valid during the grace period while its successor is unused, and returns the same
        successor. Any other token of the session, reused or invented, ends the session. Raises UNAUTHENTICATED,
        PLAYER_BLOCKED.
        """
        token = RefreshToken.parse(refresh_token)
        session = None if token is None else await self._store.session(token.session_id)
        now = self._now()
        if token is None or session is None or session.state.expires_at <= now:
            raise _refused()
        state, account = session
        expires_at = self._session_end(account, now)
        if hmac.compare_digest(token.digest, state.current):
            salt = secrets.token_bytes(32)
            successor = token.successor(salt)
            if not await self._store.rotate(state.session_id, token.digest, successor.digest, salt, now, expires_at):
                # The same token was exchanged at the same moment; now it is the previous one.
                return await self.refresh(refresh_token)
        elif self._is_in_grace(token, state, now):
            successor = token.successor(state.salt)
            expires_at = state.expires_at
        else:
            await self._store.end_session(state.session_id)
            raise _refused()
        refuse_if_blocked(account, now)
        return self._session(account, successor, now, expires_at)

    async def logout(self, refresh_token: str) -> bool:
        """End the session of a refresh token; True if one was ended. An unknown token is no error."""
        token = RefreshToken.parse(refresh_token)
        session = None if token is None else await self._store.session(token.session_id)
        if token is None or session is None or token.digest not in (session.state.current, session.state.previous):
            return False
        return await self._store.end_session(token.session_id)

    async def stream_token(self, holder: Claims) -> tuple[str, timedelta]:
        """Return a token for the leaderboard stream and its lifetime: that of the caller's session.

        An external issuer's player has no session here; theirs lasts as long as the token that they call with. Raises
        UNAUTHENTICATED, PLAYER_BLOCKED, PLAYER_NOT_FOUND.
        """
        now = self._now()
        if holder.issuer:
            account = _existing(await self._store.account(holder.user_id), "The account does not exist any more.")
            expires_at = datetime.fromtimestamp(holder.expires_at, tz=UTC)
        else:
            session = await self._store.session(holder.session_id) if holder.session_id else None
            if session is None or session.state.expires_at <= now:
                raise ServiceError(Reason.UNAUTHENTICATED, "The session has ended. Sign in again.")
            account, expires_at = session.account, session.state.expires_at
        refuse_if_blocked(account, now)
        return self._tokens.stream_token(account, holder.session_id, now, expires_at), expires_at - now

    async def ended_sessions(self, session_ids: Sequence[str]) -> list[str]:
        """Return which of the sessions (at most 500) have ended or never existed.

        The virtual session of an external issuer's player lasts while they have an account and no block; that of a board
        token until it expires or is revoked.
        """
        now = self._now()
        live = await self._store.live_sessions(session_ids, now) | await self._board_tokens.live_sessions(session_ids)
        external = [each.removeprefix(SESSION_PREFIX) for each in session_ids if each.startswith(SESSION_PREFIX)]
        if external:
            players = await self._store.accounts(external)
            live |= {SESSION_PREFIX + player.user_id for player in players if player.block_at(now) is None}
        return [session_id for session_id in session_ids if session_id not in live]

    async def users(self, user_ids: Sequence[str], usernames: Sequence[str] = ()) -> list[Account]:
        """Return the accounts that exist among `user_ids` and `usernames` (at most 100 each), in one round trip."""
        return await self._store.accounts(user_ids, usernames)

    async def standings(self, user_ids: Sequence[str]) -> dict[str, Standing]:
        """Return the standings of players, by which they may act or not; players without an account are left out."""
        return await self._store.standings(user_ids)

    async def grant_role(self, username: str, role: str) -> Account:
        """Add a role to an account; tokens carry it from the next refresh. Raises PLAYER_NOT_FOUND."""
        return _existing(await self._store.grant_role(username, role))

    async def revoke_role(self, username: str, role: str) -> Account:
        """Remove a role from an account; tokens lose it at the next refresh. Raises PLAYER_NOT_FOUND."""
        return _existing(await self._store.revoke_role(username, role))

    async def _guest(self, refresh_token: str) -> Account | None:
        """Return the guest of a live session, by its current refresh token or the previous one in its grace period."""
        token = RefreshToken.parse(refresh_token)
        session = None if token is None else await self._store.session(token.session_id)
        now = self._now()
        if token is None or session is None or not session.account.is_guest or session.state.expires_at <= now:
            return None
        is_current = hmac.compare_digest(token.digest, session.state.current)
        return session.account if is_current or self._is_in_grace(token, session.state, now) else None

    def _is_in_grace(self, token: RefreshToken, state: SessionState, now: datetime) -> bool:
        previous = state.previous or ""
        return hmac.compare_digest(token.digest, previous) and now - state.rotated_at <= self._rotation_grace

    async def _authenticated(self, username: str, password: str) -> tuple[Account, bool]:
        """Return the account with this password, and whether its digest is outdated. Raises CREDENTIALS_INVALID."""
        account = await self._store.account_by_name(username)
        # An external issuer's player has no password, which must take as long to refuse as any other.
        digest = None if account is None else account.password_hash or None
        match = await self._passwords.matches(digest, password)
        if not match or account is None:
            auth_failures.labels("password").inc()
            raise ServiceError(Reason.CREDENTIALS_INVALID, "Wrong username or password.")
        return account, match.is_outdated

    async def _open(self, account: Account) -> OpenSession:
        """Open a session. It has ended at once if a new password or a block ended all of them since `account` was read."""
        now = self._now()
        token = RefreshToken.new(str(uuid_utils.uuid7()))
        expires_at = self._session_end(account, now)
        await self._store.add_session(
            SessionState(
                token.session_id, account.user_id, account.session_epoch, token.digest, None, b"", now, expires_at
            )
        )
        return self._session(account, token, now, expires_at)

    def _session(self, account: Account, refresh: RefreshToken, now: datetime, expires_at: datetime) -> OpenSession:
        return OpenSession(
            account=account,
            session_id=refresh.session_id,
            access_token=self._tokens.access_token(account, refresh.session_id, now),
            refresh_token=refresh.text,
            stream_token=self._tokens.stream_token(account, refresh.session_id, now, expires_at),
            access_ttl=self._tokens.lifetime(account, now),
            expires_at=expires_at,
        )

    def _session_end(self, account: Account, now: datetime) -> datetime:
        """Return when a session that is used now ends, unless it is used again; that of a guest ends with the guest."""
        expires_at = now + self._session_ttl
        return expires_at if account.guest_until is None else min(expires_at, account.guest_until)


def refuse_if_blocked(account: Account, now: datetime) -> None:
    """Raise PLAYER_BLOCKED with the block's reason and end, if the account is blocked."""
    block = account.block_at(now)
    if block is None:
        return
    until = "" if block.expires_at is None else block.expires_at.isoformat(timespec="milliseconds")
    raise ServiceError(Reason.PLAYER_BLOCKED, "You are blocked.", block_reason=block.reason, expires_at=until)


def _check_new_password(password: str, field: str) -> None:
    if not is_allowed(password):
        message = f"Password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters."
        raise invalid(field, f"must have {MIN_PASSWORD} to {MAX_PASSWORD} characters", message)


def _existing(account: Account | None, message: str = "No player has this username.") -> Account:
    if account is None:
        raise ServiceError(Reason.PLAYER_NOT_FOUND, message)
    return account


def _refused() -> ServiceError:
    return ServiceError(Reason.UNAUTHENTICATED, "The refresh token is invalid. Sign in again.")
