"""Outside issuers: what may be declared, and which of their tokens are believed; their keys over a real socket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from services.runtime.auth.access import PLAYER
from services.runtime.auth.claims import Claims
from services.runtime.auth.issuers import parse_issuers
from services.runtime.auth.jwks import StaticKeys, read_jwks
from services.runtime.auth.verification import open_verifier
from services.runtime.config.settings import AuthConfig
from services.runtime.errors import Reason, ServiceError
from tests.unit.runtime.issuer import Issuer, encoded

THEIRS = "https://id.example"


class Signer(NamedTuple):
    key: Any
    jwk: Callable[..., Any]


SIGNERS = {
    "RS256": Signer(rsa.generate_private_key(65537, 2048), RSAAlgorithm.to_jwk),
    "ES256": Signer(ec.generate_private_key(ec.SECP256R1()), ECAlgorithm.to_jwk),
    "EdDSA": Signer(Ed25519PrivateKey.generate(), OKPAlgorithm.to_jwk),
}


def published(algorithm: str) -> dict[str, Any]:
    signer = SIGNERS[algorithm]
    return {**signer.jwk(signer.key.public_key(), as_dict=True), "kid": f"key-{algorithm}"}


def token(algorithm: str, key_of: str = "", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": THEIRS, "aud": "us", "iat": now, "exp": now + 60, "sub": "42"} | changes
    headers = {"kid": f"key-{key_of or algorithm}", "typ": "at+jwt"}
    return jwt.encode(claims, SIGNERS[algorithm].key, algorithm, headers=headers)


async def verified(issuer: Issuer, text: str, *algorithms: str) -> Claims:
    issuer.published = [published(algorithm) for algorithm in SIGNERS]
    theirs = {THEIRS: {"jwks_url": issuer.jwks_url, "audience": "us", "algorithms": algorithms or list(SIGNERS)}}
    async with open_verifier(AuthConfig(issuers=json.dumps(theirs)), StaticKeys()) as verifier:
        return await verifier.verify(text)


async def refused(issuer: Issuer, text: str, *algorithms: str) -> None:
    with pytest.raises(ServiceError) as caught:
        await verified(issuer, text, *algorithms)
    assert caught.value.reason is Reason.UNAUTHENTICATED


@pytest.mark.parametrize("algorithm", SIGNERS)
async def test_only_declared_algorithms_are_accepted(issuer: Issuer, algorithm: str) -> None:
    claims = await verified(issuer, token(algorithm, preferred_username="ada"), algorithm)
    assert (claims.username, claims.issuer, claims.roles, claims.scopes) == ("ada", THEIRS, PLAYER, frozenset())
    await refused(issuer, token(algorithm), *(SIGNERS.keys() - {algorithm}))


@pytest.mark.parametrize("algorithm", SIGNERS)
async def test_a_key_is_valid_only_for_its_own_algorithm(issuer: Issuer, algorithm: str) -> None:
    for another in SIGNERS.keys() - {algorithm}:
        await refused(issuer, token(algorithm, another))


@pytest.mark.parametrize("size", [0, 64, 256])
async def test_a_signature_of_zeros_is_refused(issuer: Issuer, size: int) -> None:
    """For ECDSA that is r = s = 0, which some libraries took for one (CVE-2022-21449)."""
    for algorithm in SIGNERS:
        await refused(issuer, f"{token(algorithm).rpartition('.')[0]}.{encoded(bytes(size))}")


async def test_an_issuer_cannot_sign_for_another(issuer: Issuer) -> None:
    await refused(issuer, token("EdDSA", iss="topten", aud="topten", jti="1", roles=["admin"]), "RS256")
    await refused(issuer, token("RS256", iss="https://another.example"))


async def test_the_id_of_an_outside_player_is_permanent_and_specific_to_the_issuer(issuer: Issuer) -> None:
    first = await verified(issuer, token("RS256"))
    again = await verified(issuer, token("ES256", iat=1, preferred_username="renamed"))
    other = await verified(issuer, token("RS256", sub="43"))
    assert first.user_id == again.user_id != other.user_id
    declared = {name: {"jwks_url": "https://x/keys", "audience": "us"} for name in (THEIRS, "https://another.example")}
    one, two = parse_issuers(json.dumps(declared))
    payload = {"sub": "42", "exp": 1}
    assert one.claims(payload, "access").user_id == first.user_id != two.claims(payload, "access").user_id


async def test_a_short_rsa_key_is_refused() -> None:
    short = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    with pytest.raises(ValueError, match="2048"):
        read_jwks({"keys": [{**short, "kid": "short"}]}, frozenset({"RS256"}))


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {"audience": "us"},
        {"jwks_url": "https://x/keys"},
        {"jwks_url": "http://id.example/keys", "audience": "us"},
        {"jwks_url": "file:///etc/passwd", "audience": "us"},
        {"jwks_url": "file://localhost/etc/passwd", "audience": "us"},
        {"jwks_url": "https:///keys", "audience": "us"},
        {"jwks_url": "https://x/keys", "audience": "us", "algorithms": []},
        {"jwks_url": "https://x/keys", "audience": "us", "algorithms": ["HS256"]},
        {"jwks_url": "https://x/keys", "audience": "us", "algorithms": ["none"]},
        {"jwks_url": "https://x/keys", "audience": "us", "grants": {"staff": "service"}},
        {"jwks_url": "https://x/keys", "audience": "us", "grants": {"staff": "score:read"}},
        {"jwks_url": "https://x/keys", "audience": "us", "rolls": "x"},
    ],
)
def test_invalid_declarations_are_refused(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"must|unknown"):
        parse_issuers(json.dumps({THEIRS: entry}))
