"""The use cases of board tokens: each lets anybody read one board, until it expires or is revoked.

A token does not depend on the session or the account of its issuer: the screen in the hall stays on when they leave.
Must never return a token twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
import uuid_utils

from services.identity.board_tokens.board_token_store import MAX_TOKENS, BoardToken, BoardTokenStore
from services.identity.tokens import TokenIssuer
from services.runtime.errors import Reason, ServiceError, invalid

DEFAULT_LIFETIME: Final = timedelta(days=30)
MAX_LIFETIME: Final = timedelta(days=366)
# The session of a board token is this and its id, so that it is checked as every session is.
SESSION_PREFIX: Final = "board:"
_log = structlog.get_logger("board_tokens")


class BoardTokens:
    """Issues, lists and revokes board tokens. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, store: BoardTokenStore, tokens: TokenIssuer, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._tokens = tokens
        self._now = now

    async def issue(self, board: str, expires_at: datetime | None, *, actor: str) -> tuple[str, BoardToken]:
        """Return a new token for a board, and what is stored of it. Raises INVALID_ARGUMENT, RATE_LIMITED."""
        now = self._now()
        expires_at = now + DEFAULT_LIFETIME if expires_at is None else expires_at
        if not now < expires_at <= now + MAX_LIFETIME:
            fault = f"must be in the future and at most {MAX_LIFETIME.days} days ahead"
            raise invalid("expires_at", fault, fault)
        token = BoardToken(str(uuid_utils.uuid7()), board, actor, now, expires_at)
        if not await self._store.add(token):
            raise ServiceError(
                Reason.RATE_LIMITED, f"Limit reached: {MAX_TOKENS} board tokens. Revoke one and try again."
            )
        _log.info("board token issued", token_id=token.token_id, board=board, actor=actor)
        signed = self._tokens.board_token(token.token_id, board, SESSION_PREFIX + token.token_id, now, expires_at)
        return signed, token

    async def all(self) -> list[BoardToken]:
        """Return the tokens that have neither expired nor been revoked, latest first, at most 1000."""
        return await self._store.all(self._now())

    async def revoke(self, token_id: str, *, actor: str) -> bool:
        """End a token; True if this call did. An unknown token is no error."""
        revoked = await self._store.remove(token_id, actor=actor, at=self._now())
        if revoked:
            _log.info("board token revoked", token_id=token_id, actor=actor)
        return revoked

    async def live_sessions(self, session_ids: Sequence[str]) -> set[str]:
        """Return which of the sessions are those of board tokens that have neither expired nor been revoked."""
        token_ids = [each.removeprefix(SESSION_PREFIX) for each in session_ids if each.startswith(SESSION_PREFIX)]
        if not token_ids:
            return set()
        return {SESSION_PREFIX + token_id for token_id in await self._store.live(token_ids, self._now())}
