"""The peer of a connection: the client's address, its user agent, and the origin of the page that made the request.

An address has many spellings, and an IPv6 client has 2^64 addresses. Only `canonical` and `network_of` read one: logs and
the audit log get the canonical address, limits and quotas count the network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from aiohttp import web

from edge.config import Network
from services.runtime.errors import Reason, ServiceError
from services.runtime.texts import fault_of, without_controls

MAX_USER_AGENT = 256
MAX_HOPS = 20
# Characters of an address as it is written, with brackets, port and zone.
MAX_ADDRESS = 100
# Addresses and user agents whose forms are remembered: each request has its own, which takes 3 to 10 µs a time.
CACHED = 4096
# The part of an IPv6 address that a provider assigns; a host chooses the rest, and changes it (RFC 4291, 2.5.4; RFC 8981).
NETWORK_BITS = 64
_WITH_PORT = re.compile(r"\[(?P<v6>[^]]*)\](?::\d+)?|(?P<v4>[0-9.]+):\d+", re.ASCII)


def client_address(request: web.Request, trusted: Sequence[Network]) -> str:
    """Return the client's address: the connection's peer or, behind trusted proxies, the last untrusted hop.

    X-Forwarded-For is read from its end and only as long as each hop is in `trusted`, so a client cannot forge its
    address.
    """
    address = canonical(request.remote or "")
    if not trusted:
        return address
    hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")[-MAX_HOPS:]
    while hops and is_trusted(address, trusted):
        hop = canonical(hops.pop())
        if not hop:
            break
        address = hop
    return address


def canonical(text: str) -> str:
    """Return the canonical form of an address (RFC 5952), without port, brackets and zone; empty if it is not one.

    An IPv4-mapped IPv6 address, which a dual-stack socket reports for an IPv4 client, is the IPv4 address.
    """
    return _canonical(text) if len(text) <= MAX_ADDRESS else ""


@lru_cache(CACHED)
def _canonical(text: str) -> str:
    text = text.strip()
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        text = match["v6"] or match["v4"] or ""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


@lru_cache(CACHED)
def network_of(address: str) -> str:
    """Return what a limit per address counts: an IPv4 address, or the /64 network of an IPv6 address."""
    address = canonical(address)
    return str(IPv6Network((address, NETWORK_BITS), strict=False)) if ":" in address else address


def user_agent(request: web.Request) -> str:
    """Return the User-Agent header as one line of at most 256 characters, empty if nothing in it is visible."""
    return _user_agent(request.headers.get("User-Agent", "")[:MAX_USER_AGENT])


@lru_cache(CACHED)
def _user_agent(header: str) -> str:
    text = without_controls(header)
    return "" if fault_of(text) else text


def require_same_origin(request: web.Request) -> None:
    """Raise PERMISSION_DENIED if a browser made the request for another origin's page, which must not use our cookies."""
    if not is_same_origin(request):
        raise ServiceError(
            Reason.PERMISSION_DENIED,
            "Cookies are accepted only from pages of this origin. Send a token in the Authorization header.",
        )


def is_same_origin(request: web.Request) -> bool:
    """Return whether a page of this origin, or a client that is not a browser, made the request.

    Current browsers send `Sec-Fetch-Site`; older ones send `Origin` with every method but GET.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def is_trusted(address: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of the networks."""
    address = canonical(address)
    return bool(address) and any(ip_address(address) in network for network in networks)
