"""Changes of accounts whose records a restore lost while their events were on their way, or counted after it.

What the backup says of an account holds: such a change does not count, or, if it is counted, the account's state is
announced again with a higher version. An erasure is the exception: the player asked for it, and it is carried out again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog
from google.protobuf.message import DecodeError
from topten.identity.v1.identity_events_pb2 import PlayerChangedEvent

from services.identity.accounts import Account
from services.identity.moderation.changes import Change
from services.runtime.errors import Reason, ServiceError
from services.streams import PLAYER_ERASED, PLAYER_UNBLOCKED

if TYPE_CHECKING:
    from services.identity.erasure.erasure_store import ErasureStore
    from services.identity.moderation.change_store import ChangeStore
    from services.runtime.outbox.publishing import Outbox

ANNOUNCED_BY: Final = "service:identity"
ANNOUNCED_BECAUSE: Final = "A backup was put back, and this is what it says."
_log = structlog.get_logger("restoration")


class RecordRestoration:
    """Safe to repeat and to use from several instances. Raises UNAVAILABLE."""

    def __init__(
        self, changes: ChangeStore, erasures: ErasureStore, outbox: Outbox, *, now: Callable[[], datetime]
    ) -> None:
        self._changes = changes
        self._erasures = erasures
        self._outbox = outbox
        self._now = now

    async def restore(self, published: Sequence[tuple[bytes, bool]]) -> list[bytes]:
        """Return for each event, given with whether it is counted, the event on record; empty if it must not count.

        Raises INVALID_ARGUMENT for bytes that are no event of this service.
        """
        events = [(_event(data), is_counted) for data, is_counted in published]
        recorded = await self._changes.recorded_events([event.event_id for event, _ in events])
        return [
            recorded.get(event.event_id) or await self._settle(event, is_counted=is_counted)
            for event, is_counted in events
        ]

    async def _settle(self, event: PlayerChangedEvent, *, is_counted: bool) -> bytes:
        if event.event_type == PLAYER_ERASED:
            return await self._erase(event)
        if is_counted:
            await self._announce(event)
        _log.warning(
            "change of an account lost by a restore",
            event_id=event.event_id,
            kind=event.event_type,
            user_id=event.payload.user_id,
            counted=is_counted,
        )
        return b""

    async def _erase(self, event: PlayerChangedEvent) -> bytes:
        """Erase the account again, under the same event. Without an account, other services may still know the player."""
        change = Change(event.event_id, event.payload.user_id, PLAYER_ERASED, self._now(), event.payload.actor, "")
        publish_by = self._now() + self._outbox.lease
        erased = await self._erasures.erase(change, publish_by, without_account=event.SerializeToString())
        if erased:
            _log.warning("account erased again after a restore", event_id=event.event_id)
        return erased

    async def _announce(self, event: PlayerChangedEvent) -> None:
        """Publish the state of the account with a higher version than that of the event."""
        # Derived from the event, so that it is announced once.
        change_id = str(uuid.uuid5(uuid.NAMESPACE_OID, event.event_id))
        change = Change(
            change_id, event.payload.user_id, PLAYER_UNBLOCKED, self._now(), ANNOUNCED_BY, ANNOUNCED_BECAUSE
        )

        def transform(account: Account) -> Account:
            return replace(account, version=max(account.version, event.payload.version) + 1)

        await self._changes.apply(change, transform, self._now())


def _event(data: bytes) -> PlayerChangedEvent:
    try:
        event = PlayerChangedEvent.FromString(data)
    except DecodeError:
        event = PlayerChangedEvent()
    if not event.event_id or not event.payload.user_id:
        message = "An event could not be read. Send events of this service as they were published."
        raise ServiceError(Reason.INVALID_ARGUMENT, message)
    return event
