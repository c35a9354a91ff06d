"""Webhooks without a store: signatures, pauses, addresses, and which fact is for whom."""

from __future__ import annotations

import re
import socket
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from services.score.webhooks.addresses import CheckedResolver, ForbiddenAddressError, is_public, url_fault
from services.score.webhooks.backoff import GIVE_UP_AFTER, MAX_PAUSE, pause_after
from services.score.webhooks.signing import new_secret, signature, signed_headers
from services.score.webhooks.webhook import (
    BOARD_CLOSED,
    ENTERED_TOP,
    PASSED,
    PLAYER_BLOCKED,
    Fact,
    Webhook,
    body_of,
    wants,
)

NOW = datetime(2026, 11, 29, 9, tzinfo=UTC)
WEBHOOK = Webhook(
    webhook_id=str(uuid.uuid4()),
    owner="service:shop",
    name="points",
    url="https://hooks.example.com/topten",
    kinds=frozenset({BOARD_CLOSED, ENTERED_TOP, PLAYER_BLOCKED}),
    boards=frozenset({"weekly"}),
    top=3,
    created_at=NOW - timedelta(days=30),
    secret=new_secret(),
)
# What no delivery may reach, as the RFCs name it.
INSIDE = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "224.0.0.0/4",
            "255.255.255.255/32",
            "::/128",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
            "2001:db8::/32",
        ),
    )
)


def addresses_in(network: IPv4Network | IPv6Network) -> st.SearchStrategy[str]:
    return st.integers(0, network.num_addresses - 1).map(lambda offset: str(network[offset]))


@given(st.sampled_from(INSIDE).flatmap(addresses_in))
def test_no_address_of_an_inside_network_is_public(address: str) -> None:
    assert not is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_alike_however_ipv6_carries_it(number: int) -> None:
    address = str(ip_network(number)[0])
    for prefix in ("::ffff:", "64:ff9b::"):
        assert is_public(f"{prefix}{address}") == is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "100.63.255.255", "172.32.0.1", "2606:4700::1111"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", ["2002:7f00:1::1", "2001:0:7f00:1::", "::127.0.0.1", "fe80::1%eth0"])
def test_addresses_that_lead_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://hooks.example.com/topten?team=1", None),
        ("https://93.184.215.14:8443/", None),
        ("http://localhost:9000/", None),
        ("https://localhost/", None),
        ("http://hooks.example.com/", "is not an https address"),
        ("ftp://hooks.example.com/", "is not an https address"),
        ("https:///topten", "is not an https address"),
        ("https://hooks.example.com/\x00", "is not an https address"),
        ("https://hooks.example.com:99999/", "is malformed"),
        ("https://me:secret@hooks.example.com/", "has a user name, a password or a fragment"),
        ("https://hooks.example.com/#part", "has a user name, a password or a fragment"),
        ("https://127.0.0.1/", "is not a public address"),
        ("https://[::ffff:10.0.0.1]/", "is not a public address"),
        ("https://169.254.169.254/latest/meta-data", "is not a public address"),
        ("http://localhost@10.0.0.1/", "has a user name, a password or a fragment"),
    ],
)
def test_a_url_is_https_to_the_internet_or_to_a_trusted_host(url: str, fault: str | None) -> None:
    assert url_fault(url, {"localhost"}) == fault


class Names(AbstractResolver):
    """A name server with one host of these addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None:
        pass


async def test_a_name_is_refused_if_one_of_its_addresses_leads_inside() -> None:
    names = Names("93.184.215.14", "10.1.2.3")
    with pytest.raises(ForbiddenAddressError):
        await CheckedResolver((), names).resolve("hooks.example.com", 443)
    assert len(await CheckedResolver({"hooks.example.com"}, names).resolve("hooks.example.com", 443)) == 2
    assert len(await CheckedResolver((), Names("93.184.215.14")).resolve("hooks.example.com", 443)) == 1


def test_a_signature_is_that_of_the_specification() -> None:
    """The example of https://www.standardwebhooks.com."""
    body = b'{"test": 2432232314}'
    message, secret = "msg_p5jXN8AQM9LWM0D4loKWxJek", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, message, 1614265330, body) == expected
    headers = signed_headers((secret, new_secret()), message, 1614265330, body)
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (message, "1614265330")
    assert headers["webhook-signature"].split(" ")[0] == expected
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_the_guide_verifies_what_is_sent_and_nothing_else() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "partner-team.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?def verify.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(code, names)
    verify, secret, now = names["verify"], new_secret(), int(time.time())
    headers = signed_headers((new_secret(), secret), "a-message", now, b"{}")
    assert verify(headers, b"{}", secret)
    assert not verify(headers, b"{ }", secret)
    assert not verify(headers, b"{}", new_secret())
    assert not verify(headers | {"webhook-id": "another"}, b"{}", secret)
    assert not verify(signed_headers((secret,), "a-message", now - 301, b"{}"), b"{}", secret)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_pause_grows_to_an_hour_and_jitter_takes_at_most_half(attempts: int, jitter: float) -> None:
    longest = pause_after(attempts, 0)
    assert longest <= pause_after(attempts + 1, 0) <= MAX_PAUSE
    assert longest / 2 <= pause_after(attempts, jitter) <= longest


def test_a_day_of_failures_takes_few_attempts() -> None:
    elapsed, attempts = timedelta(0), 0
    while elapsed <= GIVE_UP_AFTER:
        attempts += 1
        elapsed += pause_after(attempts, 1)
    assert 20 < attempts < 100


def test_the_previous_secret_signs_until_its_time_is_over() -> None:
    rotated = replace(WEBHOOK, secret="new", previous_secret="old", previous_until=NOW)
    assert rotated.secrets(NOW - timedelta(seconds=1)) == ("new", "old")
    assert rotated.secrets(NOW) == ("new",)


def test_a_webhook_gets_what_it_registered_for_and_nothing_from_before() -> None:
    closed = Fact("head", BOARD_CLOSED, NOW, {}, series="weekly")
    assert wants(WEBHOOK, closed, NOW)
    assert not wants(WEBHOOK, replace(closed, series="monthly"), NOW)
    assert wants(replace(WEBHOOK, boards=frozenset()), replace(closed, series="monthly"), NOW)
    assert not wants(replace(WEBHOOK, kinds=frozenset({ENTERED_TOP})), closed, NOW)
    assert not wants(replace(WEBHOOK, created_at=NOW + timedelta(seconds=1)), closed, NOW)
    assert not wants(WEBHOOK, closed, NOW + timedelta(days=8)), "older than deliveries are sure to be kept"
    assert wants(WEBHOOK, Fact("event", PLAYER_BLOCKED, NOW, {}, user_id="ada"), NOW)


@given(st.integers(1, 10), st.integers(1, 11), st.integers(1, 10))
def test_a_player_enters_a_top_if_they_were_below_it(rank: int, former_rank: int, top: int) -> None:
    entered = Fact("n", ENTERED_TOP, NOW, {"rank": rank}, series="weekly", rank=rank, former_rank=former_rank)
    webhook = replace(WEBHOOK, top=top)
    assert wants(webhook, entered, NOW) == (former_rank > top >= rank)
    assert f'"top":{top}' in body_of(webhook, entered)


@given(st.integers(1, 10), st.integers(1, 10))
def test_a_passed_player_is_of_the_top_if_they_were_there(former_rank: int, top: int) -> None:
    passed = Fact("n", PASSED, NOW, {}, series="weekly", rank=former_rank + 1, former_rank=former_rank)
    webhook = replace(WEBHOOK, kinds=frozenset({PASSED}), top=top)
    assert wants(webhook, passed, NOW) == (former_rank <= top)
