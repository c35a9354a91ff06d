"""Who calls: verifying signed tokens, fetching the issuer's keys, and this process's own token.

Owns what makes a token good. Must never log or return a token, accept an algorithm or a key that the token itself
proposes, or remember that a token was bad.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jwt
from prometheus_client import Counter

from services.runtime.claims import TYPES, Claims, Kind, own_claims, seconds_of
from services.runtime.errors import Reason, ServiceError
from services.runtime.jwks import OWN_ALGORITHMS, Jwks, VerifyingKey
from services.runtime.jws import read_compact
from services.runtime.key_copy import KeyCopy
from services.runtime.service_token import ServiceToken
from services.runtime.settings import AuthConfig

ALGORITHM = "EdDSA"
# Below the 8190 bytes that the edge takes of a header.
MAX_TOKEN_LENGTH = 6144
MAX_CACHED_TOKENS = 10_000
# For `iat` and `nbf` alone: clocks of two machines differ a little. A token is never good after its `exp`.
LEEWAY_SECONDS = 5.0
_REQUIRED = ("iss", "aud", "exp", "iat", "sub")
# Headers by which a token would choose its own key, or demand what this verifier does not do (RFC 7515, 4.1).
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "zip", "b64"})

auth_failures = Counter("topten_auth_failures_total", "Tokens and passwords that were refused", ["reason"])


class KeySource(Protocol):
    """Where public keys come from: an issuer's JWKS, or the issuer's own memory."""

    async def key(self, key_id: str) -> VerifyingKey | None:
        """The key of this id, or None. Raises ServiceError UNAVAILABLE if that can't be told now."""
        ...


class Trusted(NamedTuple):
    """One issuer: its keys, the audience, the types by kind, and what reads its claims (raises ValueError)."""

    keys: KeySource
    audience: str
    types: Mapping[Kind, str]
    read: Callable[[Mapping[str, Any], Kind], Claims]


class TokenVerifier:
    """Turns a token into claims. A verified token is remembered until it expires, at most 10 000 of them.

    `keys`, `issuer` and `audience` are of our own tokens; `outside` are other issuers by what they call themselves.
    """

    def __init__(
        self,
        keys: KeySource,
        issuer: str,
        audience: str,
        *,
        outside: Mapping[str, Trusted] = MappingProxyType({}),
        now: Callable[[], float] = time.time,
        max_cached: int = MAX_CACHED_TOKENS,
    ) -> None:
        self._trusted = {**outside, issuer: Trusted(keys, audience, TYPES, own_claims)}
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
            header, unverified = read_compact(token)
        except ValueError:
            raise _refusal("malformed") from None
        issuer = unverified.get("iss")
        trusted = self._trusted.get(issuer) if isinstance(issuer, str) else None
        if trusted is None:
            raise _refusal("claims")
        key_id = header.get("kid")
        if _REFUSED_HEADERS & header.keys() or not isinstance(key_id, str) or not 0 < len(key_id) <= 128:
            raise _refusal("header")
        if kind not in trusted.types or str(header.get("typ", "")).lower() != trusted.types[kind]:
            raise _refusal("kind")
        found = await trusted.keys.key(key_id)
        if found is None:
            raise _refusal("unknown_key")
        if header.get("alg") != found.algorithm:
            raise _refusal("header")
        try:
            payload = jwt.decode(
                token,
                found.key,
                algorithms=[found.algorithm],
                issuer=issuer,
                audience=trusted.audience,
                # The times are checked below, by this verifier's own clock.
                options={"require": [*_REQUIRED], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidSignatureError:
            raise _refusal("signature") from None
        except (jwt.PyJWTError, ValueError):
            raise _refusal("claims") from None
        return self._claims(payload, trusted, kind)

    def _claims(self, payload: Mapping[str, Any], trusted: Trusted, kind: Kind) -> Claims:
        latest = self._now() + LEEWAY_SECONDS
        try:
            if any(seconds_of(payload, name) > latest for name in ("iat", "nbf") if name in payload):
                raise _refusal("not_yet")
            return trusted.read(payload, kind)
        except ValueError:
            raise _refusal("claims") from None


def bearer_token(header: str | None) -> str:
    """The token of an `authorization: Bearer …` value; empty if there is none. The scheme's case does not matter."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def keys_of(url: str, config: AuthConfig, algorithms: frozenset[str] = OWN_ALGORITHMS) -> Jwks:
    """The keys that are published at `url`, with a copy where the configuration has one."""
    copy = KeyCopy(Path(config.keys_folder), url) if config.keys_folder else None
    return Jwks(url, algorithms, copy=copy)


@asynccontextmanager
async def open_verifier(config: AuthConfig, own: KeySource | None = None) -> AsyncIterator[TokenVerifier]:
    """A verifier that has each issuer's keys as soon as they can be had; `own` keys are not fetched."""
    async with AsyncExitStack() as stack:
        outside = {}
        for issuer in config.outside:
            theirs = await stack.enter_async_context(keys_of(issuer.jwks_url, config, issuer.algorithms))
            outside[issuer.issuer] = Trusted(theirs, issuer.audience, {"access": issuer.type.lower()}, issuer.claims)
        if own is None:
            own = await stack.enter_async_context(keys_of(config.jwks_url, config))
        yield TokenVerifier(own, config.issuer, config.audience, outside=outside)


@asynccontextmanager
async def open_service_token(config: AuthConfig) -> AsyncIterator[ServiceToken]:
    """The process's own token, bought with its client credentials when it is needed first."""
    async with ServiceToken(config.token_url, config.client_id, config.client_secret) as token:
        yield token


def _refusal(reason: str) -> ServiceError:
    auth_failures.labels(reason).inc()
    return ServiceError(Reason.UNAUTHENTICATED, "the call carries no valid token")
