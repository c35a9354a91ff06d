"""The sections of configuration that several processes share: the same variables, meaning and defaults everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

from services.runtime.catalog import Catalog, parse_declared
from services.runtime.config import setting
from services.runtime.issuers import OutsideIssuer, parse_issuers
from services.runtime.redis_url import redis_url
from services.runtime.split import Split
from services.runtime.values import grpc_target, header_pairs, http_url


@dataclass(frozen=True, kw_only=True)
class ProcessConfig:
    """What every process has."""

    prefix: ClassVar[str] = ""

    environment: Literal["development", "production"] = setting(
        "development",
        doc="Production refuses what is only convenient (reflection, introspection, cookies without TLS), "
        "and servers that are set up to forget",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", doc="The least severe record that is logged"
    )
    log_format: Literal["auto", "text", "json"] = setting(
        "auto", doc="Lines for people, or one JSON object a line; auto is json in production and text in development"
    )
    max_running: int = setting(
        64,
        doc="The most that is done at once: so many GraphQL requests of an edge, four times as many unary calls of a "
        "service; what comes beyond is UNAVAILABLE, with when to come back",
        minimum=1,
    )
    trace_endpoint: str = setting(
        "",
        doc="OTLP/HTTP address that traces are sent to, `/v1/traces` being added to a bare one; empty is none",
        parse=http_url,
    )
    trace_sample_ratio: float = setting(
        0.05,
        doc="Of how many of the traces that begin here, 0 to 1; a caller's decision holds",
        minimum=0.0,
        maximum=1.0,
    )
    trace_headers: str = setting(
        "",
        doc="What the trace address asks to be sent, as `name=value,name=value`: an API key",
        secret=True,
        parse=header_pairs,
    )
    shutdown_grace: timedelta = setting(
        timedelta(seconds=20),
        doc="From SIGTERM to the end of the process at the latest; keep it below the pod's grace",
        minimum=timedelta(seconds=1),
        maximum=timedelta(minutes=10),
    )

    @property
    def max_calls(self) -> int:
        """The most unary calls at once: a request may be several."""
        return 4 * self.max_running

    @property
    def production(self) -> bool:
        """True in production, where nothing is offered for convenience alone."""
        return self.environment == "production"


@dataclass(frozen=True, kw_only=True)
class MongoConfig:
    """Where the truth is stored."""

    prefix: ClassVar[str] = "MONGO"

    url: str = setting(
        "mongodb://127.0.0.1:27017/?replicaSet=topten", doc="MongoDB replica set or sharded cluster", secret=True
    )
    database: str = setting("topten", doc="A service's database is this name, an underscore and the service's name")
    timeout: timedelta = setting(
        timedelta(seconds=5),
        doc="For one operation, retries included",
        minimum=timedelta(milliseconds=100),
        maximum=timedelta(minutes=5),
    )


@dataclass(frozen=True, kw_only=True)
class RedisConfig:
    """Where ranking, fan-out, caches and rate limits are."""

    prefix: ClassVar[str] = "REDIS"

    url: str = setting(
        "redis://127.0.0.1:6379/0",
        doc="Redis: redis://host:port/db, redis+cluster://host:port,host:port, or "
        "redis+sentinel://host:port,host:port/master; with rediss over TLS",
        secret=True,
        parse=redis_url,
    )


@dataclass(frozen=True, kw_only=True)
class NatsConfig:
    """Where facts are handed over."""

    prefix: ClassVar[str] = "NATS"

    url: str = setting("nats://127.0.0.1:4222", doc="NATS servers with JetStream, comma separated", secret=True)


def issuers_text(text: str) -> str:
    """Checks what declares outside issuers, and returns it. Raises ValueError."""
    parse_issuers(text)
    return text


@dataclass(frozen=True, kw_only=True)
class AuthConfig:
    """Whose tokens are believed, and how this process proves itself to others."""

    prefix: ClassVar[str] = "AUTH"

    jwks_url: str = setting("http://127.0.0.1:9101/.well-known/jwks.json", doc="The public keys of the issuer")
    token_url: str = setting("http://127.0.0.1:9101/oauth/token", doc="Where client credentials buy a service token")
    issuer: str = setting("topten", doc="The iss that a token must carry")
    audience: str = setting("topten", doc="The aud that a token must carry")
    client_id: str = setting("", doc="This process's name at the token address; empty if it makes no calls of its own")
    client_secret: str = setting("", doc="What proves the client id", secret=True)
    keys_folder: str = setting(
        "",
        doc="Folder, of this process's user alone, in which the public keys of all issuers are kept for a day: a process that "
        "starts while identity is away verifies by them; empty is none",
    )
    issuers: str = setting(
        "",
        doc="Other issuers whose access tokens are believed, in all processes alike: JSON of issuer to `jwks_url`, "
        "`audience`, and as needed `algorithms`, `type`, `user_id`, `username`, `roles`, `grants` (docs/security.md)",
        parse=issuers_text,
    )

    @property
    def outside(self) -> tuple[OutsideIssuer, ...]:
        """The other issuers."""
        return parse_issuers(self.issuers)


@dataclass(frozen=True, kw_only=True)
class GrpcConfig:
    """How gRPC is served."""

    prefix: ClassVar[str] = "GRPC"

    connection_age: timedelta = setting(
        timedelta(minutes=10),
        doc="After which a connection is ended in order, so that its caller looks up again who serves: a new instance "
        "behind a name gets its share within this time",
        minimum=timedelta(seconds=1),
        maximum=timedelta(days=1),
    )


@dataclass(frozen=True, kw_only=True)
class TlsConfig:
    """Mutual TLS on gRPC, between our processes and for whoever calls them."""

    prefix: ClassVar[str] = "TLS"

    cert_file: str = setting(
        "",
        doc="Path of this process's certificate chain (PEM), for serving and for calling gRPC; empty, with the other two, "
        "is gRPC without TLS. The three files are read again when they change",
    )
    key_file: str = setting("", doc="Path of the certificate's private key (PEM, unencrypted)")
    ca_file: str = setting("", doc="Path of the authorities (PEM) that sign the certificates of all processes")

    @property
    def is_on(self) -> bool:
        """True if any of the files is named; then all must be."""
        return bool(self.cert_file or self.key_file or self.ca_file)


@dataclass(frozen=True, kw_only=True)
class UpstreamConfig:
    """Where the services serve gRPC."""

    prefix: ClassVar[str] = "UPSTREAM"

    identity: str = setting(
        "127.0.0.1:50051",
        doc="gRPC address of the identity service; dns:///name:port takes turns among all behind a name",
        parse=grpc_target,
    )
    quiz: str = setting(
        "127.0.0.1:50052",
        doc="gRPC address of the quiz service; dns:///name:port takes turns among all behind a name",
        parse=grpc_target,
    )
    score: str = setting(
        "127.0.0.1:50053",
        doc="gRPC address of the score service; dns:///name:port takes turns among all behind a name",
        parse=grpc_target,
    )
    leaderboard: str = setting(
        "127.0.0.1:50054",
        doc="gRPC address of the leaderboard service; dns:///name:port takes turns among all behind a name",
        parse=grpc_target,
    )


def declared_text(text: str) -> str:
    """Checks what declares boards, and returns it. Raises ValueError."""
    parse_declared(text)
    return text


def split_text(text: str) -> str:
    """Checks what splits boards, and returns it. Raises ValueError."""
    Split(text)
    return text


@dataclass(frozen=True, kw_only=True)
class BoardsConfig:
    """Which boards there are beside the built-in ones, and how they are stored."""

    prefix: ClassVar[str] = "BOARDS"

    declared: str = setting(
        "",
        doc="Boards of periods and countries, such as `asean=all,VN+TH+ID; asean-week=weekly,VN+TH+ID; "
        "week-by-country=weekly,country`; the same for score, leaderboard and edge",
        parse=declared_text,
    )

    keys: str = setting(
        "",
        doc="Boards that are hashed over several keys, such as `all=4; monthly=4`; a change makes all boards anew",
        parse=split_text,
    )

    @property
    def catalog(self) -> Catalog:
        """All boards."""
        return Catalog(parse_declared(self.declared), Split(self.keys))
