"""Addresses: every spelling of one is the same, and limits count the network of an IPv6 client."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from edge.http.callers.peer import canonical, client_address, is_trusted, network_of


@pytest.mark.parametrize(
    "spelling",
    [
        "2001:db8::1", "2001:DB8::1", "2001:db8:0:0:0:0:0:1", "2001:0db8:0000::0001", "[2001:db8::1]", "[2001:db8::1]:443",
        " 2001:db8::1 ", "2001:db8::0.0.0.1",
    ],
)  # fmt: skip
def test_spellings_of_an_address_are_one(spelling: str) -> None:
    assert canonical(spelling) == "2001:db8::1"


@pytest.mark.parametrize("spelling", ["192.0.2.1", "192.0.2.1:5678", "::ffff:192.0.2.1", "::FFFF:c000:201"])
def test_a_mapped_address_is_the_ipv4_address(spelling: str) -> None:
    assert canonical(spelling) == network_of(spelling) == "192.0.2.1"
    assert is_trusted(spelling, (ip_network("192.0.2.0/24"),))


@pytest.mark.parametrize(
    "text", ["", "unknown", "_hidden", "192.0.2", "192.0.2.256", "2001:db8::g", "[192.0.2.1", "1", "/"]
)
def test_what_is_no_address_is_empty(text: str) -> None:
    assert canonical(text) == network_of(text) == ""
    assert not is_trusted(text, (ip_network("0.0.0.0/0"), ip_network("::/0")))


def test_a_zone_is_no_part_of_an_address() -> None:
    assert canonical("fe80::1%eth0") == canonical("fe80::1%2") == "fe80::1"


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_a_limit_counts_all_addresses_of_one_ipv6_network(address: IPv6Address, host: int) -> None:
    neighbor = IPv6Address(int(address) >> 64 << 64 | host)
    if address.ipv4_mapped is None and neighbor.ipv4_mapped is None:
        assert network_of(address.exploded.upper()) == network_of(str(neighbor))
        assert canonical(address.exploded.upper()) == str(address)


@given(st.ip_addresses(v=4))
def test_a_limit_counts_each_ipv4_address(address: IPv4Address) -> None:
    assert network_of(f"::ffff:{address}") == network_of(str(address)) == str(address)


@pytest.mark.parametrize(
    "forwarded", ["2001:DB8:0::1", "[2001:db8::1]:443", "2001:db8::1, 10.0.0.8", "2001:db8::1, ::ffff:10.0.0.8"]
)
def test_the_forwarded_address_is_canonical(forwarded: str) -> None:
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded}).clone(remote="::ffff:10.0.0.7")
    assert client_address(request, (ip_network("10.0.0.0/8"),)) == "2001:db8::1"
