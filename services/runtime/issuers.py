"""Outside issuers: whose tokens are believed besides our own, and what their claims mean here. Pure.

A player of an outside issuer is the same player for ever: his id is a UUID made of the issuer and its name for him
(RFC 9562, 5.5). Must never give an outside token a scope, the role `service`, or a role that the operator did not map.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final
from urllib.parse import urlsplit

from services.runtime.access import ACCOUNTS, PLAYER
from services.runtime.claims import Claims, Kind, seconds_of, text_of

ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA"})
# Identity is asked about these as about sessions: one is over as long as the player is blocked.
SESSION_PREFIX: Final = "outside:"
_NAMESPACE: Final = uuid.UUID("6f1f4b43-7b0d-5a59-8e58-0c7c2a4f6a51")


@dataclass(frozen=True, kw_only=True)
class OutsideIssuer:
    """One issuer. `user_id`, `username` and `roles` name claims; `grants` says which roles theirs give here."""

    issuer: str
    jwks_url: str
    audience: str
    algorithms: frozenset[str] = frozenset({"RS256"})
    type: str = "at+jwt"
    user_id: str = "sub"
    username: str = "preferred_username"
    roles: str = "roles"
    grants: Mapping[str, str] = field(default_factory=dict)

    def claims(self, payload: Mapping[str, Any], kind: Kind) -> Claims:
        """What a verified payload says. Raises ValueError where what is needed is missing or of another kind."""
        name = text_of(payload, self.user_id)
        if not name:
            raise ValueError(f"{self.user_id} is empty")
        theirs = payload.get(self.roles, [])
        theirs = theirs.split() if isinstance(theirs, str) else theirs
        if not isinstance(theirs, list):
            raise ValueError(f"{self.roles} is no list")
        user_id = str(uuid.uuid5(_NAMESPACE, f"{self.issuer}\n{name}"))
        return Claims(
            user_id=user_id,
            username=text_of(payload, self.username, ""),
            roles=PLAYER | {self.grants[role] for role in theirs if isinstance(role, str) and role in self.grants},
            country="",
            session_id=SESSION_PREFIX + user_id,
            token_id=text_of(payload, "jti", ""),
            kind=kind,
            expires_at=seconds_of(payload, "exp"),
            issuer=self.issuer,
        )


def parse_issuers(text: str) -> tuple[OutsideIssuer, ...]:
    """``{"https://id.example": {"jwks_url": "https://…", "audience": "topten", …}, …}`` as issuers. Raises ValueError."""
    try:
        entries = json.loads(text or "{}")
        return tuple(_issuer(issuer, dict(entry)) for issuer, entry in entries.items())
    except (TypeError, AttributeError, json.JSONDecodeError):
        raise ValueError(
            'must be a JSON object {"https://issuer": {"jwks_url": "https://…", "audience": "…"}}'
        ) from None


def _issuer(issuer: str, entry: dict[str, Any]) -> OutsideIssuer:
    known = {each.name for each in fields(OutsideIssuer)} - {"issuer"}
    if unknown := entry.keys() - known:
        raise ValueError(f"{issuer} has no {', '.join(sorted(unknown))}; it may have {', '.join(sorted(known))}")
    if "algorithms" in entry:
        entry["algorithms"] = frozenset(entry["algorithms"])
    found = OutsideIssuer(issuer=issuer, **entry)
    if not found.algorithms or not found.algorithms <= ALGORITHMS:
        raise ValueError(f"{issuer} may sign by {', '.join(sorted(ALGORITHMS))}")
    if not set(found.grants.values()) <= ACCOUNTS:
        raise ValueError(f"{issuer} may grant {', '.join(sorted(ACCOUNTS))}")
    url = urlsplit(found.jwks_url)
    if url.scheme != "https" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(f"the keys of {issuer} must be fetched by https")
    return found
