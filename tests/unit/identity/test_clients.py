"""Service clients: which may request a token, with which roles and scopes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.identity.clients.client import parse_service_clients
from services.identity.config import IdentityConfig
from services.runtime.auth.access import OWN_SCOPES
from services.runtime.auth.issuers import parse_issuers
from services.runtime.config.loading import ConfigError, load
from tests.factories import signing_key

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SECRET = "a secret of sixteen letters or more"


def parsed(**entry: Any) -> Any:
    return parse_service_clients(json.dumps({"team": entry}))["team"]


def test_only_the_digest_of_a_secret_is_kept() -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    for client in (parsed(secret=SECRET), parsed(secret_sha256=digest), parsed(secret_sha256=digest.upper())):
        assert client.digest == digest
        assert client.proves(SECRET, NOW)
        assert not client.proves(digest, NOW)
        assert not client.proves("", NOW)
        assert SECRET not in repr(client)


def test_a_previous_secret_is_valid_until_its_time() -> None:
    client = parsed(secret=SECRET)
    digest = hashlib.sha256(b"the former secret").hexdigest()
    rotated = replace(client, previous_digest=digest, previous_until=NOW)
    assert rotated.proves("the former secret", NOW - timedelta(seconds=1))
    assert not rotated.proves("the former secret", NOW)
    assert rotated.proves(SECRET, NOW)
    assert not client.proves("the former secret", NOW)


def test_client_has_only_the_declared_scopes() -> None:
    assert parsed(secret=SECRET).scopes == frozenset()
    assert parsed(secret=SECRET).roles == {"service"}
    assert parsed(secret=SECRET, scopes=["score:read"]).scopes == {"score:read"}


def test_own_processes_have_their_scopes_by_default() -> None:
    entries = {name: {"secret": SECRET} for name in OWN_SCOPES}
    assert {name: each.scopes for name, each in parse_service_clients(json.dumps(entries)).items()} == OWN_SCOPES
    assert parse_service_clients(json.dumps({"edge": {"secret": SECRET, "scopes": []}}))["edge"].scopes == frozenset()


def test_client_is_bound_to_an_accepted_issuer_alone() -> None:
    theirs, issuer = json.dumps({"team": {"secret": SECRET, "issuer": "https://id.example"}}), "TOPTEN_AUTH_ISSUERS"
    issuers = json.dumps({"https://id.example": {"jwks_url": "https://id.example/keys", "audience": "us"}})
    environ = {"TOPTEN_IDENTITY_SERVICE_CLIENTS": theirs, "TOPTEN_IDENTITY_SIGNING_KEY": signing_key()}
    bound = load(IdentityConfig, {**environ, issuer: issuers}).service_clients["team"]
    assert bound.issuer == "https://id.example"
    with pytest.raises(ConfigError) as refused:
        load(IdentityConfig, environ)
    problem = "TOPTEN_IDENTITY_SERVICE_CLIENTS: the issuer of team is not in TOPTEN_AUTH_ISSUERS"
    assert refused.value.problems == (problem,)
    for reserved in ("admin", "service:team"):
        with pytest.raises(ValueError, match="is no issuer"):
            parse_issuers(json.dumps({reserved: {"jwks_url": "https://id.example/keys", "audience": "us"}}))


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"secret": "short"},
        {"secret_sha256": "ab"},
        {"secret_sha256": "z" * 64},
        {"secret": SECRET, "roles": ["player"]},
        {"secret": SECRET, "scopes": ["everything"]},
        {"secret": SECRET, "scope": ["score:read"]},
    ],
)
def test_invalid_client_is_refused_without_showing_its_secret(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # each fault has its own message
        parsed(**entry)
    assert SECRET not in str(refused.value)
