"""Signed and opaque tokens.

Access, stream, board and service tokens are JWTs (RFC 7519) signed with Ed25519 (RFC 8037); `typ` keeps one kind from being
accepted as another (RFC 8725, 3.11). The heads of closed boards are signed with the same key, under a type of their own. A
refresh token is opaque. Must never put a secret into a claim.
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

from services.boards.proofs.signed_heads import TYPE as HEAD_TYPE
from services.boards.proofs.signed_heads import Head
from services.identity.accounts import Account
from services.runtime.auth.access import OWN_DATA
from services.runtime.auth.claims import TYPES
from services.runtime.auth.jwks import public_jwk
from services.runtime.auth.verification import ALGORITHM

MAX_KEYS: Final = 8
_PEM_BLOCK: Final = re.compile(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """An opaque refresh token `<session id>.<256 random bits>`, and its digest, which may be stored."""

    text: str
    session_id: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> RefreshToken | None:
        """Return the token in `text`, or None if it is malformed."""
        session_id, dot, secret = text.partition(".")
        if not (dot and session_id and secret):
            return None
        return cls(text, session_id, hashlib.sha256(text.encode()).hexdigest())

    @classmethod
    def new(cls, session_id: str) -> RefreshToken:
        """Return the first token of a session."""
        return cls._of(session_id, secrets.token_bytes(32))

    def successor(self, salt: bytes) -> RefreshToken:
        """Return the token that replaces this one.

        It is derived with HMAC-SHA256 under `salt`, which is random and stored at each rotation. So every instance returns
        the same successor to every holder of the same token (fifty tabs that wake at once, a retry after a lost response)
        although only digests are stored. Salt and digests derive nothing without the token.
        """
        return self._of(self.session_id, hmac.digest(salt, self.text.encode(), "sha256"))

    @classmethod
    def _of(cls, session_id: str, secret: bytes) -> RefreshToken:
        text = f"{session_id}.{base64.urlsafe_b64encode(secret).rstrip(b'=').decode()}"
        return cls(text, session_id, hashlib.sha256(text.encode()).hexdigest())


def read_keys(pem: str) -> tuple[Ed25519PrivateKey, tuple[Ed25519PublicKey, ...]]:
    """Return the signing key and all public keys of consecutive PEM blocks.

    The first must be an unencrypted PKCS#8 private key; the others, private or public (SPKI), signed before or will sign
    next. Raises ValueError.
    """
    keys = [_read_key(block) for block in _PEM_BLOCK.findall(pem)]
    if not keys or not isinstance(keys[0], Ed25519PrivateKey) or len(keys) > MAX_KEYS:
        raise ValueError(f"must start with an Ed25519 private key (PEM), followed by at most {MAX_KEYS - 1} more keys")
    public = [key.public_key() if isinstance(key, Ed25519PrivateKey) else key for key in keys]
    return keys[0], tuple({key.public_bytes_raw(): key for key in public}.values())


def _read_key(block: str) -> Ed25519PrivateKey | Ed25519PublicKey:
    key: object
    if "PRIVATE" in block.partition("\n")[0]:
        key = serialization.load_pem_private_key(block.encode(), password=None)
    else:
        key = serialization.load_pem_public_key(block.encode())
    if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        raise ValueError("must contain Ed25519 keys only")
    return key


class TokenIssuer:
    """Signs tokens with one Ed25519 key; their `kid` is its RFC 7638 thumbprint."""

    def __init__(self, keys_pem: str, *, issuer: str, audience: str, access_ttl: timedelta) -> None:
        """Take the keys in the form of `read_keys`. Raises ValueError."""
        self._key, self.public_keys = read_keys(keys_pem)
        self._issuer = issuer
        self._audience = audience
        self.access_ttl = access_ttl
        self.jwks = {"keys": [public_jwk(key) for key in self.public_keys]}
        self._kid = self.jwks["keys"][0]["kid"]

    def access_token(self, account: Account, session_id: str, now: datetime) -> str:
        """Return a token for API calls, valid for `lifetime`."""
        claims = _player_claims(account, session_id) | {"roles": sorted(account.roles)}
        return self._sign(TYPES["access"], claims, now, now + self.lifetime(account, now))

    def lifetime(self, account: Account, now: datetime) -> timedelta:
        """Return how long an access token is valid: `access_ttl`, but for a guest not beyond their end."""
        return self.access_ttl if account.guest_until is None else min(self.access_ttl, account.guest_until - now)

    def data_token(self, account: Account, now: datetime) -> str:
        """Return a token for the data of the account only, valid for `access_ttl`. It belongs to no session."""
        claims = _player_claims(account, "") | {"roles": [], "scope": OWN_DATA}
        return self._sign(TYPES["access"], claims, now, now + self.access_ttl)

    def stream_token(self, account: Account, session_id: str, now: datetime, expires_at: datetime) -> str:
        """Return a token for the leaderboard stream only, valid until the session expires."""
        claims = _player_claims(account, session_id) | {"roles": []}
        return self._sign(TYPES["stream"], claims, now, expires_at)

    def board_token(self, token_id: str, board: str, session_id: str, now: datetime, expires_at: datetime) -> str:
        """Return a token that reads one board; it names no account."""
        claims = {"sub": f"board-token:{token_id}", "board": board, "sid": session_id}
        return self._sign(TYPES["board"], claims, now, expires_at)

    def service_token(
        self, client_id: str, roles: frozenset[str], scopes: frozenset[str], now: datetime, *, issuer: str = ""
    ) -> str:
        """Return a token for calls of a service or the operator; `scope` as in RFC 9068 (2.2.3).

        `issuer` is the outside issuer whose players the service brings; empty if it brings its own.
        """
        subject = f"service:{client_id}"
        claims: dict[str, Any] = {"sub": subject, "userId": subject, "username": client_id, "roles": sorted(roles)}
        if scopes:
            claims["scope"] = " ".join(sorted(scopes))
        if issuer:
            claims["playerIssuer"] = issuer
        return self._sign(TYPES["access"], claims, now, now + self.access_ttl)

    def board_head(self, head: Head) -> str:
        """Return a signed head, with the public key in its header. It is no token: its type differs, and it never expires."""
        key = {name: self.jwks["keys"][0][name] for name in ("kty", "crv", "x")}
        return jwt.encode(
            head.claims(), self._key, algorithm=ALGORITHM, headers={"typ": HEAD_TYPE, "kid": self._kid, "jwk": key}
        )

    def _sign(self, kind: str, claims: dict[str, Any], now: datetime, expires_at: datetime) -> str:
        claims |= {
            "iss": self._issuer,
            "aud": self._audience,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": str(uuid_utils.uuid7()),
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"typ": kind, "kid": self._kid})


def _player_claims(account: Account, session_id: str) -> dict[str, Any]:
    return {
        "sub": account.user_id,
        "userId": account.user_id,
        "username": account.username,
        "country": account.country,
        "sid": session_id,
    }
