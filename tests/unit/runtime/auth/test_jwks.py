"""Whose keys are believed, and since when: fetched, kept, withdrawn, over a real socket and on a real disk."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.runtime.auth.jwks import Jwks, public_jwk, read_jwks
from services.runtime.auth.key_copy import MAX_AGE_SECONDS, KeyCopy
from services.runtime.auth.verification import TokenVerifier, open_verifier
from services.runtime.config.settings import AuthConfig
from services.runtime.errors import Reason, ServiceError
from tests.deadline import deadline
from tests.unit.runtime.auth.tokens import refused
from tests.unit.runtime.conftest import Clock
from tests.unit.runtime.issuer import Issuer


async def until(holds: Callable[[], bool]) -> None:
    """Waits for a fact."""
    async with deadline():
        while not holds():
            await asyncio.sleep(0.005)


async def test_concurrent_callers_share_one_fetch_of_keys(issuer: Issuer, verifier: TokenVerifier) -> None:
    await asyncio.gather(*(verifier.verify(issuer.token()) for _ in range(20)))
    assert issuer.fetches == 1


async def test_keys_are_fetched_before_the_first_call(issuer: Issuer) -> None:
    async with Jwks(issuer.jwks_url) as keys:
        await until(lambda: keys.document is not None)
        assert await keys.key(issuer.key_id)
        assert issuer.fetches == 1


async def test_an_unknown_key_is_fetched_at_most_once_a_minute(issuer: Issuer, clock: Clock) -> None:
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


async def test_a_withdrawn_key_is_dropped_by_the_background_refresh(issuer: Issuer) -> None:
    async with Jwks(issuer.jwks_url, refresh_every=timedelta(milliseconds=10)) as keys:
        assert await keys.key(issuer.key_id)
        issuer.published = []
        await until(lambda: keys.document == {"keys": []})
        assert await keys.key(issuer.key_id) is None


async def test_known_keys_stay_valid_while_the_issuer_is_down(issuer: Issuer) -> None:
    async with Jwks(issuer.jwks_url, refresh_every=timedelta(milliseconds=10)) as keys:
        assert await keys.key(issuer.key_id)
        issuer.status = 503
        await until(lambda: issuer.fetches >= 3)
        assert await keys.key(issuer.key_id)
        await keys.ping()


UNUSABLE_KEYS = (
    b"",
    b"[]",
    b"{",
    b'{"keys": 1}',
    b'{"keys": [' + b"{}," * 40 + b"{}]}",
    b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": []}]}',
    b" " * 70_000,
    b"[" * 60_000,
)


async def test_without_any_keys_calls_are_unavailable(clock: Clock) -> None:
    """For each body at once, since each is asked for again after a second."""
    await asyncio.gather(*(calls_are_unavailable(body, clock) for body in UNUSABLE_KEYS))


async def calls_are_unavailable(body: bytes, clock: Clock) -> None:
    async with Issuer() as issuer, Jwks(issuer.jwks_url, now=clock) as keys:
        issuer.body = body
        verifier = TokenVerifier(keys, "topten", "topten")
        for refusal in await asyncio.gather(
            *(verifier.verify(issuer.token()) for _ in range(50)), return_exceptions=True
        ):
            assert isinstance(refusal, ServiceError), body[:70]
            assert refusal.reason is Reason.UNAVAILABLE
        assert issuer.fetches < 10  # it is asked once a second, and in the background
        issuer.body = None
        assert await verifier.verify(issuer.token()), "a caller waits for the next answer"
        await keys.ping()


async def test_a_process_that_starts_while_the_issuer_is_down_uses_the_copy(issuer: Issuer, tmp_path: Path) -> None:
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


async def test_a_response_of_the_issuer_replaces_the_copy(issuer: Issuer, tmp_path: Path) -> None:
    copy = KeyCopy(tmp_path, issuer.jwks_url)
    withdrawn = public_jwk(Ed25519PrivateKey.generate().public_key())
    copy.write({"keys": [withdrawn]})
    async with Jwks(issuer.jwks_url, copy=copy) as keys:
        assert await keys.key(withdrawn["kid"])
        await until(lambda: keys.document == {"keys": issuer.published})
        assert await keys.key(withdrawn["kid"]) is None
    assert copy.read() == {"keys": issuer.published}


@pytest.mark.parametrize("spoilt", ["mode", "age", "text", "keys"])
async def test_an_untrustworthy_copy_is_ignored(issuer: Issuer, tmp_path: Path, spoilt: str) -> None:
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
