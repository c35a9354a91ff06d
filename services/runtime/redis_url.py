"""The address of Redis: one server, a cluster, or a master that sentinels know, as one URL.

    redis://[user:password@]host:port/db                      one server
    redis+cluster://[user:password@]host:port[,host:port…]    a cluster; any of its nodes, which tell of the others
    redis+sentinel://[user:password@]host:port[,host:port…]/master[/db]    the sentinels of a master

With `rediss` in the place of `redis` everything goes over TLS. What stands behind a `?` are options of the driver, such as
`ssl_ca_certs=/path`; sentinels that ask for a password take `sentinel_username` and `sentinel_password` there. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode

from services.runtime.values import split_address

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
    """Where Redis is. `nodes` are hosts and ports: of the server, of nodes, or of sentinels.

    `plain` is a URL that the driver reads: of the first node, with user, password, database, TLS and options as given.
    """

    kind: Kind
    nodes: tuple[tuple[str, int], ...]
    plain: str
    master: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""


def parse_redis_url(text: str) -> RedisAddress:
    """The address that a URL names. Raises ValueError with a phrase that never shows the URL, which has a password."""
    scheme, _, rest = text.partition("://")
    match = _SCHEME.fullmatch(scheme)
    if match is None:
        raise ValueError("must begin with redis://, redis+cluster:// or redis+sentinel://, or rediss for TLS")
    transport, kind = match[1], match[2] or "server"
    location, _, query = rest.partition("?")
    authority, slash, path = location.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    found = _PATHS[kind].fullmatch(slash + path)
    if found is None:
        raise ValueError(
            "must end with /<name of the master>, and /<database> where that is not 0"
            if kind == "sentinel"
            else "can have nothing but a database behind the host, and on a cluster none but 0"
        )
    nodes = tuple(_node(host, _PORTS[kind]) for host in hosts.split(","))
    if kind == "server" and len(nodes) > 1:
        raise ValueError("names several hosts: with redis+cluster:// or redis+sentinel:// it may")
    options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    sentinel = {name: options.pop(name, "") for name in ("sentinel_username", "sentinel_password")}
    if kind != "sentinel" and any(sentinel.values()):
        raise ValueError("has a password for sentinels without sentinels")
    host, port = nodes[0]
    shown = f"[{host}]" if ":" in host else host
    plain = f"{transport}://{credentials}{at}{shown}:{port}/{found['db'] or 0}"
    return RedisAddress(
        "cluster" if kind == "cluster" else "sentinel" if kind == "sentinel" else "server",
        nodes,
        f"{plain}?{urlencode(options)}" if options else plain,
        found.groupdict().get("master") or "",
        **sentinel,
    )


def redis_url(text: str) -> str:
    """Checks a URL and returns it. Raises ValueError."""
    parse_redis_url(text)
    return text


def _node(text: str, port: int) -> tuple[str, int]:
    has_port = re.search(r":\d+$", text, re.ASCII) is not None
    return split_address(text if has_port else f"{text}:{port}")
