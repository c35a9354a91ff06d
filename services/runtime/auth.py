"""Who calls: verifying signed tokens, fetching the issuer's keys, and this process's own token.

Owns what makes a token good. Must never log or return a token, accept an algorithm or a key that the token itself
proposes, or remember that a token was bad.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from prometheus_client import Counter

from services.runtime.access import EVERYBODY
from services.runtime.errors import Reason, ServiceError
from services.runtime.jwks import Jwks
from services.runtime.jws import read_compact
from services.runtime.service_token import ServiceToken
from services.runtime.settings import AuthConfig

Kind = Literal["access", "stream"]

ALGORITHM = "EdDSA"
TYPES: Mapping[Kind, str] = {"access": "at+jwt", "stream": "stream+jwt"}
# Below the 8190 bytes that the edge takes of a header.
MAX_TOKEN_LENGTH = 6144
MAX_CACHED_TOKENS = 10_000
# For `iat` and `nbf` alone: clocks of two machines differ a little. A token is never good after its `exp`.
LEEWAY_SECONDS = 5.0
_REQUIRED = ["iss", "aud", "exp", "iat", "jti", "sub"]
# Headers by which a token would choose its own key, or demand what this verifier does not do (RFC 7515, 4.1).
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "zip", "b64"})

auth_failures = Counter("topten_auth_failures_total", "Tokens and passwords that were refused", ["reason"])


@dataclass(frozen=True)
class Claims:
    """Who holds a verified token. `expires_at` is in seconds since 1970; `country` and `session_id` may be empty."""

    user_id: str
    username: str
    roles: frozenset[str]
    country: str
    session_id: str
    token_id: str
    kind: Kind
    expires_at: float
    scopes: frozenset[str] = frozenset()

    def may(self, access: frozenset[str]) -> bool:
        """Whether the caller has one of the roles or scopes of `access` (see `access.py`)."""
        return access >= EVERYBODY or not access.isdisjoint(self.roles | self.scopes)


class KeySource(Protocol):
    """Where public keys come from: an issuer's JWKS, or the issuer's own memory."""

    async def key(self, key_id: str) -> Ed25519PublicKey | None:
        """The key of this id, or None. Raises ServiceError UNAVAILABLE if that can't be told now."""
        ...


class TokenVerifier:
    """Turns a token into claims. A verified token is remembered until it expires, at most 10 000 of them."""

    def __init__(
        self,
        keys: KeySource,
        issuer: str,
        audience: str,
        *,
        now: Callable[[], float] = time.time,
        max_cached: int = MAX_CACHED_TOKENS,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._max_cached = max_cached
        self._verified: OrderedDict[tuple[bytes, Kind], Claims] = OrderedDict()

    async def verify(self, token: str, kind: Kind = "access") -> Claims:
        """The claims of `token` if it is of this kind, signed by the issuer, for us, and not expired.

        Raises ServiceError UNAUTHENTICATED, or UNAVAILABLE if the issuer's keys could not be had at all.
        """
        if not token:
            raise _refusal("missing")
        if len(token) > MAX_TOKEN_LENGTH:
            raise _refusal("malformed")
        cache_key = (hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(), kind)
        claims = self._verified.get(cache_key)
        if claims is None:
            claims = await self._verify(token, kind)
        if claims.expires_at <= self._now():
            self._verified.pop(cache_key, None)
            raise _refusal("expired")
        self._verified[cache_key] = claims
        self._verified.move_to_end(cache_key)
        if len(self._verified) > self._max_cached:
            self._verified.popitem(last=False)
        return claims

    async def _verify(self, token: str, kind: Kind) -> Claims:
        try:
            header, _ = read_compact(token)
        except ValueError:
            raise _refusal("malformed") from None
        key_id = header.get("kid")
        if header.get("alg") != ALGORITHM or _REFUSED_HEADERS & header.keys():
            raise _refusal("header")
        if str(header.get("typ", "")).lower() != TYPES[kind]:
            raise _refusal("kind")
        if not isinstance(key_id, str) or not 0 < len(key_id) <= 128:
            raise _refusal("header")
        key = await self._keys.key(key_id)
        if key is None:
            raise _refusal("unknown_key")
        try:
            payload = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                # The times are checked below, by this verifier's own clock.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidSignatureError:
            raise _refusal("signature") from None
        except (jwt.PyJWTError, ValueError):
            raise _refusal("claims") from None
        return self._claims(payload, kind)

    def _claims(self, payload: Mapping[str, Any], kind: Kind) -> Claims:
        latest = self._now() + LEEWAY_SECONDS
        if _seconds(payload, "iat") > latest or ("nbf" in payload and _seconds(payload, "nbf") > latest):
            raise _refusal("not_yet")
        subject = _text(payload, "sub")
        roles = payload.get("roles", [])
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise _refusal("claims")
        if not subject or not _text(payload, "jti") or _text(payload, "userId", subject) != subject:
            raise _refusal("claims")
        return Claims(
            user_id=subject,
            username=_text(payload, "username", ""),
            roles=frozenset(roles),
            country=_text(payload, "country", ""),
            session_id=_text(payload, "sid", ""),
            token_id=_text(payload, "jti"),
            kind=kind,
            expires_at=_seconds(payload, "exp"),
            scopes=frozenset(_text(payload, "scope", "", most=1024).split()),
        )


def bearer_token(header: str | None) -> str:
    """The token of an `authorization: Bearer …` value; empty if there is none. The scheme's case does not matter."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


@asynccontextmanager
async def open_verifier(config: AuthConfig) -> AsyncIterator[TokenVerifier]:
    """A verifier that fetches the keys from `config.jwks_url` when it needs them first."""
    async with Jwks(config.jwks_url) as keys:
        yield TokenVerifier(keys, config.issuer, config.audience)


@asynccontextmanager
async def open_service_token(config: AuthConfig) -> AsyncIterator[ServiceToken]:
    """The process's own token, bought with its client credentials when it is needed first."""
    async with ServiceToken(config.token_url, config.client_id, config.client_secret) as token:
        yield token


def _refusal(reason: str) -> ServiceError:
    auth_failures.labels(reason).inc()
    return ServiceError(Reason.UNAUTHENTICATED, "the call carries no valid token")


def _text(payload: Mapping[str, Any], name: str, default: str | None = None, *, most: int = 256) -> str:
    value = payload.get(name, default)
    if not isinstance(value, str) or len(value) > most:
        raise _refusal("claims")
    return value


def _seconds(payload: Mapping[str, Any], name: str) -> float:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise _refusal("claims")
    return float(value)
