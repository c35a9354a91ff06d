"""Changes of an account: sanctions, their ends, countries, profiles, erasure. Pure.

A change that boards depend on raises the account's version by one, and its event states everything that boards need. Of two
events the one with the higher version holds, in whatever order they arrive. A change of a sanction that leaves the strongest
one as it was is recorded without an event.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_events_pb2

from services.identity.accounts import Account, Profile, Sanction, SetBy
from services.streams import COUNTRY_CHANGED, PLAYER_BLOCKED, PLAYER_UNBLOCKED, PROFILE_CHANGED

BLOCK_EXPIRED: Final = "The block expired."
MAX_SANCTIONS: Final = 100
# Changes of sanctions that leave the strongest as it was; they have no event.
SANCTION_ADDED: Final = "SANCTION_ADDED"
SANCTION_LIFTED: Final = "SANCTION_LIFTED"
# A moderator ended sessions; it has no event.
SESSIONS_ENDED: Final = "SESSIONS_ENDED"
# A player of another system got an account, about whom boards know nothing yet; it has no event.
PLAYER_ADDED: Final = "PLAYER_ADDED"


class TooManySanctionsError(Exception):
    """The account has as many sanctions in force as one may have."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change, identified by its event.

    `actor` is a user id or `service:<name>`; empty for an expired block and for an erased player. `former_username` is the
    name before a change of it; empty for other changes.
    """

    event_id: str
    user_id: str
    kind: str
    at: datetime
    actor: str
    reason: str
    former_username: str = ""

    def seen_as(self, before: Account, after: Account) -> Change:
        """Return a change of sanctions or a profile under the kind of its effect; any other change as it is."""
        if self.kind == PROFILE_CHANGED:
            kind = PROFILE_CHANGED if after.country == before.country else COUNTRY_CHANGED
            former = "" if after.username == before.username else before.username
            return replace(self, kind=kind, former_username=former)
        if self.kind not in (PLAYER_BLOCKED, PLAYER_UNBLOCKED):
            return self
        if after.version != before.version:
            return replace(self, kind=PLAYER_BLOCKED if after.sanctions else PLAYER_UNBLOCKED)
        return replace(self, kind=SANCTION_ADDED if self.kind == PLAYER_BLOCKED else SANCTION_LIFTED)

    def event(self, account: Account) -> bytes:
        """Return the event; `account` is the account after the change."""
        at = Timestamp()
        at.FromDatetime(self.at)
        return identity_events_pb2.PlayerChangedEvent(
            event_id=self.event_id,
            event_type=self.kind,
            payload=identity_events_pb2.PlayerChangedPayload(
                user_id=self.user_id,
                timestamp=at,
                version=account.version,
                blocked=bool(account.sanctions),
                country=account.country,
                actor=self.actor,
                reason=self.reason,
            ),
        ).SerializeToString()


def with_sanction(account: Account, sanction: Sanction) -> Account:
    """Return the account with one more sanction, beside those in force. Raises TooManySanctionsError."""
    in_force = account.sanctions_at(sanction.blocked_at)
    if len(in_force) >= MAX_SANCTIONS:
        raise TooManySanctionsError
    return _with_sanctions(account, [*in_force, sanction])


def without_sanctions(account: Account, lifted: Collection[str], now: datetime) -> Account | None:
    """Return the account without the sanctions that have these ids or have expired; None if it has none of them."""
    kept = [each for each in account.sanctions_at(now) if each.sanction_id not in lifted]
    return None if len(kept) == len(account.sanctions) else _with_sanctions(account, kept)


def _with_sanctions(account: Account, sanctions: Iterable[Sanction]) -> Account:
    """Return the account with these sanctions, and another version if boards or the player see a difference."""
    after = replace(account, sanctions=tuple(sanctions))
    return after if _seen(after) == _seen(account) else replace(after, version=account.version + 1)


def _seen(account: Account) -> tuple[str, datetime | None] | None:
    """Return what others see of the sanctions: the reason and end of the strongest."""
    return None if account.block is None else (account.block.reason, account.block.expires_at)


def with_country(account: Account, country: str) -> Account | None:
    """Return the account with another country; None if it has this one."""
    return None if account.country == country else replace(account, country=country, version=account.version + 1)


def with_username(account: Account, username: str) -> Account | None:
    """Return the account under another name; None if it has this one."""
    return None if account.username == username else replace(account, username=username, version=account.version + 1)


def claimed(guest: Account, player: Account) -> Account:
    """Return a guest as the player, with another version: the id and the sanctions stay, the sessions end."""
    return replace(
        guest,
        username=player.username,
        password_hash=player.password_hash,
        roles=player.roles,
        country=player.country,
        guest_until=None,
        session_epoch=guest.session_epoch + 1,
        version=guest.version + 1,
    )


def with_profile(account: Account, profile: Profile) -> Account | None:
    """Return the account with this profile, with another version if boards see a difference; None if it has this profile."""
    after = replace(
        account,
        username=profile.username,
        country=account.country if profile.country is None else profile.country,
        avatar_url=account.avatar_url if profile.avatar_url is None else profile.avatar_url,
        external_id=profile.external_id,
    )
    if after == account:
        return None
    is_seen = (after.username, after.country) != (account.username, account.country)
    return replace(after, version=account.version + 1) if is_seen else after


def erased(account: Account, change: Change) -> Account:
    """Return the account as boards treat it after its erasure: permanently blocked, without a country."""
    block = Sanction(change.event_id, "", "", SetBy.ADMIN, change.at, None)
    return replace(account, sanctions=(block,), country="", version=account.version + 1)
