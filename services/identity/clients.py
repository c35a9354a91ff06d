"""The services that may buy a token with a secret, as the operator declares them. Pure.

Must never hold a secret in clear, or show one in a message.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.runtime.access import OWN_SCOPES, SCOPES, SERVICE

MIN_SECRET: Final = 16
_ROLES: Final = frozenset({SERVICE, "admin"})
_MEMBERS: Final = frozenset({"secret", "secret_sha256", "roles", "scopes"})
_FORM: Final = '{"name": {"secret_sha256": "…", "scopes": ["leaderboard:read"]}}'


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """One that may buy a service token: the digest of its secret, and what its tokens say."""

    digest: str
    roles: frozenset[str]
    scopes: frozenset[str]

    def proves(self, secret: str) -> bool:
        """True for the client's secret. Secrets are random and long, so that a plain digest keeps them."""
        return hmac.compare_digest(_digest(secret), self.digest)


# Compared against for a name that nobody has, so that names can't be told apart by time.
NOBODY: Final = ServiceClient("", frozenset(), frozenset())


def parse_service_clients(text: str) -> Mapping[str, ServiceClient]:
    """``{"name": {"secret_sha256": "<hex>", "scopes": ["score:read"]}, …}`` as clients by id. Raises ValueError.

    Instead of the digest the `secret` itself may stand. Without `scopes` a process of ours (edge, quiz, score,
    leaderboard) has those that it needs and anybody else none; `roles` are `service`, or `admin` for the operator.
    """
    try:
        entries = json.loads(text)
        return {str(name): _client(str(name), entry) for name, entry in entries.items()}
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError):
        raise ValueError(f"must be a JSON object such as {_FORM}") from None


def _client(name: str, entry: Mapping[str, Any]) -> ServiceClient:
    roles, scopes = frozenset(entry.get("roles", [SERVICE])), frozenset(entry.get("scopes", OWN_SCOPES.get(name, ())))
    if unknown := (entry.keys() - _MEMBERS) | (roles - _ROLES) | (scopes - SCOPES.keys()):
        raise ValueError(f"names what there is not: {', '.join(sorted(map(str, unknown)))}")
    digest = str(entry["secret_sha256"]).lower() if "secret_sha256" in entry else _digest(_long(str(entry["secret"])))
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("needs the SHA-256 digest of a secret as 64 hexadecimal digits")
    return ServiceClient(digest, roles, scopes)


def _long(secret: str) -> str:
    if len(secret) < MIN_SECRET:
        raise ValueError(f"needs secrets of {MIN_SECRET} characters or more")
    return secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
