"""The settings of the quiz process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.runtime.config import section, setting
from services.runtime.settings import (
    AuthConfig,
    GrpcConfig,
    MongoConfig,
    NatsConfig,
    ProcessConfig,
    RedisConfig,
    TlsConfig,
    UpstreamConfig,
)
from services.runtime.values import format_duration, host_port, parse_duration


@dataclass(frozen=True, slots=True)
class Window:
    """How far a client's clock may be off: `back` into the past, `ahead` into the future."""

    back: timedelta
    ahead: timedelta

    def __str__(self) -> str:
        """As it is written in the settings."""
        return f"{format_duration(self.back)},{format_duration(self.ahead)}"


def parse_window(text: str) -> Window:
    """`1h,5m`: an hour back, five minutes ahead. Raises ValueError."""
    back, comma, ahead = text.partition(",")
    if not comma:
        raise ValueError("must be two durations such as 1h,5m")
    return Window(parse_duration(back.strip()), parse_duration(ahead.strip()))


@dataclass(frozen=True, kw_only=True)
class QuizConfig:
    """What the quiz process reads from its environment."""

    prefix: ClassVar[str] = "QUIZ"

    grpc_address: str = setting("127.0.0.1:50052", doc="Where gRPC is served", parse=host_port)
    ops_address: str = setting("127.0.0.1:9102", doc="Where health and metrics are served", parse=host_port)
    timestamp_window: Window = setting(
        Window(timedelta(hours=1), timedelta(minutes=5)),
        doc="How far a client's timestamp may be behind and ahead of the server's clock: back,ahead",
        parse=parse_window,
    )
    partitions: int = setting(
        4,
        doc="Into how many partitions the stream spreads players, a consumer each; 0 is one consumer for all",
        minimum=0,
        maximum=256,
    )
    stream_replicas: int = setting(1, doc="Replicas of the stream; 3 on a cluster", minimum=1, maximum=5)
    stream_max_bytes: int = setting(
        1 << 30,
        doc="What the stream may hold before publishing is refused; keep it below the free disk",
        minimum=1 << 20,
    )
    cache_ttl: timedelta = setting(
        timedelta(seconds=30),
        doc="How long a quiz may be served from memory if the message that it changed was lost",
        minimum=timedelta(seconds=1),
        maximum=timedelta(hours=1),
    )
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
    redis: RedisConfig = section(RedisConfig)
    nats: NatsConfig = section(NatsConfig)
    auth: AuthConfig = section(AuthConfig)
    grpc: GrpcConfig = section(GrpcConfig)
    tls: TlsConfig = section(TlsConfig)
    upstream: UpstreamConfig = section(UpstreamConfig)
