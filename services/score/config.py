"""The settings of the score process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.boards.config import BoardsConfig
from services.runtime.config.loading import section, setting
from services.runtime.config.settings import (
    AuthConfig,
    GrpcConfig,
    MongoConfig,
    NatsConfig,
    ProcessConfig,
    RedisConfig,
    TlsConfig,
    UpstreamConfig,
)
from services.runtime.config.values import host_port
from services.score.fairplay.rules import RULES

_SECOND = timedelta(seconds=1)
# A single colon would be a port; an IPv6 address has at least two.
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-:")


def parse_rules(text: str) -> Sequence[str]:
    """Parse a comma list of rules. Raises ValueError."""
    names = tuple(name for name in (part.strip() for part in text.split(",")) if name)
    if not set(names) <= set(RULES):
        raise ValueError(f"must be a comma list of {', '.join(RULES)}")
    return names


def parse_hosts(text: str) -> Sequence[str]:
    """Parse a comma list of host names and addresses, without ports. Raises ValueError."""
    hosts = tuple(host for host in (part.strip().lower() for part in text.split(",")) if host)
    if any(not set(host) <= _HOST_CHARACTERS or host.count(":") == 1 for host in hosts):
        raise ValueError("must be a comma list of host names and addresses, without ports")
    return hosts


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """The environment of the score process."""

    prefix: ClassVar[str] = "SCORE"

    grpc_address: str = setting("127.0.0.1:50053", doc="Where gRPC is served", parse=host_port)
    ops_address: str = setting(
        "127.0.0.1:9103", doc="Where health and metrics are served; for the inside only", parse=host_port
    )
    stream: str = setting("QUIZ_EVENTS", doc="The JetStream stream of quiz events")
    batch: int = setting(500, doc="Maximum number of events counted together", minimum=1, maximum=2000)
    ack_wait: timedelta = setting(
        timedelta(seconds=15),
        doc="When JetStream delivers an unacknowledged event again",
        minimum=timedelta(seconds=3),
        maximum=timedelta(minutes=10),
    )
    max_ack_pending: int = setting(
        10_000,
        doc="Unacknowledged events per partition; at least twice the workers times two batches",
        minimum=100,
        maximum=1_000_000,
    )
    cached_players: int = setting(
        50_000, doc="Players whose folds are cached, about 2 KiB each", minimum=100, maximum=10_000_000
    )
    fold_interval: timedelta = setting(
        timedelta(seconds=5),
        doc="How often changed folds are written behind the ledger",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(seconds=30),
    )
    heartbeat: timedelta = setting(
        timedelta(seconds=2),
        doc="How often Redis is checked for lost data",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(seconds=10),
    )
    fence_ttl: timedelta = setting(
        timedelta(hours=1),
        doc="How long a lowered standing is protected from older writes; an erased player's id is kept as long",
        minimum=_SECOND,
        maximum=timedelta(days=1),
    )
    period_retention: timedelta = setting(
        timedelta(days=35),
        doc="How long the board of a week or month stays in Redis after its end",
        minimum=timedelta(days=1),
        maximum=timedelta(days=42),
    )
    close_after: timedelta = setting(
        timedelta(hours=1),
        doc="How long after its end a week or month is closed, once everything recorded by then is counted",
        maximum=timedelta(days=7),
    )
    close_interval: timedelta = setting(
        timedelta(seconds=30),
        doc="How often ended periods are checked for closing",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(hours=1),
    )
    reconcile_interval: timedelta = setting(
        timedelta(seconds=30),
        doc="How often recorded events are compared with the ledger",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(hours=1),
    )
    reconcile_after: timedelta = setting(
        timedelta(minutes=1),
        doc="How long a recorded event may be uncounted, and not on the stream, before it is published again",
        maximum=timedelta(hours=1),
    )
    audit_ttl: timedelta = setting(
        timedelta(days=90),
        doc="How long addresses and user agents of actions are kept",
        minimum=_SECOND,
        maximum=timedelta(days=3650),
    )

    rule_points: int = setting(
        20_000, doc="More points within a minute are flagged as a sudden jump", minimum=1, maximum=2**31 - 1
    )
    rule_actions: int = setting(120, doc="More actions within a minute are flagged", minimum=1, maximum=10**6)
    rule_question_time: timedelta = setting(
        timedelta(milliseconds=150),
        doc="A quiz that earns points in less time per question, by the server's clock, is flagged",
        maximum=timedelta(minutes=1),
    )
    auto_block: Sequence[str] = setting(
        (),
        doc="Rules that block the player automatically: score_jump, too_many_actions, impossible_time; none if empty",
        parse=parse_rules,
    )
    auto_block_for: timedelta = setting(
        timedelta(hours=24),
        doc="How long an automatic block lasts unless a moderator ends it",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=365),
    )

    webhook_trusted_hosts: Sequence[str] = setting(
        (),
        doc="Hosts to which webhooks may be delivered by plain http and at addresses that are not public; none if empty",
        parse=parse_hosts,
    )

    process: ProcessConfig = section(ProcessConfig)
    mongo: MongoConfig = section(MongoConfig)
    redis: RedisConfig = section(RedisConfig)
    nats: NatsConfig = section(NatsConfig)
    auth: AuthConfig = section(AuthConfig)
    grpc: GrpcConfig = section(GrpcConfig)
    tls: TlsConfig = section(TlsConfig)
    upstream: UpstreamConfig = section(UpstreamConfig)
    boards: BoardsConfig = section(BoardsConfig)
