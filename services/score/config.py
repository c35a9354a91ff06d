"""The settings of the score process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.runtime.config import section, setting
from services.runtime.settings import (
    AuthConfig,
    BoardsConfig,
    GrpcConfig,
    MongoConfig,
    NatsConfig,
    ProcessConfig,
    RedisConfig,
    TlsConfig,
    UpstreamConfig,
)
from services.runtime.values import host_port
from services.score.rules import RULES

_SECOND = timedelta(seconds=1)


def parse_rules(text: str) -> Sequence[str]:
    """`score_jump,impossible_time` as rules. Raises ValueError."""
    names = tuple(name for name in (part.strip() for part in text.split(",")) if name)
    if not set(names) <= set(RULES):
        raise ValueError(f"must be some of {', '.join(RULES)}")
    return names


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What the score process reads from its environment."""

    prefix: ClassVar[str] = "SCORE"

    grpc_address: str = setting("127.0.0.1:50053", doc="Where gRPC is served", parse=host_port)
    ops_address: str = setting(
        "127.0.0.1:9103", doc="Where health and metrics are served; for the inside only", parse=host_port
    )
    stream: str = setting("QUIZ_EVENTS", doc="The JetStream stream of quiz events")
    batch: int = setting(500, doc="Events that are counted together, at most", minimum=1, maximum=2000)
    ack_wait: timedelta = setting(
        timedelta(seconds=15),
        doc="When JetStream delivers an event again that nobody said anything about",
        minimum=timedelta(seconds=3),
        maximum=timedelta(minutes=10),
    )
    max_ack_pending: int = setting(
        10_000,
        doc="Events in flight of one partition; at least twice the workers times two batches",
        minimum=100,
        maximum=1_000_000,
    )
    cached_players: int = setting(
        50_000, doc="Standings kept in memory, about 2 KiB each", minimum=100, maximum=10_000_000
    )
    fold_interval: timedelta = setting(
        timedelta(seconds=2),
        doc="How often changed standings are written behind the ledger",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(seconds=30),
    )
    heartbeat: timedelta = setting(
        timedelta(seconds=2),
        doc="How often it is checked that Redis did not go back",
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
        doc="How long a week's or month's board stays after its period's end",
        minimum=timedelta(days=1),
        maximum=timedelta(days=42),
    )
    close_after: timedelta = setting(
        timedelta(hours=1),
        doc="How long after its end a week or month is closed for good, if everything that was recorded by then is counted",
        maximum=timedelta(days=7),
    )
    close_interval: timedelta = setting(
        timedelta(seconds=30),
        doc="How often it is checked whether a period can be closed",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(hours=1),
    )
    audit_ttl: timedelta = setting(
        timedelta(days=90),
        doc="How long addresses and user agents of actions are kept",
        minimum=_SECOND,
        maximum=timedelta(days=3650),
    )

    rule_points: int = setting(
        20_000, doc="More points than this within a minute are flagged as a sudden jump", minimum=1, maximum=2**31 - 1
    )
    rule_actions: int = setting(120, doc="More actions than this within a minute are flagged", minimum=1, maximum=10**6)
    rule_question_time: timedelta = setting(
        timedelta(milliseconds=150),
        doc="A quiz that earns points in less than this for each question, by the server's clock, is flagged",
        maximum=timedelta(minutes=1),
    )
    auto_block: Sequence[str] = setting(
        (),
        doc="Which of score_jump, too_many_actions, impossible_time block the player by themselves, comma separated; "
        "none if empty",
        parse=parse_rules,
    )
    auto_block_for: timedelta = setting(
        timedelta(hours=24),
        doc="How long such a block lasts unless a moderator ends it",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=365),
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
