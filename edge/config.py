"""The settings of the edge process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, ClassVar, Literal

from edge.rates.rates import DEFAULTS, Rates, needed_rates, parse_rates
from services.runtime.config import section, setting
from services.runtime.settings import AuthConfig, BoardsConfig, ProcessConfig, RedisConfig, TlsConfig, UpstreamConfig
from services.runtime.values import host_port

Network = IPv4Network | IPv6Network


def parse_networks(text: str) -> tuple[Network, ...]:
    """`10.0.0.0/8, ::1` as networks. Raises ValueError."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be addresses or networks, comma separated: 10.0.0.0/8,::1") from None


def parse_origins(text: str) -> tuple[str, ...]:
    """`https://a.example, https://b.example` as origins, without a path. Raises ValueError."""
    origins = tuple(part.strip() for part in text.split(",") if part.strip())
    for origin in origins:
        scheme, separator, host = origin.partition("://")
        if scheme not in ("http", "https") or not separator or not host or "/" in host or "*" in host:
            raise ValueError("must be origins such as https://play.example, comma separated")
    return origins


def _rates(operation: str, what: str) -> Any:
    development, production = DEFAULTS[operation]
    return setting(
        None,
        doc=f"How often one caller, and one address, may {what}; `-` is no limit, empty is {development} in "
        f"development and {production} in production",
        parse=parse_rates,
    )


@dataclass(frozen=True, kw_only=True)
class EdgeConfig:
    """What the edge reads from its environment."""

    prefix: ClassVar[str] = "EDGE"

    http_address: str = setting("127.0.0.1:8080", doc="Where clients are served", parse=host_port)
    reuse_port: bool = setting(
        False,
        doc="Other edges listen on the same address too, and the kernel spreads connections over all (SO_REUSEPORT)",
    )
    ops_address: str = setting(
        "127.0.0.1:9105", doc="Where health and metrics are served; for the inside only", parse=host_port
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (), doc="Whose X-Forwarded-For is believed: addresses or networks", parse=parse_networks
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        doc="Other origins whose pages may call GraphQL and the stream; cookies are never for them",
        parse=parse_origins,
    )
    cookie_secure: bool | None = setting(None, doc="Cookies over HTTPS only; empty is true in production")
    max_body_bytes: int = setting(65_536, doc="The longest request body", minimum=1_024, maximum=1_048_576)
    body_timeout: timedelta = setting(
        timedelta(seconds=10), doc="For receiving a request body", minimum=timedelta(milliseconds=100)
    )
    idle_timeout: timedelta = setting(
        timedelta(seconds=65),
        doc="For a connection to bring a whole head of a request, also the next one; above the idle time of a load "
        "balancer before it",
        minimum=timedelta(milliseconds=100),
    )
    request_timeout: timedelta = setting(
        timedelta(seconds=10),
        doc="For answering a GraphQL request, calls included",
        minimum=timedelta(milliseconds=100),
    )
    shutdown_timeout: timedelta = setting(
        timedelta(seconds=5), doc="For requests in flight at shutdown, after the streams have ended"
    )

    documents: Literal["any", "apq", "trusted"] = setting(
        "any",
        doc="Which GraphQL documents are executed: any; any, and those that clients have taught by automatic persisted "
        "queries; or the trusted ones alone",
    )
    trusted_documents: str = setting(
        "", doc="Path of the manifest of trusted documents: Apollo's, or JSON of SHA-256 to text"
    )
    max_tokens: int = setting(2_000, doc="The most tokens of a GraphQL document", minimum=100, maximum=20_000)
    max_depth: int = setting(14, doc="The deepest nesting of a GraphQL document", minimum=6, maximum=50)
    max_fields: int = setting(300, doc="The most fields of a GraphQL document, fragments expanded", minimum=50)
    max_cost: int = setting(
        5_000,
        doc="The most a GraphQL document may cost: fields times the lists around them, calls extra",
        minimum=1_000,
    )

    stream_max_connections: int = setting(20_000, doc="The most open streams of this process", minimum=1)
    stream_max_per_user: int = setting(
        20, doc="The most open streams of one player at this process; one more is RATE_LIMITED", minimum=1
    )
    stream_max_per_address: int = setting(
        2_000, doc="The most open streams from one address at this process", minimum=1
    )
    stream_max_boards: int = setting(1_000, doc="The most boards watched at a time by this process", minimum=1)
    stream_max_buffer: int = setting(
        65_536, doc="Bytes that may wait for a slow reader before its stream is cut", minimum=4_096
    )
    stream_heartbeat: timedelta = setting(
        timedelta(seconds=15), doc="Between comments that keep a stream alive", minimum=timedelta(milliseconds=100)
    )
    stream_linger: timedelta = setting(
        timedelta(seconds=5), doc="How long a board is still watched after its last reader left"
    )
    stream_catch_up: timedelta = setting(
        timedelta(milliseconds=500),
        doc="How long a reader who has seen more than this process waits for it; the leaderboard's tick",
    )
    stream_retry: timedelta = setting(
        timedelta(seconds=2), doc="After which a client comes back; jitter of up to as much again is added"
    )

    rate_query: Rates | None = _rates("query", "ask (fields at the top of a query)")
    rate_submit: Rates | None = _rates("submit", "submit an action")
    rate_write: Rates | None = _rates("write", "change something else")
    rate_login: Rates | None = _rates("login", "try a password; the caller is the username")
    rate_register: Rates | None = _rates("register", "make an account")
    rate_refresh: Rates | None = _rates("refresh", "refresh or end a session")
    rate_export: Rates | None = _rates("export", "read a page of what is held on oneself")
    rate_stream: Rates | None = _rates("stream", "open a stream")

    process: ProcessConfig = section(ProcessConfig)
    redis: RedisConfig = section(RedisConfig)
    auth: AuthConfig = section(AuthConfig)
    tls: TlsConfig = section(TlsConfig)
    upstream: UpstreamConfig = section(UpstreamConfig)
    boards: BoardsConfig = section(BoardsConfig)

    @property
    def rates(self) -> Mapping[str, Rates]:
        """The rates in force, by operation."""
        return {
            operation: getattr(self, f"rate_{operation}") or needed_rates(defaults[self.process.production])
            for operation, defaults in DEFAULTS.items()
        }

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies are marked Secure."""
        return self.process.production if self.cookie_secure is None else self.cookie_secure
