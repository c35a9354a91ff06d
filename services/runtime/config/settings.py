"""The sections of configuration that processes share: the same variables, meanings and defaults everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

from services.runtime.auth.issuers import OutsideIssuer, parse_issuers
from services.runtime.config.loading import setting
from services.runtime.config.values import grpc_target, header_pairs, host_names, http_url
from services.runtime.stores.redis_url import redis_url


@dataclass(frozen=True, kw_only=True)
class ProcessConfig:
    """The settings of every process."""

    prefix: ClassVar[str] = ""

    environment: Literal["development", "production"] = setting(
        "development",
        doc="Production disables conveniences (reflection, introspection, cookies without TLS) and refuses stores "
        "that are configured to lose data",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", doc="Lowest severity that is logged")
    log_format: Literal["auto", "text", "json"] = setting(
        "auto", doc="Text lines, or one JSON object per line; auto means json in production and text in development"
    )
    max_running: int = setting(
        64,
        doc="Maximum number of concurrent GraphQL requests of an edge; a service admits four times as many unary calls. "
        "Requests beyond it are refused as UNAVAILABLE, with a time to retry",
        minimum=1,
    )
    trace_endpoint: str = setting(
        "",
        doc="OTLP/HTTP address for traces; `/v1/traces` is appended to an address without a path. Empty disables tracing",
        parse=http_url,
    )
    trace_sample_ratio: float = setting(
        0.05,
        doc="Fraction of the traces starting here that are sampled, 0 to 1; a caller's decision takes precedence",
        minimum=0.0,
        maximum=1.0,
    )
    trace_headers: str = setting(
        "",
        doc="HTTP headers for the trace address, such as an API key, as `name=value,name=value`",
        secret=True,
        parse=header_pairs,
    )
    startup_timeout: timedelta = setting(
        timedelta(seconds=60),
        doc="Maximum time from the start of the process until its stores respond; then it logs which does not, and exits",
        minimum=timedelta(seconds=1),
        maximum=timedelta(hours=1),
    )
    shutdown_grace: timedelta = setting(
        timedelta(seconds=20),
        doc="Maximum time from SIGTERM to the end of the process; keep it below the pod's grace period",
        minimum=timedelta(seconds=1),
        maximum=timedelta(minutes=10),
    )

    @property
    def max_calls(self) -> int:
        """The maximum number of concurrent unary calls; one request may make several."""
        return 4 * self.max_running

    @property
    def production(self) -> bool:
        """True in production, where conveniences are disabled."""
        return self.environment == "production"


@dataclass(frozen=True, kw_only=True)
class MongoConfig:
    """The MongoDB of ledger, submissions and accounts."""

    prefix: ClassVar[str] = "MONGO"

    url: str = setting(
        "mongodb://127.0.0.1:27017/?replicaSet=topten", doc="MongoDB replica set or sharded cluster", secret=True
    )
    database: str = setting("topten", doc="Prefix of database names: a service uses `<prefix>_<service>`")
    timeout: timedelta = setting(
        timedelta(seconds=5),
        doc="Maximum time of one operation, including retries",
        minimum=timedelta(milliseconds=100),
        maximum=timedelta(minutes=5),
    )


@dataclass(frozen=True, kw_only=True)
class RedisConfig:
    """The Redis of boards, fan-out, caches and rate limits."""

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
    """The NATS of events."""

    prefix: ClassVar[str] = "NATS"

    url: str = setting("nats://127.0.0.1:4222", doc="NATS servers with JetStream, comma separated", secret=True)


def issuers_text(text: str) -> str:
    """Check a declaration of outside issuers and return it. Raises ValueError."""
    parse_issuers(text)
    return text


@dataclass(frozen=True, kw_only=True)
class AuthConfig:
    """The accepted issuers, and the credentials of this process."""

    prefix: ClassVar[str] = "AUTH"

    jwks_url: str = setting("http://127.0.0.1:9101/.well-known/jwks.json", doc="Address of the issuer's public keys")
    token_url: str = setting(
        "http://127.0.0.1:9101/oauth/token", doc="Address where client credentials are exchanged for a service token"
    )
    issuer: str = setting("topten", doc="Required `iss` of access tokens")
    audience: str = setting("topten", doc="Required `aud` of access tokens")
    client_id: str = setting("", doc="Client id of this process; empty if it makes no calls of its own")
    client_secret: str = setting("", doc="Client secret of this process", secret=True)
    keys_folder: str = setting(
        "",
        doc="Folder, writable only by the user of this process, for copies of all issuers' public keys. They are valid for a "
        "day, so that a process can start while identity is down. Empty disables copies",
    )
    issuers: str = setting(
        "",
        doc="Other issuers whose access tokens are accepted, the same in all processes: a JSON object from issuer to "
        "`jwks_url`, `audience` and optionally `algorithms`, `type`, `user_id`, `username`, `roles`, `grants` (see "
        "docs/security.md)",
        parse=issuers_text,
    )

    @property
    def outside(self) -> tuple[OutsideIssuer, ...]:
        """The parsed outside issuers."""
        return parse_issuers(self.issuers)


@dataclass(frozen=True, kw_only=True)
class GrpcConfig:
    """The gRPC servers."""

    prefix: ClassVar[str] = "GRPC"

    connection_age: timedelta = setting(
        timedelta(minutes=10),
        doc="Age at which a connection is closed gracefully, so that clients resolve the address again: a new instance "
        "receives calls within this time",
        minimum=timedelta(seconds=1),
        maximum=timedelta(days=1),
    )


@dataclass(frozen=True, kw_only=True)
class TlsConfig:
    """Mutual TLS on gRPC, for our processes and all other clients."""

    prefix: ClassVar[str] = "TLS"

    cert_file: str = setting(
        "",
        doc="Path of this process's certificate chain (PEM), for serving and calling gRPC. If all three paths are empty, "
        "gRPC uses no TLS. Changed files are reloaded",
    )
    key_file: str = setting("", doc="Path of the certificate's private key (PEM, unencrypted)")
    ca_file: str = setting(
        "", doc="Path of the certificate authorities (PEM) that sign the certificates of all processes"
    )

    @property
    def is_on(self) -> bool:
        """True if any of the paths is set; then all must be."""
        return bool(self.cert_file or self.key_file or self.ca_file)


@dataclass(frozen=True, kw_only=True)
class MediaConfig:
    """Hosts of pictures of questions: quizzes that may be imported, and pictures that the page may load."""

    prefix: ClassVar[str] = "MEDIA"

    hosts: tuple[str, ...] = setting(
        (),
        doc="Hosts from which pictures of questions may come, separated by commas; without one, quizzes with pictures are "
        "refused",
        parse=host_names,
    )


@dataclass(frozen=True, kw_only=True)
class RoomsConfig:
    """Rooms: what quiz decides and the edge tells players."""

    prefix: ClassVar[str] = "ROOMS"

    players_host: bool = setting(False, doc="Whether players may open rooms; authors, moderators and admins always may")


@dataclass(frozen=True, kw_only=True)
class UpstreamConfig:
    """The gRPC addresses of the services."""

    prefix: ClassVar[str] = "UPSTREAM"

    identity: str = setting(
        "127.0.0.1:50051",
        doc="gRPC address of the identity service; dns:///name:port balances calls over all addresses of a name",
        parse=grpc_target,
    )
    quiz: str = setting(
        "127.0.0.1:50052",
        doc="gRPC address of the quiz service; dns:///name:port balances calls over all addresses of a name",
        parse=grpc_target,
    )
    score: str = setting(
        "127.0.0.1:50053",
        doc="gRPC address of the score service; dns:///name:port balances calls over all addresses of a name",
        parse=grpc_target,
    )
    leaderboard: str = setting(
        "127.0.0.1:50054",
        doc="gRPC address of the leaderboard service; dns:///name:port balances calls over all addresses of a name",
        parse=grpc_target,
    )
