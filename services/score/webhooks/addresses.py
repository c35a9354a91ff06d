"""The addresses to which deliveries may be sent.

A delivery goes to https on a public address, whatever a URL or a name server says: an owner must not reach addresses that
only this process can. A name is resolved, each of its addresses is checked, and the checked address is connected to. Hosts
that the operator trusts are exempt: they may have any address, and plain http.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

# The special-purpose registries of IANA: https://www.iana.org/assignments/iana-ipv4-special-registry
_SPECIAL_IPV4: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, and the metadata of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# All of IPv6 that is assigned to networks is here: neither loopback, unique-local, link-local nor multicast is.
_GLOBAL_IPV6: Final = ip_network("2000::/3")
_SPECIAL_IPV6: Final = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # Teredo and others
            "2001:db8::/32",
            "2002::/16",  # 6to4, which carries an IPv4 address
            "3fff::/20",
        ),
    )
)
# Where IPv4 hosts have an IPv6 address that ends with the IPv4 one (RFC 6052).
_NAT64: Final = ip_network("64:ff9b::/96")


class ForbiddenAddressError(OSError):
    """The host has an address that is not public."""


def is_public(text: str) -> bool:
    """Return whether an address, as text, is one of the public internet. Raises ValueError for any other text."""
    address = ip_address(text)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    embedded = _embedded(address)
    if embedded is not None:
        return is_public(str(embedded))
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def url_fault(text: str, trusted: Collection[str]) -> str | None:
    """Return why deliveries cannot be sent to this URL, as the end of a sentence about it; None if they can.

    Parsed as the HTTP client parses it. A name is not resolved: its addresses are checked at each attempt.
    """
    try:
        url = URL(text)
    except ValueError:
        return "is malformed"
    host = url.raw_host
    if url.scheme not in ("http", "https") or not host or not text.isascii() or not text.isprintable() or " " in text:
        return "is not an https address"
    if url.raw_user is not None or url.raw_password is not None or url.raw_fragment:
        return "has a user name, a password or a fragment"
    if host in trusted:
        return None
    if url.scheme != "https":
        return "is not an https address"
    return None if _may_be_public(host) else "is not a public address"


class CheckedResolver(AbstractResolver):
    """Resolves names for aiohttp, which connects to the addresses that this returns and resolves nothing itself.

    A host name is refused if any of its addresses is not public, unless it is in `trusted`.
    """

    def __init__(self, trusted: Collection[str], resolver: AbstractResolver | None = None) -> None:
        self._trusted = trusted
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises ForbiddenAddressError, and OSError if there are none."""
        found = await self._resolver.resolve(host, port, family)
        if host not in self._trusted and not all(is_public(each["host"]) for each in found):
            raise ForbiddenAddressError(f"{host} has an address that is not public")
        return found

    async def close(self) -> None:
        """Close the resolver."""
        await self._resolver.close()


def _may_be_public(host: str) -> bool:
    """Return whether a host is a public address, or a name, whose addresses only a resolver knows."""
    try:
        return is_public(host)
    except ValueError:
        return True


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
