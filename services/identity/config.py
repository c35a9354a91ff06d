"""The settings of the identity process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.identity.clients import ServiceClient, parse_service_clients
from services.identity.tokens import read_keys
from services.runtime.config import section, setting
from services.runtime.settings import (
    AuthConfig,
    GrpcConfig,
    MongoConfig,
    NatsConfig,
    ProcessConfig,
    TlsConfig,
    UpstreamConfig,
)
from services.runtime.values import host_port


def signing_keys(pem: str) -> str:
    """Checks the keys, and returns them as they are. Raises ValueError."""
    read_keys(pem)
    return pem


@dataclass(frozen=True, kw_only=True)
class IdentityConfig:
    """What the identity process reads from its environment."""

    prefix: ClassVar[str] = "IDENTITY"

    grpc_address: str = setting("127.0.0.1:50051", doc="Where gRPC is served", parse=host_port)
    ops_address: str = setting(
        "127.0.0.1:9101",
        doc="Where health, metrics, the JWKS and the token address are served; for the inside only",
        parse=host_port,
    )
    signing_key: str = setting(
        doc="Ed25519 private key (PKCS#8 PEM) that signs all tokens; keys behind it, private or public, are published "
        "beside it: those that signed before or will sign next",
        secret=True,
        parse=signing_keys,
    )
    service_clients: Mapping[str, ServiceClient] = setting(
        doc="Who may buy a service token: JSON of name to `secret_sha256` (or `secret`) and `scopes`; our own processes "
        "have the scopes they need, the operator `roles`: [`admin`]",
        secret=True,
        parse=parse_service_clients,
    )
    access_ttl: timedelta = setting(
        timedelta(minutes=10),
        doc="Life of an access token",
        minimum=timedelta(minutes=5),
        maximum=timedelta(minutes=15),
    )
    session_ttl: timedelta = setting(
        timedelta(days=30),
        doc="How long a session lasts after its last refresh",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=400),
    )
    rotation_grace: timedelta = setting(
        timedelta(seconds=60),
        doc="How long the last rotated refresh token stays good while its successor is unused",
        maximum=timedelta(minutes=10),
    )
    argon2_memory_kib: int = setting(
        19_456, doc="Memory of one password digest, KiB", minimum=19_456, maximum=1_048_576
    )
    argon2_rounds: int = setting(2, doc="Passes of one password digest", minimum=2, maximum=64)

    stream: str = setting("QUIZ_EVENTS", doc="The JetStream stream for what boards must know of accounts")
    outbox_interval: timedelta = setting(
        timedelta(seconds=1),
        doc="How often events that were not acknowledged are looked for",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(minutes=1),
    )
    outbox_lease: timedelta = setting(
        timedelta(seconds=5),
        doc="How long one instance has for publishing an event before another takes it over",
        minimum=timedelta(seconds=1),
        maximum=timedelta(minutes=5),
    )

    erasure_repeat: timedelta = setting(
        timedelta(minutes=20),
        doc="For how long after an erasure services are told of it again; longer than an access token lives",
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
