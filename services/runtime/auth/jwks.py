"""The public keys of an issuer, fetched over HTTP (RFC 7517; RSA, P-256 and, by RFC 8037, Ed25519).

Owns when they are fetched: at the start, every five minutes, and for an unknown key id at most once a minute, so that
invented ids are cheap. Known keys stay valid while the issuer does not respond.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from services.runtime.auth.key_copy import KeyCopy
from services.runtime.errors import Reason, ServiceError
from services.runtime.http_json import FAILURES, JsonClient
from services.runtime.process.lifecycle import cancel
from services.runtime.process.periodic import Periodic

MAX_KEYS = 32
MIN_RSA_BITS = 2048
OWN_ALGORITHMS = frozenset({"EdDSA"})
_ALGORITHM_OF: Mapping[str, str] = {"RSA": "RS256", "EC P-256": "ES256", "OKP Ed25519": "EdDSA"}
_MEMBERS = {"RS256": ("n", "e"), "ES256": ("x", "y"), "EdDSA": ("x",)}
REFRESH_EVERY = timedelta(minutes=5)
UNKNOWN_KEY_SECONDS = 60.0
# Without any keys every call would fail, so calls fetch them too, this often.
NO_KEYS_SECONDS = 1.0
# Pauses between attempts in the background while the issuer does not respond.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
_log = structlog.get_logger("jwks")


class VerifyingKey(NamedTuple):
    """A public key and the one algorithm that it may be used with (RFC 8725, 3.1)."""

    algorithm: str
    key: Any


class Jwks:
    """The keys published at `url`: an async context manager, within which they are fetched in the background.

    The keys in `copy` are used until the issuer responds for the first time; each response is written there.
    """

    def __init__(
        self,
        url: str,
        algorithms: frozenset[str] = OWN_ALGORITHMS,
        *,
        copy: KeyCopy | None = None,
        refresh_every: timedelta = REFRESH_EVERY,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.document: Mapping[str, Any] | None = None
        """The JWKS as published; None before the first response."""
        self._url = url
        self._algorithms = algorithms
        self._copy = copy
        self._now = now
        self._keys: dict[str, VerifyingKey] = {}
        self._attempted_at = float("-inf")
        self._unknown_key_at = float("-inf")
        self._is_failing = False
        self._fetching: asyncio.Task[bool] | None = None
        self._refreshing = Periodic("jwks", self._refresh, every=refresh_every)
        self._http = JsonClient()

    async def __aenter__(self) -> Self:
        if self._copy is not None:
            try:
                self._take(self._copy.read())
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:
                _log.warning("copy of the issuer's keys not usable", url=self._url, error=str(error)[:100])
        await self._refreshing.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._refreshing.stop()
        if self._fetching is not None:
            await cancel(self._fetching)
        await self._http.close()

    async def key(self, key_id: str) -> VerifyingKey | None:
        """The public key with this id; None if the issuer has none.

        Raises ServiceError UNAVAILABLE if there are no keys at all and none can be fetched within a second.
        """
        if self.document is None:
            await self.ping()
        elif key_id not in self._keys and self._now() - self._unknown_key_at >= UNKNOWN_KEY_SECONDS:
            self._unknown_key_at = self._now()
            await self._fetch()
        return self._keys.get(key_id)

    async def ping(self) -> None:
        """Raise ServiceError UNAVAILABLE unless there are keys, now or within a second."""
        if self.document is None:
            # An earlier failure proves nothing: the issuer may just have started.
            await asyncio.sleep(self._attempted_at + NO_KEYS_SECONDS - self._now())
        if self.document is None and not await self._fetch():
            raise ServiceError(Reason.UNAVAILABLE, "Tokens cannot be verified at the moment. Try again later.")

    async def _refresh(self) -> None:
        pause = FIRST_PAUSE
        while not await self._fetch():
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _fetch(self) -> bool:
        """Fetch the keys; True if the issuer responded. Concurrent callers share one request, which outlives them."""
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._request())
        return await asyncio.shield(self._fetching)

    async def _request(self) -> bool:
        try:
            document = await self._http.get(self._url)
            self._take(document)
        except FAILURES as error:
            if not self._is_failing:
                _log.warning(
                    "issuer's keys not fetched",
                    url=self._url,
                    error=type(error).__name__,
                    known=len(self._keys),
                )
            self._is_failing = True
            return False
        else:
            if self._is_failing:
                _log.info("issuer's keys fetched again", url=self._url)
            self._is_failing = False
            if self._copy is not None:
                self._copy.write(document)
            return True
        finally:
            self._attempted_at = self._now()
            self._fetching = None

    def _take(self, document: Any) -> None:
        self._keys = read_jwks(document, self._algorithms)
        self.document = document


def read_jwks(document: Any, algorithms: frozenset[str] = OWN_ALGORITHMS) -> dict[str, VerifyingKey]:
    """The signing keys of a JWKS for one of the algorithms, by key id; other keys are skipped.

    Raises ValueError for a malformed JWKS or key, and for an RSA key of less than 2048 bits.
    """
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ValueError("not a JWKS")
    keys: dict[str, VerifyingKey] = {}
    for entry in entries:
        if not isinstance(entry, Mapping) or entry.get("use", "sig") != "sig":
            continue
        kty, crv = entry.get("kty"), entry.get("crv")
        algorithm = _ALGORITHM_OF.get(f"{kty} {crv}" if crv else str(kty), "")
        key_id = entry.get("kid")
        stated = entry.get("alg", algorithm)
        # RFC 9864 names EdDSA with Ed25519 `Ed25519`.
        if algorithm not in algorithms or (stated != algorithm and (algorithm, stated) != ("EdDSA", "Ed25519")):
            continue
        if isinstance(key_id, str) and key_id:
            keys[key_id] = VerifyingKey(algorithm, _public_key(entry, algorithm))
    return keys


def _public_key(entry: Mapping[str, Any], algorithm: str) -> Any:
    members = {name: value for name, value in entry.items() if name != "d"}
    if not all(isinstance(members.get(name), str) for name in _MEMBERS[algorithm]):
        raise ValueError("a key lacks a member")
    for name in _MEMBERS[algorithm]:
        _unpadded(members[name])
    try:
        key = PyJWK.from_dict(members, algorithm).key
    except PyJWTError as error:
        raise ValueError("a key is malformed") from error
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key has less than {MIN_RSA_BITS} bits")
    return key


def public_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """The key as a JWK. Its id is its thumbprint (RFC 7638)."""
    x = base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": thumbprint, "use": "sig", "alg": "EdDSA"}


class StaticKeys:
    """Fixed keys: in the issuer itself, its own."""

    def __init__(self, *keys: Ed25519PublicKey) -> None:
        self._keys = {public_jwk(key)["kid"]: VerifyingKey("EdDSA", key) for key in keys}

    async def key(self, key_id: str) -> VerifyingKey | None:
        """The key with this id, or None."""
        return self._keys.get(key_id)


def _unpadded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
