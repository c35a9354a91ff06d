"""Outside issuers: other issuers whose access tokens are accepted, and the meaning of their claims. Pure.

The id of a player of an outside issuer is permanent: it follows from the issuer and the issuer's own id of the player. Must
never give an outside token a scope, the role `service`, or a role that the operator did not map.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final
from urllib.parse import urlsplit

from services.runtime.auth.access import ACCOUNTS, PLAYER
from services.runtime.auth.claims import Claims, Kind, seconds_of, text_of
from services.runtime.auth.external_ids import is_reserved, player_id

ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA"})
# Sessions of these players are checked like others: they are over while the player is blocked.
SESSION_PREFIX: Final = "outside:"


@dataclass(frozen=True, kw_only=True)
class OutsideIssuer:
    """One issuer. `user_id`, `username` and `roles` name claims; `grants` maps its roles to ours."""

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
        """The claims of a verified payload. Raises ValueError if one is missing or malformed."""
        external_id = text_of(payload, self.user_id)
        if not external_id:
            raise ValueError(f"{self.user_id} is empty")
        theirs = payload.get(self.roles, [])
        theirs = theirs.split() if isinstance(theirs, str) else theirs
        if not isinstance(theirs, list):
            raise ValueError(f"{self.roles} is not a list")
        user_id = player_id(self.issuer, external_id)
        return Claims(
            user_id=user_id,
            username=text_of(payload, self.username, ""),
            roles=PLAYER | {self.grants[role] for role in theirs if isinstance(role, str) and role in self.grants},
            country="",
            session_id=SESSION_PREFIX + user_id,
            kind=kind,
            expires_at=seconds_of(payload, "exp"),
            issuer=self.issuer,
            external_id=external_id,
        )


def parse_issuers(text: str) -> tuple[OutsideIssuer, ...]:
    """Parse ``{"https://id.example": {"jwks_url": "https://…", "audience": "topten", …}, …}``. Raises ValueError."""
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
        raise ValueError(
            f"{issuer} has unknown members: {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}"
        )
    if "algorithms" in entry:
        entry["algorithms"] = frozenset(entry["algorithms"])
    if is_reserved(issuer):
        raise ValueError(f"{issuer} is no issuer: the name stands for clients of our own")
    found = OutsideIssuer(issuer=issuer, **entry)
    if not found.algorithms or not found.algorithms <= ALGORITHMS:
        raise ValueError(f"the algorithms of {issuer} must be of {', '.join(sorted(ALGORITHMS))}")
    if not set(found.grants.values()) <= ACCOUNTS:
        raise ValueError(f"the grants of {issuer} must be of {', '.join(sorted(ACCOUNTS))}")
    url = urlsplit(found.jwks_url)
    on_this_machine = url.scheme == "http" and url.hostname in ("127.0.0.1", "::1", "localhost")
    if not on_this_machine and (url.scheme != "https" or not url.hostname):
        raise ValueError(f"jwks_url of {issuer} must be an https:// address, or an http:// address of this machine")
    return found
