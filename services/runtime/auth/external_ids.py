"""Players of other systems: from the id that another system gives a player to their id here. Pure.

A source is another system: an outside issuer, or a service client. The id here is a UUID of the source and its own id of the
player (RFC 9562, 5.5), so it is permanent, it needs no lookup, and two sources never share a player. Must never change: every
account, score and tombstone of such a player is stored under it.
"""

from __future__ import annotations

import uuid
from typing import Final

from services.runtime.auth.access import ADMIN
from services.runtime.auth.claims import Claims

ADMINS: Final = "admin"
"""The one source of all callers with the role `admin`, the operator's command among them."""
SERVICE_PREFIX: Final = "service:"
_NAMESPACE: Final = uuid.UUID("6f1f4b43-7b0d-5a59-8e58-0c7c2a4f6a51")


def player_id(source: str, external_id: str) -> str:
    """Return the player's id here. Ids are compared exactly: case and Unicode form count."""
    return str(uuid.uuid5(_NAMESPACE, f"{source}\n{external_id}"))


def source_of(caller: Claims) -> str:
    """Return the source of the external ids that a service client or admin names.

    That of a client that is bound to an outside issuer is the issuer, so its players can sign in there.
    """
    return caller.player_issuer or (ADMINS if caller.roles & ADMIN else caller.user_id)


def is_reserved(issuer: str) -> bool:
    """Whether an outside issuer of this name would share its players with a service client or admins."""
    return issuer == ADMINS or issuer.startswith(SERVICE_PREFIX)
