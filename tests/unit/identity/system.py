"""The use cases of accounts, sessions and guests on a real database, as `__main__` builds them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from services.identity.board_tokens.board_token_store import BoardTokenStore
from services.identity.board_tokens.service import BoardTokens
from services.identity.erasure.erasure_store import ErasureStore
from services.identity.erasure.personal_data import PersonalData
from services.identity.groups.group_store import GroupStore
from services.identity.guests import Guests
from services.identity.moderation.change_store import ChangeStore
from services.identity.moderation.service import Moderation
from services.identity.passwords import Passwords
from services.identity.service import IdentityService, OpenSession
from services.identity.store import IdentityStore
from services.identity.tokens import TokenIssuer
from services.identity.usernames import UsernameRules
from services.runtime.clock import utc_now
from services.runtime.errors import ServiceError
from tests.factories import signing_key
from tests.unit.identity.test_sanctions import Published

PASSWORD = "correct horse battery"
LIFE, RETENTION = timedelta(hours=12), timedelta(hours=24)
SESSION = timedelta(days=1)
TOKENS = TokenIssuer(signing_key(), issuer="i", audience="a", access_ttl=timedelta(minutes=5))
PASSWORDS = Passwords(memory_kib=1024, rounds=1)


class System:
    """The use cases on a real database, with a clock that the test moves from the present on."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], store: IdentityStore | None = None) -> None:
        def now() -> datetime:
            return self.now

        self.now = utc_now()
        self.database = database
        self.published = Published()
        self.store = store or IdentityStore(database)
        self.changes, self.erasures = ChangeStore(database), ErasureStore(database)
        outbox: Any = self.published
        usernames = UsernameRules(["staff"])
        self.moderation = Moderation(self.changes, outbox, now=now)
        groups = GroupStore(database)
        self.personal_data = PersonalData(self.store, self.changes, self.erasures, groups, PASSWORDS, outbox, now=now)
        self.guests = Guests(
            self.store, self.moderation, self.personal_data, usernames, lifetime=LIFE, retention=RETENTION, now=now
        )
        self.service = IdentityService(
            self.store,
            PASSWORDS,
            TOKENS,
            usernames,
            BoardTokens(BoardTokenStore(database), TOKENS, now=now),
            self.guests,
            session_ttl=SESSION,
            rotation_grace=timedelta(minutes=1),
            now=now,
        )

    async def register(self, username: str, guest: OpenSession, *, country: str = "") -> OpenSession:
        return await self.service.register(username, PASSWORD, country, guest.refresh_token)

    async def block(self, user_id: str) -> None:
        await self.moderation.block(user_id, "spam", None, "", actor="service:score", roles=frozenset({"service"}))

    async def refused(self, what: Any) -> str:
        with pytest.raises(ServiceError) as refusal:
            await what
        return str(refusal.value.reason)
