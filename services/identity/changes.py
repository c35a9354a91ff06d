"""What happens to an account that boards must know of: blocks, their ends, changes of country, its end. Pure.

Each such change raises the account's version by one and states the whole of what boards need, so that of two facts the
one with the higher version holds, in whatever order they come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_events_pb2

from services.identity.accounts import Account, Block

PLAYER_BLOCKED: Final = "PLAYER_BLOCKED"
PLAYER_UNBLOCKED: Final = "PLAYER_UNBLOCKED"
COUNTRY_CHANGED: Final = "COUNTRY_CHANGED"
PLAYER_ERASED: Final = "PLAYER_ERASED"
TIME_IS_OVER: Final = "The block's time is over."


@dataclass(frozen=True, slots=True)
class Change:
    """One change, named by its event. `actor` is a user id, `service:<name>`, or empty where time did it, or a player
    who is gone.
    """

    event_id: str
    user_id: str
    kind: str
    at: datetime
    actor: str
    reason: str

    def event(self, account: Account) -> bytes:
        """The fact, with what `account` is after the change."""
        at = Timestamp()
        at.FromDatetime(self.at)
        return identity_events_pb2.PlayerChangedEvent(
            event_id=self.event_id,
            event_type=self.kind,
            payload=identity_events_pb2.PlayerChangedPayload(
                user_id=self.user_id,
                timestamp=at,
                version=account.version,
                blocked=account.block is not None,
                country=account.country,
                actor=self.actor,
                reason=self.reason,
            ),
        ).SerializeToString()


def blocked(account: Account, change: Change, expires_at: datetime | None) -> Account:
    """The account with a block in the place of any other."""
    block = Block(reason=change.reason, blocked_at=change.at, expires_at=expires_at)
    return replace(account, block=block, version=account.version + 1)


def unblocked(account: Account) -> Account | None:
    """The account without its block; None if it has none."""
    return None if account.block is None else replace(account, block=None, version=account.version + 1)


def expired(account: Account, now: datetime) -> Account | None:
    """The account without its block if that one's time is over; None otherwise."""
    return unblocked(account) if account.block is not None and account.block.is_over(now) else None


def moved(account: Account, country: str) -> Account | None:
    """The account with another country; None if it is there already."""
    return None if account.country == country else replace(account, country=country, version=account.version + 1)


def erased(account: Account, change: Change) -> Account:
    """The account as boards must take it from then on: as one that is blocked for ever, and lives nowhere."""
    block = Block(reason="", blocked_at=change.at, expires_at=None)
    return replace(account, block=block, country="", version=account.version + 1)
