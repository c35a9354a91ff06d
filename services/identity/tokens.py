"""Signed and opaque tokens.

Access, stream and service tokens are JWTs (RFC 7519) signed with Ed25519 (RFC 8037); ``typ`` keeps one kind from passing
for another (RFC 8725, 3.11). A refresh token is opaque. Must never put a secret into a claim.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
import uuid_utils
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.identity.accounts import Account
from services.runtime.auth import ALGORITHM, TYPES
from services.runtime.jwks import public_jwk


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

    def successor(self, key: bytes) -> RefreshToken:
        """The token that follows this one.

        It is derived (HMAC-SHA256 under ``key``) instead of drawn, so that everyone who trades the same token, because
        fifty tabs wake at once or an answer was lost, is handed the same next one, though only digests are stored.
        """
        return self._of(self.session_id, hmac.digest(key, self.text.encode(), "sha256"))

    @classmethod
    def _of(cls, session_id: str, secret: bytes) -> RefreshToken:
        text = f"{session_id}.{base64.urlsafe_b64encode(secret).rstrip(b'=').decode()}"
        return cls(text, session_id, hashlib.sha256(text.encode()).hexdigest())


class TokenIssuer:
    """Signs tokens with one Ed25519 key; its ``kid`` is the key's RFC 7638 thumbprint."""

    def __init__(self, private_key_pem: str, *, issuer: str, audience: str, access_ttl: timedelta) -> None:
        """Raises ValueError if the PEM is not an unencrypted Ed25519 private key."""
        key = serialization.load_pem_private_key(private_key_pem.encode(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the signing key is not an Ed25519 private key")
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self.access_ttl = access_ttl
        self.refresh_key = HKDF(hashes.SHA256(), 32, salt=None, info=b"topten refresh token").derive(
            key.private_bytes_raw()
        )
        self.public_key = key.public_key()
        self.jwks = {"keys": [public_jwk(self.public_key)]}
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

    def service_token(self, client_id: str, roles: frozenset[str], now: datetime) -> str:
        """A token with which a service or operator calls in its own name."""
        subject = f"service:{client_id}"
        claims = {"sub": subject, "userId": subject, "username": client_id, "roles": sorted(roles)}
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
