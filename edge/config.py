"""The settings of the edge process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, ClassVar, Literal

from edge.rates.rates import DEFAULTS, Rates, parse_optional_rates, parse_rates
from services.boards.config import BoardsConfig
from services.runtime.config.loading import section, setting
from services.runtime.config.settings import (
    AuthConfig,
    MediaConfig,
    ProcessConfig,
    RedisConfig,
    RoomsConfig,
    TlsConfig,
    UpstreamConfig,
)
from services.runtime.config.values import host_port

_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_HTTP = re.compile(r"https?://[^\s#]+")
Network = IPv4Network | IPv6Network


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse `10.0.0.0/8, ::1` as networks. Raises ValueError."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be addresses or networks, separated by commas: 10.0.0.0/8,::1") from None


def parse_address(text: str) -> str:
    """Parse `https://docs.example/operations` as an address. Raises ValueError."""
    if text and not _HTTP.fullmatch(text):
        raise ValueError("must be an address of http or https without a fragment")
    return text


def parse_paths(text: str) -> tuple[str, ...]:
    """Parse `/etc/topten/a.json, /etc/topten/b.json` as paths."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_origins(text: str) -> tuple[str, ...]:
    """Parse `https://a.example, https://b.example` as origins, which have no path. Raises ValueError."""
    origins = tuple(part.strip() for part in text.split(",") if part.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError("must be origins such as https://play.example, separated by commas")
    return origins


def _rates(operation: str, what: str) -> Any:
    development, production = DEFAULTS[operation]
    return setting(
        None,
        doc=f"Rates of one caller and of one address for {what}; `-` is no limit, empty is {development} in development "
        f"and {production} in production",
        parse=parse_optional_rates,
    )


@dataclass(frozen=True, kw_only=True)
class EdgeConfig:
    """The settings of the edge."""

    prefix: ClassVar[str] = "EDGE"

    http_address: str = setting("127.0.0.1:8080", doc="Address for clients", parse=host_port)
    reuse_port: bool = setting(
        False,
        doc="Share the address with other edge processes; the kernel spreads connections over them (SO_REUSEPORT)",
    )
    ops_address: str = setting(
        "127.0.0.1:9105", doc="Address for health and metrics; keep it internal", parse=host_port
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (), doc="Proxies whose X-Forwarded-For is trusted: addresses or networks", parse=parse_networks
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        doc="Other origins whose pages may use GraphQL and the stream, never with cookies; in development, those of "
        "localhost may too",
        parse=parse_origins,
    )
    embed_origins: tuple[str, ...] = setting(
        (),
        doc="Origins whose pages may show a board in a frame (`/b/<board>?view=embed`, with a board token); no page may by "
        "default, and no other screen is ever shown in one",
        parse=parse_origins,
    )
    cookie_secure: bool | None = setting(None, doc="Whether cookies are for HTTPS only; empty is true in production")
    max_body_bytes: int = setting(
        262_144,
        doc="Maximum length of a request body in bytes: a quiz file that an author imports, a third longer as base64",
        minimum=1_024,
        maximum=1_048_576,
    )
    body_timeout: timedelta = setting(
        timedelta(seconds=10), doc="Time limit for receiving a request body", minimum=timedelta(milliseconds=100)
    )
    idle_timeout: timedelta = setting(
        timedelta(seconds=65),
        doc="Time limit for receiving the head of a request, also of the next one on a connection; longer than the idle time "
        "of a load balancer in front",
        minimum=timedelta(milliseconds=100),
    )
    request_timeout: timedelta = setting(
        timedelta(seconds=10),
        doc="Time limit for a GraphQL request, with all calls that it makes",
        minimum=timedelta(milliseconds=100),
    )
    shutdown_timeout: timedelta = setting(
        timedelta(seconds=5), doc="Time limit for requests in flight at shutdown, after the streams have ended"
    )

    explorer: bool | None = setting(
        None,
        doc="Whether the schema is public: introspection, /graphql/schema.graphql, and an explorer at GET /graphql in a "
        "browser; empty is true in development and false in production",
    )
    runbooks: str = setting(
        "",
        doc="Address of the operations page (`docs/operator/operations.md`) where your operators read it, for links from "
        "`/ops`; without it the screen names the sections",
        parse=parse_address,
    )
    documents: Literal["any", "apq", "trusted"] = setting(
        "any",
        doc="GraphQL documents that are executed: any; apq, any text and what clients have taught by automatic persisted "
        "queries; trusted, those of the manifest alone",
    )
    trusted_documents: tuple[str, ...] = setting(
        (),
        doc="Paths of the manifests of trusted documents, one a client: Apollo's format, or a JSON object from SHA-256 to "
        "text; the page's documents are always trusted",
        parse=parse_paths,
    )
    max_tokens: int = setting(2_000, doc="Maximum number of tokens in a GraphQL document", minimum=100, maximum=20_000)
    max_depth: int = setting(14, doc="Maximum depth of a GraphQL document", minimum=6, maximum=50)
    max_fields: int = setting(
        300, doc="Maximum number of fields in a GraphQL document, with fragments expanded", minimum=50
    )
    max_cost: int = setting(
        5_000,
        doc="Maximum cost of a GraphQL document: fields times the sizes of the lists around them, plus its calls",
        minimum=1_000,
    )

    stream_max_connections: int = setting(20_000, doc="Maximum number of open streams in this process", minimum=1)
    stream_max_per_user: int = setting(
        20, doc="Maximum number of open streams of one player in this process; one more is RATE_LIMITED", minimum=1
    )
    stream_max_per_address: int = setting(
        2_000, doc="Maximum number of open streams from one address in this process", minimum=1
    )
    stream_max_boards: int = setting(
        10_000, doc="Maximum number of boards that this process watches; keep it above the number that exist", minimum=1
    )
    stream_max_boards_per_address: int = setting(
        1_000,
        doc="Maximum number of boards that clients of one address, or of one /64 network of IPv6, watch at this process",
        minimum=1,
    )
    stream_max_buffer: int = setting(
        65_536, doc="Maximum number of unsent bytes for a slow client, after which its stream is closed", minimum=4_096
    )
    stream_heartbeat: timedelta = setting(
        timedelta(seconds=15), doc="Time between heartbeats on a stream", minimum=timedelta(milliseconds=100)
    )
    stream_linger: timedelta = setting(
        timedelta(seconds=5), doc="Time for which a board is still watched after its last subscriber left"
    )
    stream_catch_up: timedelta = setting(
        timedelta(milliseconds=800),
        doc="Time for which a resuming client waits for a frame after its last one before it gets the current frame; less "
        "than two ticks of the leaderboard",
    )
    stream_retry: timedelta = setting(
        timedelta(milliseconds=200), doc="Time after which a client reconnects; up to as much again is added at random"
    )

    rate_query: Rates | None = _rates("query", "root fields of queries")
    rate_submit: Rates | None = _rates("submit", "submitted actions")
    rate_save: Rates | None = _rates("save", "saved answers of open attempts")
    rate_write: Rates | None = _rates("write", "other mutations")
    rate_join: Rates | None = _rates("join", "attempts to join a group by its invite code")
    rate_login: Rates | None = _rates("login", "sign-ins, where the caller is a username at an address")
    rate_account: Rates | None = _rates(
        "account", "sign-ins, where the caller is a username at all addresses from which it did not sign in lately"
    )
    rate_password: Rates | None = _rates(
        "password", "passwords that a session confirms, where the caller is the session"
    )
    rate_register: Rates | None = _rates("register", "new accounts")
    rate_guest: Rates | None = _rates("guest", "new guests")
    rate_refresh: Rates | None = _rates("refresh", "refreshed and ended sessions")
    rate_export: Rates | None = _rates("export", "pages of data exports")
    rate_room: Rates | None = _rates("room", "joins of rooms and look-ups by PIN")
    rate_room_join: Rates | None = _rates(
        "room_join", "joins of rooms and seats moved by a code, where the caller is the room"
    )
    rate_stream: Rates | None = _rates("stream", "opened streams")

    process: ProcessConfig = section(ProcessConfig)
    redis: RedisConfig = section(RedisConfig)
    auth: AuthConfig = section(AuthConfig)
    tls: TlsConfig = section(TlsConfig)
    upstream: UpstreamConfig = section(UpstreamConfig)
    boards: BoardsConfig = section(BoardsConfig)
    media: MediaConfig = section(MediaConfig)
    rooms: RoomsConfig = section(RoomsConfig)

    @property
    def rates(self) -> Mapping[str, Rates]:
        """The rates in force, by operation."""
        return {
            operation: getattr(self, f"rate_{operation}") or parse_rates(defaults[self.process.production])
            for operation, defaults in DEFAULTS.items()
        }

    @property
    def introspection(self) -> bool:
        """Whether clients may read the schema, with the explorer or by introspection."""
        return not self.process.production if self.explorer is None else self.explorer

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies are for HTTPS only."""
        return self.process.production if self.cookie_secure is None else self.cookie_secure
