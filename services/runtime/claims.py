"""What a verified token says of its holder: the claims of our own tokens. Pure.

Must never be asked about a token whose signature was not verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from services.runtime.access import EVERYBODY

Kind = Literal["access", "stream"]
TYPES: Mapping[Kind, str] = {"access": "at+jwt", "stream": "stream+jwt"}
MAX_TEXT = 256


@dataclass(frozen=True)
class Claims:
    """Who holds a verified token. `expires_at` is in seconds since 1970; `country` and `session_id` may be empty.

    `issuer` is empty for a token of our own.
    """

    user_id: str
    username: str
    roles: frozenset[str]
    country: str
    session_id: str
    token_id: str
    kind: Kind
    expires_at: float
    scopes: frozenset[str] = frozenset()
    issuer: str = ""

    @cached_property
    def permissions(self) -> frozenset[str]:
        """What opens something: roles, scopes, and that the token is good."""
        return self.roles | self.scopes | EVERYBODY

    def may(self, access: frozenset[str]) -> bool:
        """Whether the caller has one of the roles or scopes of `access` (see `access.py`)."""
        return not access.isdisjoint(self.permissions)


def own_claims(payload: Mapping[str, Any], kind: Kind) -> Claims:
    """The claims of a token of our own. Raises ValueError where they are not as identity writes them."""
    subject = text_of(payload, "sub")
    if not subject or not text_of(payload, "jti") or text_of(payload, "userId", subject) != subject:
        raise ValueError("userId is not sub, or something is empty")
    return Claims(
        user_id=subject,
        username=text_of(payload, "username", ""),
        roles=frozenset(texts_of(payload, "roles")),
        country=text_of(payload, "country", ""),
        session_id=text_of(payload, "sid", ""),
        token_id=text_of(payload, "jti"),
        kind=kind,
        expires_at=seconds_of(payload, "exp"),
        scopes=frozenset(text_of(payload, "scope", "", most=1024).split()),
    )


def text_of(payload: Mapping[str, Any], name: str, default: str | None = None, *, most: int = MAX_TEXT) -> str:
    """A claim that is text. Raises ValueError if it is none, or longer than `most` characters."""
    value = payload.get(name, default)
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{name} is no text, or too long")
    return value


def texts_of(payload: Mapping[str, Any], name: str) -> list[str]:
    """A claim that is a list of texts; empty if it is not there. Raises ValueError."""
    values = payload.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} is no list of texts")
    return values


def seconds_of(payload: Mapping[str, Any], name: str) -> float:
    """A claim that is a time in seconds since 1970. Raises ValueError."""
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise ValueError(f"{name} is no time")
    return float(value)
