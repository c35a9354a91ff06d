"""Tokens: one kind is never accepted as another, and a refresh token has one successor."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.identity.accounts import Account
from services.identity.tokens import RefreshToken, TokenIssuer
from services.runtime.auth.jwks import public_jwk

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def pem(key: Any) -> str:
    """Return a private key as PKCS#8."""
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded.decode()


NEXT = Ed25519PrivateKey.generate()
PEM, NEXT_PEM, EC_PEM = pem(Ed25519PrivateKey.generate()), pem(NEXT), pem(generate_private_key(SECP256R1()))
PUBLIC_PEM = (
    NEXT.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)
ADA = Account("u-1", "Ada", "digest", frozenset({"player", "author"}), "VN", NOW)


@pytest.fixture
def issuer() -> TokenIssuer:
    return TokenIssuer(PEM, issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))


def test_access_token_names_its_player_and_expiry(issuer: TokenIssuer) -> None:
    token = issuer.access_token(ADA, "s-1", NOW)
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": issuer.jwks["keys"][0]["kid"]}
    assert claims["userId"] == claims["sub"] == "u-1"
    assert (claims["username"], claims["roles"], claims["sid"]) == ("Ada", ["author", "player"], "s-1")
    assert claims["exp"] - claims["iat"] == 600
    assert {"iss", "aud", "jti"} <= claims.keys()


def test_stream_token_has_its_own_type_and_lasts_as_long_as_the_session(issuer: TokenIssuer) -> None:
    token = issuer.stream_token(ADA, "s-1", NOW, NOW + timedelta(days=30))
    assert jwt.get_unverified_header(token)["typ"] == "stream+jwt"
    assert jwt.decode(token, options={"verify_signature": False})["exp"] == (NOW + timedelta(days=30)).timestamp()


def test_published_key_verifies_tokens(issuer: TokenIssuer) -> None:
    key = jwt.PyJWK(issuer.jwks["keys"][0])
    token = issuer.service_token("edge", frozenset({"service"}), frozenset({"b:c", "a:b"}), datetime.now(UTC))
    claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="topten", issuer="topten")
    assert (claims["userId"], claims["roles"], claims["scope"]) == ("service:edge", ["service"], "a:b b:c")
    assert "d" not in issuer.jwks["keys"][0], "the private key is not published"


@pytest.mark.parametrize("others", [NEXT_PEM, PUBLIC_PEM, NEXT_PEM + PUBLIC_PEM], ids=["private", "public", "both"])
def test_the_first_key_signs_and_all_are_published(issuer: TokenIssuer, others: str) -> None:
    rotating = TokenIssuer(PEM + others, issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))
    own = issuer.jwks["keys"][0]
    assert rotating.jwks["keys"][0] == own
    assert [key["kid"] for key in rotating.jwks["keys"][1:]] == [public_jwk(NEXT.public_key())["kid"]]
    assert jwt.get_unverified_header(rotating.access_token(ADA, "s-1", NOW))["kid"] == own["kid"]


@pytest.mark.parametrize("keys", ["", "nonsense", PUBLIC_PEM + PEM, PEM * 9, PEM + EC_PEM])
def test_invalid_keys_are_refused_at_start(keys: str) -> None:
    with pytest.raises(ValueError, match="Ed25519"):
        TokenIssuer(keys, issuer="i", audience="a", access_ttl=timedelta(minutes=1))


def test_refresh_token_has_one_successor_per_salt() -> None:
    first = RefreshToken.new("s-1")
    assert first.successor(b"salt") == first.successor(b"salt")
    assert first.successor(b"another salt") != first.successor(b"salt")
    assert first.successor(b"salt").text not in (first.text, "")
    assert first.digest == hashlib.sha256(first.text.encode()).hexdigest()
    assert RefreshToken.parse(first.text) == first
    assert RefreshToken.new("s-1") != first


@pytest.mark.parametrize("text", ["", ".", "a", "a.", ".b"])
def test_malformed_refresh_token_is_refused(text: str) -> None:
    assert RefreshToken.parse(text) is None
