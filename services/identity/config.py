"""The settings of the identity process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.identity.clients.client import ServiceClient, parse_service_clients
from services.identity.tokens import read_keys
from services.runtime.config.loading import ConfigError, section, setting
from services.runtime.config.settings import (
    AuthConfig,
    GrpcConfig,
    MongoConfig,
    NatsConfig,
    ProcessConfig,
    TlsConfig,
    UpstreamConfig,
)
from services.runtime.config.values import host_port


def signing_keys(pem: str) -> str:
    """Return the keys unchanged if they are valid. Raises ValueError."""
    read_keys(pem)
    return pem


@dataclass(frozen=True, kw_only=True)
class IdentityConfig:
    """The settings, as read from the environment."""

    prefix: ClassVar[str] = "IDENTITY"

    grpc_address: str = setting("127.0.0.1:50051", doc="Address of the gRPC server", parse=host_port)
    ops_address: str = setting(
        "127.0.0.1:9101",
        doc="Address of health, metrics, the JWKS and the token endpoint; must not face clients",
        parse=host_port,
    )
    signing_key: str = setting(
        doc="Ed25519 private key (PKCS#8 PEM) that signs all tokens; further keys after it, private or public, are "
        "published too: those that signed before or will sign next",
        secret=True,
        parse=signing_keys,
    )
    service_clients: Mapping[str, ServiceClient] = setting(
        doc="Clients that may request a service token: JSON of name to `secret_sha256` (or `secret`), `scopes` and the "
        "outside `issuer` of its players; the processes of Topten have the scopes they need, the operator `roles`: [`admin`]",
        secret=True,
        parse=parse_service_clients,
    )
    access_ttl: timedelta = setting(
        timedelta(minutes=10),
        doc="Lifetime of an access token",
        minimum=timedelta(minutes=5),
        maximum=timedelta(minutes=15),
    )
    session_ttl: timedelta = setting(
        timedelta(days=30),
        doc="Lifetime of a session after its last refresh",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=400),
    )
    rotation_grace: timedelta = setting(
        timedelta(seconds=60),
        doc="Time for which the previous refresh token stays valid while its successor is unused",
        maximum=timedelta(minutes=10),
    )
    guest_ttl: timedelta = setting(
        timedelta(hours=12),
        doc="Lifetime of a guest, and of their session however often it is renewed",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=30),
    )
    guest_retention: timedelta = setting(
        timedelta(hours=24),
        doc="Time after a guest's end until the account is erased, unless a player has claimed it before the end",
        maximum=timedelta(days=90),
    )
    reserved_usernames: tuple[str, ...] = setting(
        (),
        doc="Usernames that nobody may take, nor one that looks like them, besides admin, moderator, system and topten; "
        "existing accounts keep theirs",
    )
    argon2_memory_kib: int = setting(
        19_456, doc="Memory of one password digest in KiB", minimum=19_456, maximum=1_048_576
    )
    argon2_rounds: int = setting(2, doc="Passes of one password digest", minimum=2, maximum=64)

    stream: str = setting("QUIZ_EVENTS", doc="JetStream stream for changes of accounts that boards depend on")
    outbox_interval: timedelta = setting(
        timedelta(seconds=1),
        doc="Pause between searches for unacknowledged events",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(minutes=1),
    )
    outbox_lease: timedelta = setting(
        timedelta(seconds=5),
        doc="Time that one instance has to publish an event before another takes over",
        minimum=timedelta(seconds=1),
        maximum=timedelta(minutes=5),
    )

    erasure_repeat: timedelta = setting(
        timedelta(minutes=20),
        doc="Minimum time after an erasure during which services are asked again to erase the player; longer than "
        "the lifetime of an access token",
        minimum=timedelta(seconds=1),
        maximum=timedelta(days=7),
    )

    process: ProcessConfig = section(ProcessConfig)
    mongo: MongoConfig = section(MongoConfig)
    nats: NatsConfig = section(NatsConfig)
    auth: AuthConfig = section(AuthConfig)
    grpc: GrpcConfig = section(GrpcConfig)
    tls: TlsConfig = section(TlsConfig)
    upstream: UpstreamConfig = section(UpstreamConfig)

    def __post_init__(self) -> None:
        """Refuse a client that is bound to an issuer whose tokens are not accepted."""
        issuers = {each.issuer for each in self.auth.outside}
        unbound = sorted(
            name for name, each in self.service_clients.items() if each.issuer and each.issuer not in issuers
        )
        if unbound:
            raise ConfigError(
                [f"TOPTEN_IDENTITY_SERVICE_CLIENTS: the issuer of {unbound[0]} is not in TOPTEN_AUTH_ISSUERS"]
            )
