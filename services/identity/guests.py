"""The use cases of guests: people who take part under a nickname, without a password, for some hours.

A guest is an account with the role `guest` alone. It ends at a fixed time, and is erased some time after that like any other
account, unless it was claimed: by registering, a guest becomes a player with the same id.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
import uuid_utils
from prometheus_client import Counter

from services.identity.accounts import Account, InvalidAccountError
from services.runtime.auth.access import GUEST
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.identity.erasure.personal_data import PersonalData
    from services.identity.moderation.service import Moderation
    from services.identity.store import IdentityStore
    from services.identity.usernames import UsernameRules

ENDED_PAGE: Final = 100
guests = Counter(
    "topten_guests_total", "Guests that were created, claimed by a player, or erased after their end", ["event"]
)
_log = structlog.get_logger("guests")


class Guests:
    """Every method raises UNAVAILABLE if the database does not respond.

    A guest lives for `lifetime`, and is erased `retention` after that.
    """

    def __init__(
        self,
        accounts: IdentityStore,
        moderation: Moderation,
        personal_data: PersonalData,
        usernames: UsernameRules,
        *,
        lifetime: timedelta,
        retention: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._accounts = accounts
        self._moderation = moderation
        self._personal_data = personal_data
        self._usernames = usernames
        self._lifetime = lifetime
        self._retention = retention
        self._now = now

    async def create(self, nickname: str) -> Account:
        """Create a guest. Other accounts may have the same name.

        Raises INVALID_ARGUMENT for a name that no account may have, USERNAME_TAKEN for that of a blocked player.
        """
        try:
            name = self._usernames.accept(nickname)
        except InvalidAccountError as error:
            raise ServiceError(Reason.INVALID_ARGUMENT, str(error), field="nickname") from None
        now = self._now()
        guest = Account(
            user_id=str(uuid_utils.uuid7()),
            username=name,
            password_hash="",
            roles=GUEST,
            country="",
            created_at=now,
            guest_until=now + self._lifetime,
        )
        await self._accounts.add_account(guest)
        guests.labels("created").inc()
        _log.info("guest created", user_id=guest.user_id)
        return guest

    async def claim(self, guest: Account, player: Account) -> Account | None:
        """Make a guest the player with this name, password, country and these roles, who keeps the guest's id.

        Ends the sessions of the guest. Returns None if the guest has ended or was claimed meanwhile. Raises USERNAME_TAKEN.
        """
        claimed = await self._moderation.claim(guest.user_id, player)
        if claimed is not None:
            guests.labels("claimed").inc()
        return claimed

    async def erase_ended(self) -> None:
        """Erase the guests whose retention is over. Safe in several instances: one of them erases each guest."""
        while True:
            before = self._now() - self._retention
            ended = await self._accounts.guests_until(before, ENDED_PAGE)
            for user_id in ended:
                if await self._personal_data.erase_guest(user_id, ended_by=before):
                    guests.labels("erased").inc()
            if len(ended) < ENDED_PAGE:
                return
