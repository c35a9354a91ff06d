"""Who is at the other end of a connection, and from where its request was made."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from edge.config import Network

MAX_USER_AGENT = 256
MAX_HOPS = 20


def client_address(request: web.Request, trusted: Sequence[Network]) -> str:
    """The client's address: the connection's peer, or, behind proxies of ours, the last hop that is none of ours.

    X-Forwarded-For counts only as far as the addresses that vouch for it are in `trusted`, read from its end; what a
    client wrote into it itself is never believed.
    """
    peer = request.remote or ""
    if not trusted:
        return peer
    hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")[-MAX_HOPS:]
    address = peer
    while hops and is_trusted(address, trusted):
        hop = hops.pop().strip()
        if not _is_address(hop):
            break
        address = hop
    return address


def user_agent(request: web.Request) -> str:
    """The User-Agent header, cut to 256 characters."""
    return request.headers.get("User-Agent", "")[:MAX_USER_AGENT]


def is_same_origin(request: web.Request) -> bool:
    """Whether a browser made the request for a page of this origin, or no browser made it.

    Every browser of today says so in `Sec-Fetch-Site`; the older ones at least send `Origin` with what is not a GET.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_trusted(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
