"""Which tokens are believed: real signatures, real keys over a real socket."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.runtime.auth import (
    MAX_TOKEN_LENGTH,
    TokenVerifier,
    bearer_token,
    open_service_token,
    open_verifier,
)
from services.runtime.claims import Claims
from services.runtime.errors import Reason, ServiceError
from services.runtime.jwks import Jwks, StaticKeys, VerifyingKey, public_jwk, read_jwks
from services.runtime.key_copy import MAX_AGE_SECONDS, KeyCopy
from services.runtime.service_token import ServiceToken
from services.runtime.settings import AuthConfig
from tests.unit.runtime.conftest import Clock
from tests.unit.runtime.issuer import Issuer, encoded, signed


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[TokenVerifier]:
    async with open_verifier(AuthConfig(jwks_url=issuer.jwks_url)) as opened:
        yield opened


class CountingKeys:
    """The issuer's keys, with a count of how often they were asked for."""

    def __init__(self, issuer: Issuer) -> None:
        self.asked = 0
        self._keys = StaticKeys(issuer.key.public_key())

    async def key(self, key_id: str) -> VerifyingKey | None:
        self.asked += 1
        return await self._keys.key(key_id)


async def until(holds: Callable[[], bool]) -> None:
    """Waits for a fact."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


async def refused(verifier: TokenVerifier, token: str, kind: Any = "access") -> None:
    with pytest.raises(ServiceError) as caught:
        await verifier.verify(token, kind)
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert caught.value.message == "the call carries no valid token"


async def test_a_good_token_yields_its_claims(issuer: Issuer, verifier: TokenVerifier) -> None:
    claims = await verifier.verify(issuer.token(jti="t-1", exp=int(time.time()) + 60, roles=["player", "author"]))
    assert claims == Claims(
        user_id="u-1",
        username="ada",
        roles=frozenset({"player", "author"}),
        country="VN",
        session_id="s-1",
        token_id="t-1",
        kind="access",
        expires_at=claims.expires_at,
    )
    assert claims.expires_at > time.time()


async def test_a_service_needs_no_more_than_a_subject_and_roles(issuer: Issuer, verifier: TokenVerifier) -> None:
    token = issuer.token(sub="edge", userId=None, username=None, country=None, sid=None, roles=["service"])
    claims = await verifier.verify(token)
    assert (claims.user_id, claims.username, claims.country, claims.roles) == ("edge", "", "", frozenset({"service"}))


async def test_a_stream_token_is_good_for_the_stream_alone(issuer: Issuer, verifier: TokenVerifier) -> None:
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


async def test_a_key_inside_the_token_is_not_believed(issuer: Issuer, verifier: TokenVerifier) -> None:
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
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    await refused(verifier, token)


async def test_a_verified_token_is_remembered_until_it_expires(issuer: Issuer) -> None:
    now = int(time.time())
    clock, keys = Clock(now), CountingKeys(issuer)
    verifier = TokenVerifier(keys, "topten", "topten", now=clock)
    token = issuer.token(exp=now + 10)
    first = await verifier.verify(token)
    clock.advance(9.9)
    assert await verifier.verify(token) is first
    assert keys.asked == 1
    clock.advance(0.1)
    await refused(verifier, token)
    await refused(verifier, token)


async def test_a_remembered_token_is_remembered_for_its_kind_alone(issuer: Issuer, verifier: TokenVerifier) -> None:
    token = issuer.token()
    await verifier.verify(token)
    await refused(verifier, token, "stream")


async def test_a_refusal_is_not_remembered(issuer: Issuer) -> None:
    clock, keys = Clock(time.time()), CountingKeys(issuer)
    verifier = TokenVerifier(keys, "topten", "topten", now=clock)
    token = issuer.token(iat=int(clock.at) + 60, exp=int(clock.at) + 120)
    await refused(verifier, token)
    clock.advance(60)
    assert (await verifier.verify(token)).user_id == "u-1"
    assert keys.asked == 2


async def test_only_so_many_tokens_are_remembered(issuer: Issuer) -> None:
    keys = CountingKeys(issuer)
    verifier = TokenVerifier(keys, "topten", "topten", max_cached=2)
    one, two, three = (issuer.token() for _ in range(3))
    for token in (one, two, one, three):  # `two` is the one used longest ago
        await verifier.verify(token)
    assert keys.asked == 3
    await verifier.verify(one)
    assert keys.asked == 3
    await verifier.verify(two)
    assert keys.asked == 4


async def test_clocks_may_differ_a_little_but_never_at_the_end(issuer: Issuer) -> None:
    now = int(time.time())
    verifier = TokenVerifier(StaticKeys(issuer.key.public_key()), "topten", "topten", now=lambda: float(now))
    assert await verifier.verify(issuer.token(iat=now + 5))
    await refused(verifier, issuer.token(iat=now + 6))
    await refused(verifier, issuer.token(exp=now))


async def test_keys_are_fetched_once_for_many_who_wait(issuer: Issuer, verifier: TokenVerifier) -> None:
    await asyncio.gather(*(verifier.verify(issuer.token()) for _ in range(20)))
    assert issuer.fetches == 1


async def test_keys_are_fetched_before_anybody_asks(issuer: Issuer) -> None:
    async with Jwks(issuer.jwks_url) as keys:
        await until(lambda: keys.document is not None)
        assert await keys.key(issuer.key_id)
        assert issuer.fetches == 1


async def test_an_unknown_key_is_looked_for_at_most_once_a_minute(issuer: Issuer, clock: Clock) -> None:
    async with Jwks(issuer.jwks_url, now=clock) as keys:
        assert await keys.key(issuer.key_id)
        for minute in range(1, 4):
            for attempt in range(50):
                assert await keys.key(f"made-up-{attempt}") is None
            assert issuer.fetches == 1 + minute
            clock.advance(60)


async def test_a_new_key_is_found_without_a_restart(issuer: Issuer, clock: Clock) -> None:
    async with Jwks(issuer.jwks_url, now=clock) as keys:
        assert await keys.key(issuer.key_id)
        issuer.key = Ed25519PrivateKey.generate()
        issuer.published.append(public_jwk(issuer.key.public_key()))
        assert await keys.key(issuer.key_id)


async def test_a_withdrawn_key_is_forgotten_without_anybody_asking(issuer: Issuer) -> None:
    async with Jwks(issuer.jwks_url, refresh_seconds=0.01) as keys:
        assert await keys.key(issuer.key_id)
        issuer.published = []
        await until(lambda: keys.document == {"keys": []})
        assert await keys.key(issuer.key_id) is None


async def test_known_keys_stay_good_while_the_issuer_is_away(issuer: Issuer) -> None:
    async with Jwks(issuer.jwks_url, refresh_seconds=0.01) as keys:
        assert await keys.key(issuer.key_id)
        issuer.status = 503
        await until(lambda: issuer.fetches >= 3)
        assert await keys.key(issuer.key_id)
        await keys.ping()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"keys": 1}',
        b'{"keys": [' + b"{}," * 40 + b"{}]}",
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": []}]}',
        b" " * 70_000,
        b"[" * 60_000,
    ],
)
async def test_without_any_keys_the_answer_is_to_come_back_later(issuer: Issuer, clock: Clock, body: bytes) -> None:
    issuer.body = body
    async with Jwks(issuer.jwks_url, now=clock) as keys:
        verifier = TokenVerifier(keys, "topten", "topten")
        for refusal in await asyncio.gather(
            *(verifier.verify(issuer.token()) for _ in range(50)), return_exceptions=True
        ):
            assert isinstance(refusal, ServiceError)
            assert refusal.reason is Reason.UNAVAILABLE
        assert issuer.fetches < 10  # it is asked once a second, and in the background
        issuer.body = None
        assert await verifier.verify(issuer.token()), "a caller waits for the next answer"
        await keys.ping()


async def test_what_an_issuer_published_last_counts_for_who_starts_while_it_is_away(
    issuer: Issuer, tmp_path: Path
) -> None:
    config = AuthConfig(jwks_url=issuer.jwks_url, keys_folder=str(tmp_path))
    async with open_verifier(config) as verifier:
        assert await verifier.verify(issuer.token())
    issuer.status = 503
    async with open_verifier(config) as verifier:
        assert await verifier.verify(issuer.token())
        await refused(verifier, issuer.token(key=Ed25519PrivateKey.generate()))
    async with open_verifier(AuthConfig(jwks_url=issuer.jwks_url)) as without:
        with pytest.raises(ServiceError, match="verified"):
            await without.verify(issuer.token())


async def test_an_issuer_that_answers_withdraws_what_is_in_the_copy(issuer: Issuer, tmp_path: Path) -> None:
    copy = KeyCopy(tmp_path, issuer.jwks_url)
    withdrawn = public_jwk(Ed25519PrivateKey.generate().public_key())
    copy.write({"keys": [withdrawn]})
    async with Jwks(issuer.jwks_url, copy=copy) as keys:
        assert await keys.key(withdrawn["kid"])
        await until(lambda: keys.document == {"keys": issuer.published})
        assert await keys.key(withdrawn["kid"]) is None
    assert copy.read() == {"keys": issuer.published}


@pytest.mark.parametrize("spoilt", ["mode", "age", "text", "keys"])
async def test_a_copy_that_may_not_be_believed_is_not(issuer: Issuer, tmp_path: Path, spoilt: str) -> None:
    copy = KeyCopy(tmp_path, issuer.jwks_url)
    copy.write({"keys": issuer.published})
    [path] = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    if spoilt == "mode":
        path.chmod(0o666)
    elif spoilt == "age":
        long_ago = time.time() - MAX_AGE_SECONDS - 1
        os.utime(path, (long_ago, long_ago))
    else:
        path.write_text("{" if spoilt == "text" else "[]")
    issuer.status = 503
    async with Jwks(issuer.jwks_url, copy=copy) as keys:
        with pytest.raises(ServiceError, match="verified"):
            await keys.key(issuer.key_id)


async def test_an_issuer_that_redirects_is_not_followed(issuer: Issuer, clock: Clock) -> None:
    issuer.status = 302
    async with Jwks(issuer.jwks_url, now=clock) as keys:
        with pytest.raises(ServiceError, match="verified"):
            await keys.ping()


def test_only_signing_keys_of_our_kind_are_read() -> None:
    good = public_jwk(Ed25519PrivateKey.generate().public_key())
    others: list[Any] = [
        good | {"kid": "enc", "use": "enc"},
        good | {"kid": "rs", "alg": "RS256"},
        {"kty": "RSA", "kid": "rsa", "n": "AQ", "e": "AQAB"},
        good | {"kid": "448", "crv": "Ed448"},
        good | {"kid": ""},
        good | {"kid": 7},
        "junk",
    ]
    assert set(read_jwks({"keys": [good, *others]})) == {good["kid"]}


@pytest.mark.parametrize("x", ["", "AQ", "not base64!", "é"])
def test_a_broken_key_spoils_the_document(x: str) -> None:
    broken = public_jwk(Ed25519PrivateKey.generate().public_key()) | {"x": x}
    with pytest.raises(ValueError):  # noqa: PT011  # of the key's parser or of ours, both mean: keep what is known
        read_jwks({"keys": [broken]})


def test_a_key_id_is_the_thumbprint_of_rfc_8037() -> None:
    # The key and its thumbprint are those of RFC 8037, appendix A.3.
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "="))
    assert public_jwk(key)["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert public_jwk(key)["x"] == x


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Basic abc", ""), ("", ""), (None, ""), ("Bearer", "")],
)
def test_the_bearer_token_is_taken_from_its_header(header: str | None, token: str) -> None:
    assert bearer_token(header) == token


async def test_a_service_token_is_bought_with_client_credentials(issuer: Issuer) -> None:
    config = AuthConfig(token_url=issuer.token_url, client_id="edge", client_secret="s3cret")
    async with open_service_token(config) as token:
        assert await asyncio.gather(*(token.get() for _ in range(10))) == ["service-1"] * 10
    basic = "Basic " + base64.b64encode(b"edge:s3cret").decode()
    assert issuer.token_requests == [(basic, {"grant_type": "client_credentials"})]


async def test_a_service_token_is_renewed_at_four_fifths_of_its_life(issuer: Issuer, clock: Clock) -> None:
    async with ServiceToken(issuer.token_url, "edge", "s", now=clock) as token:
        assert await token.get() == "service-1"
        issuer.token_answer["access_token"] = "service-2"
        clock.advance(79.9)
        assert await token.get() == "service-1"
        clock.advance(0.1)
        assert await token.get() == "service-1", "nobody waits while the old one is good"
        async with asyncio.timeout(20):
            while await token.get() != "service-2":
                await asyncio.sleep(0.005)
        assert len(issuer.token_requests) == 2


async def test_a_service_token_that_lives_is_used_while_none_can_be_had(issuer: Issuer, clock: Clock) -> None:
    async with ServiceToken(issuer.token_url, "edge", "s", now=clock) as token:
        assert await token.get() == "service-1"
        issuer.status = 500
        clock.advance(99.9)
        assert await token.get() == "service-1"
        clock.advance(0.1)
        with pytest.raises(ServiceError) as caught:
            await token.ping()
        assert caught.value.reason is Reason.UNAVAILABLE
        issuer.status = 200
        clock.advance(1)
        assert await token.get() == "service-1"


@pytest.mark.parametrize(
    "answer",
    [{}, {"access_token": "t"}, {"access_token": "", "expires_in": 5}, {"access_token": "t", "expires_in": 0}],
)
async def test_an_answer_without_a_token_is_no_token(issuer: Issuer, clock: Clock, answer: dict[str, Any]) -> None:
    issuer.token_answer = answer
    async with ServiceToken(issuer.token_url, "edge", "s", now=clock) as token:
        with pytest.raises(ServiceError):
            await token.get()
        with pytest.raises(ServiceError):
            await token.get()
    assert len(issuer.token_requests) == 1  # not asked again within the second
