"""Authentication: verification of signed tokens, and the access token of this process.

Owns what makes a token valid. Must never log or return a token, accept an algorithm or key that the token itself names, or
cache that a token is invalid.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import jwt
from cachetools import LRUCache
from prometheus_client import Counter

from services.runtime.auth.claims import TYPES, Claims, Kind, own_claims, seconds_of
from services.runtime.auth.jwks import OWN_ALGORITHMS, Jwks, StaticKeys
from services.runtime.auth.jws import read_compact
from services.runtime.auth.key_copy import KeyCopy
from services.runtime.auth.service_token import ServiceToken
from services.runtime.config.settings import AuthConfig
from services.runtime.errors import Reason, ServiceError

ALGORITHM = "EdDSA"
# Below the 8190 bytes that the edge accepts as a header.
MAX_TOKEN_LENGTH = 6144
MAX_CACHED_TOKENS = 10_000
# Clock skew allowed for `iat` and `nbf`. A token is never valid after its `exp`.
LEEWAY_SECONDS = 5.0
_REQUIRED = ("iss", "aud", "exp", "iat", "sub")
# Headers with which a token names its own key, or demands what this verifier does not support (RFC 7515, 4.1).
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "zip", "b64"})

MISSING = "The request carries no access token. Send it as `authorization: Bearer <token>`."
EXPIRED = "The token has expired. Get a new one and send the request again."
WRONG_KIND = (
    "The token is of the wrong type. An access token goes into the header; a stream token opens only the stream, a board "
    "token only its board."
)
INVALID = "The token is not valid here. Sign in again."
MESSAGES = frozenset({MISSING, EXPIRED, WRONG_KIND, INVALID})

Keys: TypeAlias = Jwks | StaticKeys

auth_failures = Counter("topten_auth_failures_total", "Tokens and passwords refused, by reason", ["reason"])


class Trusted(NamedTuple):
    """A trusted issuer: its keys, audience, token types by kind, and the parser of its claims (raises ValueError)."""

    keys: Keys
    audience: str
    types: Mapping[Kind, str]
    read: Callable[[Mapping[str, Any], Kind], Claims]


class TokenVerifier:
    """Turns a token into claims. Verified tokens are cached until they expire, at most `max_cached` of them.

    `keys`, `issuer` and `audience` are those of our own tokens; `outside` are other issuers, by their `iss`.
    """

    def __init__(
        self,
        keys: Keys,
        issuer: str,
        audience: str,
        *,
        outside: Mapping[str, Trusted] = MappingProxyType({}),
        now: Callable[[], float] = time.time,
        max_cached: int = MAX_CACHED_TOKENS,
    ) -> None:
        self._trusted = {**outside, issuer: Trusted(keys, audience, TYPES, own_claims)}
        self._now = now
        self._verified: LRUCache[tuple[bytes, tuple[Kind, ...]], Claims] = LRUCache(max_cached)

    async def verify(self, token: str, *kinds: Kind) -> Claims:
        """The claims of `token` if it is of one of these kinds, signed by a trusted issuer, meant for us, and not expired.

        Without kinds it must be an access token. Raises ServiceError UNAUTHENTICATED, or UNAVAILABLE if the issuer's keys
        could not be fetched yet.
        """
        if not token:
            raise _refusal("missing")
        if len(token) > MAX_TOKEN_LENGTH:
            raise _refusal("malformed")
        kinds = kinds or ("access",)
        cache_key = (hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(), kinds)
        known = self._verified.get(cache_key)
        claims = await self._verify(token, kinds) if known is None else known
        if claims.expires_at <= self._now():
            self._verified.pop(cache_key, None)
            raise _refusal("expired")
        if known is None:
            self._verified[cache_key] = claims
        return claims

    async def _verify(self, token: str, kinds: tuple[Kind, ...]) -> Claims:
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
        typ = str(header.get("typ", "")).lower()
        kind = next((each for each in kinds if trusted.types.get(each) == typ), None)
        if kind is None:
            raise _refusal("kind")
        key = await trusted.keys.key(key_id)
        if key is None:
            raise _refusal("unknown_key")
        if header.get("alg") != key.algorithm:
            raise _refusal("header")
        try:
            payload = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=issuer,
                audience=trusted.audience,
                # Times are checked below, with this verifier's own clock.
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
    """The token of an `authorization: Bearer …` value, in any case; empty without one."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def keys_of(url: str, config: AuthConfig, algorithms: frozenset[str] = OWN_ALGORITHMS) -> Jwks:
    """The keys published at `url`, with a copy on disk if the configuration names a folder."""
    copy = KeyCopy(Path(config.keys_folder), url) if config.keys_folder else None
    return Jwks(url, algorithms, copy=copy)


@asynccontextmanager
async def open_verifier(config: AuthConfig, own: Keys | None = None) -> AsyncIterator[TokenVerifier]:
    """A verifier that fetches the keys of each trusted issuer; our own are not fetched if `own` has them."""
    async with AsyncExitStack() as stack:
        outside = {}
        for issuer in config.outside:
            keys = await stack.enter_async_context(keys_of(issuer.jwks_url, config, issuer.algorithms))
            outside[issuer.issuer] = Trusted(keys, issuer.audience, {"access": issuer.type.lower()}, issuer.claims)
        if own is None:
            own = await stack.enter_async_context(keys_of(config.jwks_url, config))
        yield TokenVerifier(own, config.issuer, config.audience, outside=outside)


@asynccontextmanager
async def open_service_token(config: AuthConfig) -> AsyncIterator[ServiceToken]:
    """The access token of this process, requested with its client credentials when it is first needed."""
    async with ServiceToken(config.token_url, config.client_id, config.client_secret) as token:
        yield token


def _refusal(reason: str) -> ServiceError:
    """Return UNAUTHENTICATED, and count it; the holder reads what helps them, an attacker not which check failed."""
    auth_failures.labels(reason).inc()
    message = {"missing": MISSING, "expired": EXPIRED, "kind": WRONG_KIND}.get(reason, INVALID)
    return ServiceError(Reason.UNAUTHENTICATED, message)
