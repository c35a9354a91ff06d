"""A client that may exchange a secret for a service token, and the clients that settings declare. Pure.

Must never keep a secret in the clear, or put one into a message.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from services.runtime.auth.access import OWN_SCOPES, SCOPES, SERVICE

MIN_SECRET: Final = 16
_ROLES: Final = frozenset({SERVICE, "admin"})
_MEMBERS: Final = frozenset({"secret", "secret_sha256", "roles", "scopes", "issuer"})
_FORM: Final = '{"name": {"secret_sha256": "…", "scopes": ["leaderboard:read"]}}'


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """The digest of a client's secret, and the roles and scopes of its tokens.

    `issuer` is the outside issuer to which the client's players sign in, whose ids of them are its external ids; empty if
    they do not sign in.
    """

    digest: str
    roles: frozenset[str]
    scopes: frozenset[str]
    previous_digest: str = ""
    previous_until: datetime = datetime.min.replace(tzinfo=UTC)
    issuer: str = ""

    def proves(self, secret: str, now: datetime) -> bool:
        """True for the client's secret, and for the previous one while it is valid.

        Secrets are long and random, so a plain SHA-256 digest protects them.
        """
        digest = secret_digest(secret)
        is_current = hmac.compare_digest(digest, self.digest)
        return (hmac.compare_digest(digest, self.previous_digest) and now < self.previous_until) or is_current


# Stands in for an unknown client, so that the response time does not reveal which names exist.
UNKNOWN_CLIENT: Final = ServiceClient("", frozenset(), frozenset())


def parse_service_clients(text: str) -> Mapping[str, ServiceClient]:
    """Parse `{"name": {"secret_sha256": "<hex>", "scopes": ["score:read"]}, …}` to clients by name. Raises ValueError.

    `secret` may replace the digest. By default the processes of Topten (edge, quiz, score, leaderboard) have the scopes
    they need and other clients none; `roles` are `service`, or `admin` for the operator. `issuer` is one of the outside
    issuers.
    """
    try:
        entries = json.loads(text)
        return {str(name): _client(str(name), entry) for name, entry in entries.items()}
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError):
        raise ValueError(f"must be a JSON object such as {_FORM}") from None


def _client(name: str, entry: Mapping[str, Any]) -> ServiceClient:
    roles, scopes = frozenset(entry.get("roles", [SERVICE])), frozenset(entry.get("scopes", OWN_SCOPES.get(name, ())))
    if unknown := (entry.keys() - _MEMBERS) | (roles - _ROLES) | (scopes - SCOPES.keys()):
        raise ValueError(f"unknown member, role or scope: {', '.join(sorted(map(str, unknown)))}")
    digest = str(entry["secret_sha256"]).lower() if "secret_sha256" in entry else _digest_of_secret(entry["secret"])
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("secret_sha256 must have 64 hexadecimal digits")
    return ServiceClient(digest, roles, scopes, issuer=str(entry.get("issuer", "")))


def _digest_of_secret(secret: object) -> str:
    text = str(secret)
    if len(text) < MIN_SECRET:
        raise ValueError(f"secrets must have at least {MIN_SECRET} characters")
    return secret_digest(text)


def secret_digest(secret: str) -> str:
    """Return the digest under which a secret is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
