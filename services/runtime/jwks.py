"""An issuer's public keys, fetched over HTTP (RFC 7517; of RSA, P-256 and, by RFC 8037, Ed25519).

Owns when they are fetched: once for many who wait, again when they are old, and for an unknown key id at most once a
minute, so that made-up ids cost nothing. Keys that are known stay good while the issuer does not answer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from services.runtime.errors import Reason, ServiceError
from services.runtime.http_json import FAILURES, JsonClient

MAX_KEYS = 32
MIN_RSA_BITS = 2048
OWN_ALGORITHMS = frozenset({"EdDSA"})
_ALGORITHM_OF: Mapping[tuple[str, Any], str] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_MEMBERS = {"RS256": ("n", "e"), "ES256": ("x", "y"), "EdDSA": ("x",)}
MAX_AGE_SECONDS = 600.0
UNKNOWN_KEY_SECONDS = 60.0
# With no keys at all every call would fail, so that is tried more often.
NO_KEYS_SECONDS = 1.0
_log = structlog.get_logger("jwks")


class VerifyingKey(NamedTuple):
    """A public key and the one algorithm that it is for (RFC 8725, 3.1)."""

    algorithm: str
    key: Any


class Jwks:
    """The keys at `url`, as an async context manager; nothing is fetched before a key is asked for."""

    def __init__(
        self, url: str, algorithms: frozenset[str] = OWN_ALGORITHMS, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._now = now
        self._keys: dict[str, VerifyingKey] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()
        self._http = JsonClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def key(self, key_id: str) -> VerifyingKey | None:
        """The public key of this id; None if the issuer does not know it.

        Raises ServiceError UNAVAILABLE while no key was ever fetched.
        """
        if not self._due(key_id):
            return self._found(key_id)
        async with self._fetching:
            if self._due(key_id):  # whoever waited for the lock finds the answer of the one before
                await self._fetch()
        return self._found(key_id)

    async def ping(self) -> None:
        """Raises ServiceError UNAVAILABLE unless there are keys to verify with."""
        await self.key("")

    def _due(self, key_id: str) -> bool:
        now = self._now()
        since_try = float("inf") if self._tried_at is None else now - self._tried_at
        if self._fetched_at is None:
            return since_try >= NO_KEYS_SECONDS
        if key_id and key_id not in self._keys:
            return since_try >= UNKNOWN_KEY_SECONDS
        return now - self._fetched_at >= MAX_AGE_SECONDS and since_try >= UNKNOWN_KEY_SECONDS

    def _found(self, key_id: str) -> VerifyingKey | None:
        if self._fetched_at is None:
            raise ServiceError(Reason.UNAVAILABLE, "tokens can't be verified at this moment")
        return self._keys.get(key_id)

    async def _fetch(self) -> None:
        try:
            self._keys = read_jwks(await self._http.get(self._url), self._algorithms)
            self._fetched_at = self._now()
        except FAILURES as error:
            _log.warning("the issuer's keys could not be fetched", error=type(error).__name__, known=len(self._keys))
        self._tried_at = self._now()


def read_jwks(document: Any, algorithms: frozenset[str] = OWN_ALGORITHMS) -> dict[str, VerifyingKey]:
    """The signing keys of a JWKS by their id, those for one of the algorithms; others are passed over.

    Raises ValueError for what is no JWKS, and for a broken key or an RSA key of less than 2048 bits.
    """
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ValueError("not a JWKS")
    keys: dict[str, VerifyingKey] = {}
    for entry in entries:
        if not isinstance(entry, Mapping) or entry.get("use", "sig") != "sig":
            continue
        algorithm = _ALGORITHM_OF.get((str(entry.get("kty")), entry.get("crv")), "")
        key_id = entry.get("kid")
        # RFC 9864 gives EdDSA with Ed25519 a name of its own.
        if (
            algorithm not in algorithms
            or {"Ed25519": "EdDSA"}.get(alg := entry.get("alg", algorithm), alg) != algorithm
        ):
            continue
        if isinstance(key_id, str) and key_id:
            keys[key_id] = VerifyingKey(algorithm, _public_key(entry, algorithm))
    return keys


def _public_key(entry: Mapping[str, Any], algorithm: str) -> Any:
    members = {name: value for name, value in entry.items() if name != "d"}
    if not all(isinstance(members.get(name), str) for name in _MEMBERS[algorithm]):
        raise ValueError("a key lacks what makes it one")
    for name in _MEMBERS[algorithm]:
        _unpadded(members[name])
    try:
        key = PyJWK.from_dict(members, algorithm).key
    except PyJWTError as error:
        raise ValueError("a key can't be read") from error
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key has less than {MIN_RSA_BITS} bits")
    return key


def public_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """The key as a JWK, its id the thumbprint of RFC 7638."""
    x = base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": thumbprint, "use": "sig", "alg": "EdDSA"}


class StaticKeys:
    """Keys that are known beforehand: the issuer's own."""

    def __init__(self, *keys: Ed25519PublicKey) -> None:
        self._keys = {public_jwk(key)["kid"]: VerifyingKey("EdDSA", key) for key in keys}

    async def key(self, key_id: str) -> VerifyingKey | None:
        """The key of this id, or None."""
        return self._keys.get(key_id)


def _unpadded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
