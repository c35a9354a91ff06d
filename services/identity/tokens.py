"""Signed and opaque tokens.

Access, stream and service tokens are JWTs (RFC 7519) signed with Ed25519 (RFC 8037); ``typ`` keeps one kind from passing
for another (RFC 8725, 3.11). A refresh token is opaque. Must never put a secret into a claim.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
import uuid_utils
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.identity.accounts import Account
from services.runtime.auth import ALGORITHM
from services.runtime.claims import TYPES
from services.runtime.jwks import public_jwk

MAX_KEYS: Final = 8
_PEM_BLOCK: Final = re.compile(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """An opaque refresh token ``<session id>.<256 random bits>`` and what may be stored of it."""

    text: str
    session_id: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> RefreshToken | None:
        """The token in ``text``, or None if it does not have the form of one."""
        session_id, dot, secret = text.partition(".")
        if not (dot and session_id and secret):
            return None
        return cls(text, session_id, hashlib.sha256(text.encode()).hexdigest())

    @classmethod
    def new(cls, session_id: str) -> RefreshToken:
        """The first token of a session."""
        return cls._of(session_id, secrets.token_bytes(32))

    def successor(self, salt: bytes) -> RefreshToken:
        """The token that follows this one.

        It is derived (HMAC-SHA256 under ``salt``, which is drawn at each rotation and stored) instead of drawn, so that
        everyone who trades the same token, because fifty tabs wake at once or an answer was lost, is handed the same next
        one by whichever instance, though only digests are stored: salt and digests without the token derive nothing.
        """
        return self._of(self.session_id, hmac.digest(salt, self.text.encode(), "sha256"))

    @classmethod
    def _of(cls, session_id: str, secret: bytes) -> RefreshToken:
        text = f"{session_id}.{base64.urlsafe_b64encode(secret).rstrip(b'=').decode()}"
        return cls(text, session_id, hashlib.sha256(text.encode()).hexdigest())


def read_keys(pem: str) -> tuple[Ed25519PrivateKey, tuple[Ed25519PublicKey, ...]]:
    """The key that signs, and all that are published, of PEM blocks one after another.

    The first is an unencrypted PKCS#8 private key; others, private or public (SPKI), are what signed before or will sign
    next. Raises ValueError.
    """
    keys = [_read_key(block) for block in _PEM_BLOCK.findall(pem)]
    if not keys or not isinstance(keys[0], Ed25519PrivateKey) or len(keys) > MAX_KEYS:
        raise ValueError(f"needs an Ed25519 private key (PEM) and may have up to {MAX_KEYS - 1} more keys behind it")
    public = [key.public_key() if isinstance(key, Ed25519PrivateKey) else key for key in keys]
    return keys[0], tuple({key.public_bytes_raw(): key for key in public}.values())


def _read_key(block: str) -> Ed25519PrivateKey | Ed25519PublicKey:
    key: object
    if "PRIVATE" in block.partition("\n")[0]:
        key = serialization.load_pem_private_key(block.encode(), password=None)
    else:
        key = serialization.load_pem_public_key(block.encode())
    if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return key


class TokenIssuer:
    """Signs tokens with one Ed25519 key; its ``kid`` is the key's RFC 7638 thumbprint."""

    def __init__(self, keys_pem: str, *, issuer: str, audience: str, access_ttl: timedelta) -> None:
        """Keys as `read_keys` has them. Raises ValueError."""
        self._key, self.public_keys = read_keys(keys_pem)
        self._issuer = issuer
        self._audience = audience
        self.access_ttl = access_ttl
        self.jwks = {"keys": [public_jwk(key) for key in self.public_keys]}
        self._kid = self.jwks["keys"][0]["kid"]

    def access_token(self, account: Account, session_id: str, now: datetime) -> str:
        """A token for API calls, good for the access TTL."""
        claims = {
            "sub": account.user_id,
            "userId": account.user_id,
            "username": account.username,
            "roles": sorted(account.roles),
            "country": account.country,
            "sid": session_id,
        }
        return self._sign(TYPES["access"], claims, now, now + self.access_ttl)

    def stream_token(self, account: Account, session_id: str, now: datetime, expires_at: datetime) -> str:
        """A token for the leaderboard stream alone, good until the session ends."""
        claims = {
            "sub": account.user_id,
            "userId": account.user_id,
            "username": account.username,
            "roles": [],
            "country": account.country,
            "sid": session_id,
        }
        return self._sign(TYPES["stream"], claims, now, expires_at)

    def service_token(self, client_id: str, roles: frozenset[str], scopes: frozenset[str], now: datetime) -> str:
        """A token with which a service or operator calls in its own name; scopes as RFC 9068 (2.2.3) writes them."""
        subject = f"service:{client_id}"
        claims: dict[str, Any] = {"sub": subject, "userId": subject, "username": client_id, "roles": sorted(roles)}
        if scopes:
            claims["scope"] = " ".join(sorted(scopes))
        return self._sign(TYPES["access"], claims, now, now + self.access_ttl)

    def _sign(self, kind: str, claims: dict[str, Any], now: datetime, expires_at: datetime) -> str:
        claims |= {
            "iss": self._issuer,
            "aud": self._audience,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": str(uuid_utils.uuid7()),
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"typ": kind, "kid": self._kid})
