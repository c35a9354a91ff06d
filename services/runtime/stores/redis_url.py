"""The address of Redis in one URL: a single server, a cluster, or the master named by sentinels.

    redis://[user:password@]host:port/db                      one server
    redis+cluster://[user:password@]host:port[,host:port…]    a cluster, by any of its nodes
    redis+sentinel://[user:password@]host:port[,host:port…]/master[/db]    the sentinels of a master

`rediss` instead of `redis` uses TLS. The query holds options of the driver, such as `ssl_ca_certs=/path`, and the credentials
of sentinels, `sentinel_username` and `sentinel_password`. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode

from services.runtime.config.values import split_address

Kind = Literal["server", "cluster", "sentinel"]

_SCHEME: Final = re.compile(r"(rediss?)(?:\+(cluster|sentinel))?", re.ASCII)
_PORTS: Final = {"server": 6379, "cluster": 6379, "sentinel": 26379}
_PATHS: Final = {
    "server": re.compile(r"/?(?P<db>\d{0,5})", re.ASCII),
    "cluster": re.compile(r"/?(?P<db>0?)", re.ASCII),
    "sentinel": re.compile(r"/(?P<master>[\w.-]{1,100})(?:/(?P<db>\d{0,5}))?", re.ASCII),
}


@dataclass(frozen=True)
class RedisAddress:
    """The address of Redis. `nodes` are hosts and ports: of the server, of cluster nodes, or of sentinels.

    `plain` is a URL of the first node in the driver's format, with user, password, database, TLS and options.
    """

    kind: Kind
    nodes: tuple[tuple[str, int], ...]
    plain: str
    master: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""


def parse_redis_url(text: str) -> RedisAddress:
    """Parse a URL. Raises ValueError with a phrase that never contains the URL, since it may have a password."""
    scheme, _, rest = text.partition("://")
    match = _SCHEME.fullmatch(scheme)
    if match is None:
        raise ValueError("must start with redis://, redis+cluster:// or redis+sentinel://, or with rediss for TLS")
    transport, kind = match[1], match[2] or "server"
    location, _, query = rest.partition("?")
    authority, slash, path = location.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    path_match = _PATHS[kind].fullmatch(slash + path)
    if path_match is None:
        raise ValueError(
            "must end with /<name of the master>, followed by /<database> unless it is 0"
            if kind == "sentinel"
            else "may have only a database after the host, which on a cluster must be 0"
        )
    nodes = tuple(_node(host, _PORTS[kind]) for host in hosts.split(","))
    if kind == "server" and len(nodes) > 1:
        raise ValueError("may have several hosts only with redis+cluster:// or redis+sentinel://")
    options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    sentinel = {name: options.pop(name, "") for name in ("sentinel_username", "sentinel_password")}
    if kind != "sentinel" and any(sentinel.values()):
        raise ValueError("has credentials of sentinels, but no sentinels")
    host, port = nodes[0]
    shown = f"[{host}]" if ":" in host else host
    plain = f"{transport}://{credentials}{at}{shown}:{port}/{path_match['db'] or 0}"
    return RedisAddress(
        "cluster" if kind == "cluster" else "sentinel" if kind == "sentinel" else "server",
        nodes,
        f"{plain}?{urlencode(options)}" if options else plain,
        path_match.groupdict().get("master") or "",
        **sentinel,
    )


def redis_url(text: str) -> str:
    """Check a URL and return it. Raises ValueError."""
    parse_redis_url(text)
    return text


def _node(text: str, port: int) -> tuple[str, int]:
    has_port = re.search(r":\d+$", text, re.ASCII) is not None
    return split_address(text if has_port else f"{text}:{port}")
