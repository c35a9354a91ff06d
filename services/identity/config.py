"""The settings of the identity process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.runtime.config import section, setting
from services.runtime.settings import AuthConfig, MongoConfig, NatsConfig, ProcessConfig
from services.runtime.values import host_port

SERVICE_ROLES = frozenset({"service", "admin"})
MIN_SECRET = 16


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """One that may buy a service token with a secret."""

    secret: str
    roles: frozenset[str]


def parse_service_clients(text: str) -> Mapping[str, ServiceClient]:
    """``{"edge": {"secret": "…", "roles": ["service"]}, …}`` as clients by id. Raises ValueError."""
    try:
        entries = json.loads(text)
        clients = {
            str(name): ServiceClient(str(entry["secret"]), frozenset(map(str, entry["roles"])))
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError('must be a JSON object {"name": {"secret": "…", "roles": ["service"]}}') from None
    for client in clients.values():
        if len(client.secret) < MIN_SECRET or not client.roles <= SERVICE_ROLES:
            raise ValueError(f"needs secrets of {MIN_SECRET} characters or more and the roles service or admin")
    return clients


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
    )
    service_clients: Mapping[str, ServiceClient] = setting(
        doc="Who may buy a service token: JSON of name to secret and roles", secret=True, parse=parse_service_clients
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

    process: ProcessConfig = section(ProcessConfig)
    mongo: MongoConfig = section(MongoConfig)
    nats: NatsConfig = section(NatsConfig)
    auth: AuthConfig = section(AuthConfig)
