"""The claims of verified tokens. Pure.

Must never be used on a token whose signature was not verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from services.runtime.auth.access import EVERYBODY

Kind = Literal["access", "stream", "board"]
TYPES: Mapping[Kind, str] = {"access": "at+jwt", "stream": "stream+jwt", "board": "board+jwt"}
MAX_TEXT = 256


@dataclass(frozen=True)
class Claims:
    """The holder of a verified token. `expires_at` is in seconds since 1970; `country` and `session_id` may be empty.

    `issuer` is empty for our own tokens; a player of an outside issuer has the `external_id` there. `player_issuer` is
    the outside issuer whose players a service brings; empty if it brings its own. A board token reads `board` and nothing
    else; its holder may be anybody, so `user_id` is empty. For other tokens `board` is empty.
    """

    user_id: str
    username: str
    roles: frozenset[str]
    country: str
    session_id: str
    kind: Kind
    expires_at: float
    scopes: frozenset[str] = frozenset()
    issuer: str = ""
    external_id: str = ""
    player_issuer: str = ""
    board: str = ""

    @cached_property
    def permissions(self) -> frozenset[str]:
        """The roles and scopes, and `*` for the valid token itself."""
        return self.roles | self.scopes | EVERYBODY

    def may(self, access: frozenset[str]) -> bool:
        """Whether the caller has one of the roles or scopes of `access` (see `access.py`)."""
        return not access.isdisjoint(self.permissions)


def own_claims(payload: Mapping[str, Any], kind: Kind) -> Claims:
    """The claims of one of our own tokens. Raises ValueError unless they have the form that identity writes."""
    subject = text_of(payload, "sub")
    if not subject or not text_of(payload, "jti") or text_of(payload, "userId", subject) != subject:
        raise ValueError("sub or jti is empty, or userId differs from sub")
    board = text_of(payload, "board", "")
    if bool(board) != (kind == "board"):
        raise ValueError("a board token names a board, and no other token does")
    return Claims(
        user_id="" if board else subject,
        username=text_of(payload, "username", ""),
        roles=frozenset(texts_of(payload, "roles")),
        country=text_of(payload, "country", ""),
        session_id=text_of(payload, "sid", ""),
        kind=kind,
        expires_at=seconds_of(payload, "exp"),
        scopes=frozenset(text_of(payload, "scope", "", most=1024).split()),
        player_issuer=text_of(payload, "playerIssuer", ""),
        board=board,
    )


def text_of(payload: Mapping[str, Any], name: str, default: str | None = None, *, most: int = MAX_TEXT) -> str:
    """A text claim. Raises ValueError if it is not text or is longer than `most` characters."""
    value = payload.get(name, default)
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{name} is not text, or longer than {most} characters")
    return value


def texts_of(payload: Mapping[str, Any], name: str) -> list[str]:
    """A claim that is a list of texts; empty if absent. Raises ValueError."""
    values = payload.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} is not a list of texts")
    return values


def seconds_of(payload: Mapping[str, Any], name: str) -> float:
    """A time claim in seconds since 1970. Raises ValueError."""
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise ValueError(f"{name} is not a time")
    return float(value)
