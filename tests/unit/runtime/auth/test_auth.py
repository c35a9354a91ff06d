"""Which tokens are believed: real signatures, real keys over a real socket."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.runtime.auth.claims import Claims
from services.runtime.auth.jwks import StaticKeys, VerifyingKey, public_jwk
from services.runtime.auth.verification import MAX_TOKEN_LENGTH, TokenVerifier, bearer_token
from tests.unit.runtime.auth.tokens import refused
from tests.unit.runtime.conftest import Clock
from tests.unit.runtime.issuer import Issuer, encoded, signed


class CountingKeys(StaticKeys):
    """The issuer's keys, with a count of the lookups."""

    def __init__(self, issuer: Issuer) -> None:
        super().__init__(issuer.key.public_key())
        self.lookups = 0

    async def key(self, key_id: str) -> VerifyingKey | None:
        self.lookups += 1
        return await super().key(key_id)


async def test_a_valid_token_yields_its_claims(issuer: Issuer, verifier: TokenVerifier) -> None:
    claims = await verifier.verify(issuer.token(jti="t-1", exp=int(time.time()) + 60, roles=["player", "author"]))
    assert claims == Claims(
        user_id="u-1",
        username="ada",
        roles=frozenset({"player", "author"}),
        country="VN",
        session_id="s-1",
        kind="access",
        expires_at=claims.expires_at,
    )
    assert claims.expires_at > time.time()


async def test_a_service_needs_no_more_than_a_subject_and_roles(issuer: Issuer, verifier: TokenVerifier) -> None:
    token = issuer.token(sub="edge", userId=None, username=None, country=None, sid=None, roles=["service"])
    claims = await verifier.verify(token)
    assert (claims.user_id, claims.username, claims.country, claims.roles) == ("edge", "", "", frozenset({"service"}))


async def test_a_stream_token_is_valid_only_for_the_stream(issuer: Issuer, verifier: TokenVerifier) -> None:
    stream = issuer.token(headers={"typ": "stream+jwt"})
    assert (await verifier.verify(stream, "stream")).kind == "stream"
    await refused(verifier, stream, "access")
    await refused(verifier, issuer.token(), "stream")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": int(time.time()) - 1}, id="expired"),
        pytest.param({"exp": None}, id="no exp"),
        pytest.param({"iat": None}, id="no iat"),
        pytest.param({"jti": None}, id="no jti"),
        pytest.param({"sub": None}, id="no sub"),
        pytest.param({"iss": None}, id="no iss"),
        pytest.param({"aud": None}, id="no aud"),
        pytest.param({"iss": "other"}, id="another issuer"),
        pytest.param({"aud": "other"}, id="another audience"),
        pytest.param({"iat": int(time.time()) + 3600}, id="issued in the future"),
        pytest.param({"nbf": int(time.time()) + 3600}, id="not yet"),
        pytest.param({"exp": True}, id="exp is no number"),
        pytest.param({"exp": 1e300}, id="exp beyond the calendar"),
        pytest.param({"userId": "u-2"}, id="userId is not the subject"),
        pytest.param({"sub": "", "userId": None}, id="empty subject"),
        pytest.param({"jti": ""}, id="empty jti"),
        pytest.param({"roles": "admin"}, id="roles are no list"),
        pytest.param({"roles": [1]}, id="roles are no text"),
        pytest.param({"username": 7}, id="username is no text"),
        pytest.param({"username": "a" * 300}, id="username too long"),
    ],
)
async def test_wrong_claims_are_refused(issuer: Issuer, verifier: TokenVerifier, changes: dict[str, Any]) -> None:
    await refused(verifier, issuer.token(**changes))


@pytest.mark.parametrize(
    "headers",
    [
        {"kid": None},
        {"kid": ""},
        {"kid": "nobody"},
        {"kid": "a" * 200},
        {"typ": None},
        {"typ": "JWT"},
        {"crit": ["exp"]},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["x"]},
        {"zip": "DEF"},
        {"b64": True},
    ],
)
async def test_wrong_headers_are_refused(issuer: Issuer, verifier: TokenVerifier, headers: dict[str, Any]) -> None:
    await refused(verifier, issuer.token(headers=headers))


async def test_a_key_inside_the_token_is_not_trusted(issuer: Issuer, verifier: TokenVerifier) -> None:
    own = Ed25519PrivateKey.generate()
    jwk = public_jwk(own.public_key())
    await refused(verifier, issuer.token(key=own, headers={"jwk": jwk, "kid": jwk["kid"]}))
    await refused(verifier, issuer.token(key=own, headers={"jwk": jwk}))


async def test_a_forged_signature_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    await refused(verifier, issuer.token(key=Ed25519PrivateKey.generate()))


async def test_a_changed_payload_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    header, _, signature = issuer.token().split(".")
    await refused(verifier, f"{header}.{encoded(issuer.payload(roles=['admin']))}.{signature}")


async def test_other_algorithms_are_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    headers = {"kid": issuer.key_id, "typ": "at+jwt"}
    public = issuer.published[0]["x"]
    await refused(verifier, jwt.encode(issuer.payload(), key="", algorithm="none", headers=headers))
    await refused(verifier, jwt.encode(issuer.payload(), key=public.encode(), algorithm="HS256", headers=headers))
    rsa_key, ec_key = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    await refused(verifier, jwt.encode(issuer.payload(), key=rsa_key, algorithm="RS256", headers=headers))
    await refused(verifier, jwt.encode(issuer.payload(), key=ec_key, algorithm="ES256", headers=headers))
    await refused(verifier, signed(ed448.Ed448PrivateKey.generate(), issuer.payload(), headers))


async def test_an_unsigned_token_with_a_promised_algorithm_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    header = encoded({"alg": "EdDSA", "kid": issuer.key_id, "typ": "at+jwt"})
    await refused(verifier, f"{header}.{encoded(issuer.payload())}.")


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b", "a.b.c", "....", "é" * 10, "\ud800", "a" * (MAX_TOKEN_LENGTH + 1), encoded([1]) + ".e30.e30"],
)
async def test_malformed_tokens_of_any_form_are_refused(verifier: TokenVerifier, token: str) -> None:
    await refused(verifier, token)


async def test_a_verified_token_is_cached_until_it_expires(issuer: Issuer) -> None:
    now = int(time.time())
    clock, keys = Clock(now), CountingKeys(issuer)
    verifier = TokenVerifier(keys, "topten", "topten", now=clock)
    token = issuer.token(exp=now + 10)
    first = await verifier.verify(token)
    clock.advance(9.9)
    assert await verifier.verify(token) is first
    assert keys.lookups == 1
    clock.advance(0.1)
    await refused(verifier, token)
    await refused(verifier, token)


async def test_a_token_is_cached_for_its_kind_only(issuer: Issuer, verifier: TokenVerifier) -> None:
    token = issuer.token()
    await verifier.verify(token)
    await refused(verifier, token, "stream")


async def test_a_refusal_is_not_cached(issuer: Issuer) -> None:
    clock, keys = Clock(time.time()), CountingKeys(issuer)
    verifier = TokenVerifier(keys, "topten", "topten", now=clock)
    token = issuer.token(iat=int(clock.at) + 60, exp=int(clock.at) + 120)
    await refused(verifier, token)
    clock.advance(60)
    assert (await verifier.verify(token)).user_id == "u-1"
    assert keys.lookups == 2


async def test_the_token_cache_is_bounded(issuer: Issuer) -> None:
    keys = CountingKeys(issuer)
    verifier = TokenVerifier(keys, "topten", "topten", max_cached=2)
    one, two, three = (issuer.token() for _ in range(3))
    for token in (one, two, one, three):  # `two` is the one used longest ago
        await verifier.verify(token)
    assert keys.lookups == 3
    await verifier.verify(one)
    assert keys.lookups == 3
    await verifier.verify(two)
    assert keys.lookups == 4


async def test_clock_skew_is_tolerated_except_at_expiry(issuer: Issuer) -> None:
    now = int(time.time())
    verifier = TokenVerifier(StaticKeys(issuer.key.public_key()), "topten", "topten", now=lambda: float(now))
    assert await verifier.verify(issuer.token(iat=now + 5))
    await refused(verifier, issuer.token(iat=now + 6))
    await refused(verifier, issuer.token(exp=now))


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Basic abc", ""), ("", ""), (None, ""), ("Bearer", "")],
)
def test_the_bearer_token_is_taken_from_its_header(header: str | None, token: str) -> None:
    assert bearer_token(header) == token
