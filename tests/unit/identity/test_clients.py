"""Which services may buy a token, and with what in it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from services.identity.clients import parse_service_clients
from services.runtime.access import OWN_SCOPES

SECRET = "a secret of sixteen letters or more"


def parsed(**entry: Any) -> Any:
    return parse_service_clients(json.dumps({"team": entry}))["team"]


def test_a_secret_is_kept_as_a_digest_alone() -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    for client in (parsed(secret=SECRET), parsed(secret_sha256=digest), parsed(secret_sha256=digest.upper())):
        assert client.digest == digest
        assert client.proves(SECRET)
        assert not client.proves(digest)
        assert not client.proves("")
        assert SECRET not in repr(client)


def test_a_service_has_the_scopes_that_are_named_and_no_others() -> None:
    assert parsed(secret=SECRET).scopes == frozenset()
    assert parsed(secret=SECRET).roles == {"service"}
    assert parsed(secret=SECRET, scopes=["score:read"]).scopes == {"score:read"}


def test_our_own_processes_have_what_they_need_unless_told_otherwise() -> None:
    entries = {name: {"secret": SECRET} for name in OWN_SCOPES}
    assert {name: each.scopes for name, each in parse_service_clients(json.dumps(entries)).items()} == OWN_SCOPES
    assert parse_service_clients(json.dumps({"edge": {"secret": SECRET, "scopes": []}}))["edge"].scopes == frozenset()


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
def test_what_can_t_be_meant_is_refused_without_its_secret(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # each has its own words
        parsed(**entry)
    assert SECRET not in str(refused.value)
