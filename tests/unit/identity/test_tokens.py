"""Tokens: one kind never passes for another, and a refresh token has one successor."""

import hashlib
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.identity.accounts import Account
from services.identity.passwords import Passwords
from services.identity.tokens import RefreshToken, TokenIssuer

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PEM = (
    Ed25519PrivateKey.generate()
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
ADA = Account("u-1", "Ada", "digest", frozenset({"player", "author"}), "VN", NOW)


@pytest.fixture
def issuer() -> TokenIssuer:
    return TokenIssuer(PEM, issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))


def test_access_token_states_who_and_until_when(issuer: TokenIssuer) -> None:
    token = issuer.access_token(ADA, "s-1", NOW)
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": issuer.jwks["keys"][0]["kid"]}
    assert claims["userId"] == claims["sub"] == "u-1"
    assert (claims["username"], claims["roles"], claims["sid"]) == ("Ada", ["author", "player"], "s-1")
    assert claims["exp"] - claims["iat"] == 600
    assert {"iss", "aud", "jti"} <= claims.keys()


def test_stream_token_says_so_in_its_type_and_lasts_as_long_as_the_session(issuer: TokenIssuer) -> None:
    token = issuer.stream_token(ADA, "s-1", NOW, NOW + timedelta(days=30))
    assert jwt.get_unverified_header(token)["typ"] == "stream+jwt"
    assert jwt.decode(token, options={"verify_signature": False})["exp"] == (NOW + timedelta(days=30)).timestamp()


def test_published_key_verifies_what_was_signed(issuer: TokenIssuer) -> None:
    key = jwt.PyJWK(issuer.jwks["keys"][0])
    token = issuer.service_token("edge", frozenset({"service"}), datetime.now(UTC))
    claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="topten", issuer="topten")
    assert (claims["userId"], claims["roles"]) == ("service:edge", ["service"])
    assert "d" not in issuer.jwks["keys"][0], "the private half stays inside"


def test_other_keys_are_refused_at_start() -> None:
    other = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="Ed25519"):
        TokenIssuer(other.decode(), issuer="i", audience="a", access_ttl=timedelta(minutes=1))


def test_refresh_token_has_one_successor_that_only_the_key_can_derive(issuer: TokenIssuer) -> None:
    first = RefreshToken.new("s-1")
    assert first.successor(issuer.refresh_key) == first.successor(issuer.refresh_key)
    assert first.successor(b"another key") != first.successor(issuer.refresh_key)
    assert first.successor(issuer.refresh_key).text not in (first.text, "")
    assert first.digest == hashlib.sha256(first.text.encode()).hexdigest()
    assert RefreshToken.parse(first.text) == first
    assert RefreshToken.new("s-1") != first


@pytest.mark.parametrize("text", ["", ".", "a", "a.", ".b"])
def test_text_without_the_form_of_a_token_is_none(text: str) -> None:
    assert RefreshToken.parse(text) is None


async def test_password_digests() -> None:
    passwords = Passwords(memory_kib=1024, rounds=1)
    digest = await passwords.digest("correct horse")
    assert digest.startswith("$argon2id$")
    assert await passwords.matches(digest, "correct horse")
    assert not await passwords.matches(digest, "wrong horse")
    assert not await passwords.matches(None, "correct horse")
    assert not await passwords.matches("garbage", "correct horse")
    assert Passwords(memory_kib=2048, rounds=1).is_outdated(digest)
