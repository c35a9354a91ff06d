"""Attacks with tokens (RFC 8725 and later findings): each is refused at the edge, and again in a service.

Most change one part of a real player's valid token. Some are signed with the real key, which makes them stronger than an
attacker could.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub

from services.cli.system.client import GraphqlClient
from services.runtime.auth.jwks import public_jwk
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call
from tests.players import endpoints, register
from tests.servers import RunningStack
from tests.system.graphql import browsing
from tests.unit.runtime.issuer import encoded

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

ME = "{ me { username } }"


@dataclass(frozen=True)
class Good:
    """A valid token in its parts, and the key that signed it."""

    token: str
    key: Ed25519PrivateKey
    header: dict[str, Any] = field(init=False)
    claims: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        header, claims, _ = self.token.split(".")
        object.__setattr__(self, "header", json.loads(decoded(header)))
        object.__setattr__(self, "claims", json.loads(decoded(claims)))

    def signed(self, *, header: Any = None, claims: Any = None, sign: Callable[[bytes], bytes] | None = None) -> str:
        """A signed token with some parts replaced."""
        body = (
            f"{encoded(self.header if header is None else header)}.{encoded(self.claims if claims is None else claims)}"
        )
        return f"{body}.{encoded((sign or self.key.sign)(body.encode()))}"

    def headed(self, **changes: Any) -> str:
        """Change members of the header; None removes one."""
        return self.signed(header=without_nones(self.header | changes))

    def claiming(self, **changes: Any) -> str:
        """Change claims; None removes one."""
        return self.signed(claims=without_nones(self.claims | changes))

    def algorithm(self, name: str, sign: Callable[[bytes], bytes]) -> str:
        """Sign with another algorithm, and name it."""
        return self.signed(header=self.header | {"alg": name}, sign=sign)

    @property
    def public_pem(self) -> bytes:
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(encoding, form)


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def without_nones(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def hs256(key: bytes) -> Callable[[bytes], bytes]:
    return lambda body: hmac.digest(key, body, hashlib.sha256)


def rs256(body: bytes) -> bytes:
    return rsa.generate_private_key(65537, 2048).sign(body, PKCS1v15(), SHA256())


def es256(body: bytes) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).sign(body, ec.ECDSA(SHA256()))


def with_own_key(good: Good, **header: Any) -> str:
    """Sign with the attacker's key, which the header names or contains."""
    own = Ed25519PrivateKey.generate()
    jwk = public_jwk(own.public_key())
    changes = {
        name: jwk if value == "jwk" else jwk["kid"] if value == "kid" else value for name, value in header.items()
    }
    return good.signed(header=good.header | changes, sign=own.sign)


def doubled(members: Mapping[str, Any], **again: Any) -> bytes:
    """A JSON object with duplicate members."""
    return (json.dumps(members)[:-1] + "," + json.dumps(again)[1:]).encode()


def parts(good: Good) -> list[str]:
    return good.token.split(".")


NOW = time.time()
ATTACKS: Mapping[str, Callable[[Good], str]] = {
    # The algorithm (RFC 8725, 2.1, 3.1).
    "none": lambda good: good.algorithm("none", lambda _: b"")[:-1] + ".",
    "none, signed": lambda good: good.headed(alg="none"),
    "None in capitals": lambda good: good.headed(alg="NONE"),
    "no algorithm": lambda good: good.headed(alg=None),
    "an algorithm that is no text": lambda good: good.headed(alg=["EdDSA"]),
    "HMAC with the public key": lambda good: good.algorithm("HS256", hs256(good.public_pem)),
    "HMAC with the raw public key": lambda good: good.algorithm("HS256", hs256(good.key.public_key().public_bytes_raw())),
    "HMAC with nothing": lambda good: good.algorithm("HS256", hs256(b"")),
    "RSA": lambda good: good.algorithm("RS256", rs256),
    "ECDSA": lambda good: good.algorithm("ES256", es256),
    "ECDSA with r = s = 0": lambda good: good.algorithm("ES256", lambda _: bytes(64)),
    "another word for it": lambda good: good.headed(alg="Ed25519"),
    # The key (3.10; RFC 7515, 4.1).
    "an embedded key": lambda good: with_own_key(good, jwk="jwk", kid="kid"),
    "an embedded key under our id": lambda good: with_own_key(good, jwk="jwk"),
    "jku": lambda good: with_own_key(good, jku="https://evil.example/jwks.json", kid="kid"),
    "jku beside a good signature": lambda good: good.headed(jku="https://evil.example/jwks.json"),
    "x5u": lambda good: with_own_key(good, x5u="https://evil.example/cert.pem"),
    "x5c": lambda good: with_own_key(good, x5c=["MIIB"]),
    "another key under our id": with_own_key,
    "an unknown id": lambda good: with_own_key(good, kid="kid"),
    "no id": lambda good: good.headed(kid=None),
    "an empty id": lambda good: good.headed(kid=""),
    "an id that is a path": lambda good: good.headed(kid="../../../../dev/null"),
    "an id that is SQL": lambda good: good.headed(kid="x' UNION SELECT 'key' --"),
    "an id that is a list": lambda good: good.headed(kid=[good.header["kid"]]),
    "an id that is an object": lambda good: good.headed(kid={"$ne": ""}),
    "an id without end": lambda good: good.headed(kid="a" * 2000),
    # What would change how it is read (3.9, 3.11).
    "crit": lambda good: good.headed(crit=["exp"]),
    "crit of something unknown": lambda good: good.headed(crit=["x"], x=1),
    "b64 is false": lambda good: good.headed(b64=False, crit=["b64"]),
    "compressed": lambda good: good.headed(zip="DEF"),
    "another type": lambda good: good.headed(typ="JWT"),
    "the type of the stream": lambda good: good.headed(typ="stream+jwt"),
    "no type": lambda good: good.headed(typ=None),
    "a member of the header twice": lambda good: good.signed(header=doubled({"alg": "none"}, **good.header)),
    # The claims (3.8, 3.12).
    "another issuer": lambda good: good.claiming(iss="https://evil.example"),
    "no issuer": lambda good: good.claiming(iss=None),
    "another audience": lambda good: good.claiming(aud="another service"),
    "no audience": lambda good: good.claiming(aud=None),
    "expired": lambda good: good.claiming(iat=int(NOW) - 1200, exp=int(NOW) - 1),
    "never expires": lambda good: good.claiming(exp=None),
    "expires beyond the calendar": lambda good: good.claiming(exp=1e300),
    "an expiry that is text": lambda good: good.claiming(exp=str(int(NOW) + 600)),
    "issued in the future": lambda good: good.claiming(iat=int(NOW) + 3600, exp=int(NOW) + 7200),
    "not yet good": lambda good: good.claiming(nbf=int(NOW) + 3600),
    "no jti": lambda good: good.claiming(jti=None),
    "another user than the subject": lambda good: good.claiming(userId="somebody else"),
    "roles that are text": lambda good: good.claiming(roles="admin"),
    "a claim twice": lambda good: good.signed(claims=doubled(good.claims, roles=["admin"])),
    # The signature and the form.
    "a stripped signature": lambda good: ".".join([*parts(good)[:2], ""]),
    "no signature at all": lambda good: ".".join(parts(good)[:2]),
    "a signature of zeros": lambda good: good.signed(sign=lambda _: bytes(64)),
    "a signature cut short": lambda good: good.token[:-4],
    "bytes behind the signature": lambda good: good.signed(sign=lambda body: good.key.sign(body) + b"\0"),
    "letters behind the signature that are none": lambda good: good.token + "!*",
    "padding": lambda good: good.token + "==",
    "a last letter that says the same": lambda good: good.token[:-1] + chr(ord(good.token[-1]) + 1),
    "another signature's": lambda good: ".".join([*parts(good)[:2], parts(good.__class__(good.claiming(x=1), good.key))[2]]),
    "claims changed after signing": lambda good: ".".join(
        [parts(good)[0], encoded(good.claims | {"roles": ["admin"]}), parts(good)[2]]
    ),
    "five parts, as if encrypted": lambda good: good.token + ".e30.e30",
    "JSON serialization": lambda good: json.dumps(dict(zip(("protected", "payload", "signature"), parts(good), strict=True))),
    "longer than any token": lambda good: good.claiming(filler="a" * 5000),
    "nested without end": lambda good: good.signed(claims=b'{"a":' + b"[" * 4000),
    "claims that are a list": lambda good: good.signed(claims=[good.claims]),
}  # fmt: skip


@pytest.fixture(scope="module")
async def good(stack: RunningStack) -> Good:
    pem = (stack.data / "secrets" / "signing_key.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, Ed25519PrivateKey)
    async with GraphqlClient(endpoints(stack).graphql) as client:
        return Good((await register(client)).access_token, key)


async def at_the_edge(stack: RunningStack, token: str) -> tuple[int, str]:
    async with browsing(stack.http) as web:
        answer = await web.graphql(ME, token=token)
        return answer.status, "OK" if "errors" not in answer.body else answer.reason


async def in_a_service(stack: RunningStack, token: str) -> str:
    async with endpoints(stack).channel("leaderboard") as channel:
        stub = cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel))
        try:
            await call(stub.GetLeaderboard, GetLeaderboardRequest(board="all", limit=1), token=token)
        except ServiceError as error:
            return str(error.reason)
    return "OK"


async def test_the_token_that_attacks_are_derived_from_is_valid(stack: RunningStack, good: Good) -> None:
    for token in (good.token, good.signed(), good.claiming(filler="a" * 100)):
        assert await at_the_edge(stack, token) == (200, "OK")
        assert await in_a_service(stack, token) == "OK"


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_is_refused_at_the_edge_and_in_a_service(stack: RunningStack, good: Good, attack: str) -> None:
    token = ATTACKS[attack](good)
    assert token != good.token
    assert await at_the_edge(stack, token) == (401, "UNAUTHENTICATED")
    assert await in_a_service(stack, token) == "UNAUTHENTICATED"
