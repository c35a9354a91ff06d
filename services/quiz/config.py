"""The settings of the quiz process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.runtime.config.loading import section, setting
from services.runtime.config.settings import (
    AuthConfig,
    GrpcConfig,
    MediaConfig,
    MongoConfig,
    NatsConfig,
    ProcessConfig,
    RedisConfig,
    RoomsConfig,
    TlsConfig,
    UpstreamConfig,
)
from services.runtime.config.values import format_duration, host_port, parse_duration


@dataclass(frozen=True, slots=True)
class Window:
    """By how much a client's clock may be wrong: `back` into the past, `ahead` into the future."""

    back: timedelta
    ahead: timedelta

    def __str__(self) -> str:
        """Return the text of the setting."""
        return f"{format_duration(self.back)},{format_duration(self.ahead)}"


def parse_window(text: str) -> Window:
    """Parse `1h,5m`: one hour back, five minutes ahead. Raises ValueError."""
    back, comma, ahead = text.partition(",")
    if not comma:
        raise ValueError("must be two durations such as 1h,5m")
    return Window(parse_duration(back.strip()), parse_duration(ahead.strip()))


@dataclass(frozen=True, kw_only=True)
class QuizConfig:
    """The settings, as read from the environment."""

    prefix: ClassVar[str] = "QUIZ"

    grpc_address: str = setting("127.0.0.1:50052", doc="Address of the gRPC server", parse=host_port)
    ops_address: str = setting("127.0.0.1:9102", doc="Address of health and metrics", parse=host_port)
    timestamp_window: Window = setting(
        Window(timedelta(hours=1), timedelta(minutes=5)),
        doc="By how much a client's timestamp may be behind and ahead of the server's clock: back,ahead",
        parse=parse_window,
    )
    version_grace: timedelta = setting(
        timedelta(days=1),
        doc="Time after a change of a quiz in which answers to the version that a player saw before are still judged, by it",
        minimum=timedelta(0),
        maximum=timedelta(days=30),
    )
    forbidden_nicknames: tuple[str, ...] = setting(
        (),
        doc="Words that no nickname in a room may contain, in any case, with anything between their letters, and with letters "
        "that look like them; names of accounts are not checked",
    )
    join_challenge_hashes: int = setting(
        200_000,
        doc="Most hashes that a device computes for a seat in a room that takes a proof of work; half of them on average",
        minimum=1_000,
        maximum=10_000_000,
    )
    partitions: int = setting(
        4,
        doc="Number of partitions of the stream, each with one consumer; 0 is no partitions and one consumer",
        minimum=0,
        maximum=256,
    )
    stream_replicas: int = setting(1, doc="Replicas of the stream; 3 on a cluster", minimum=1, maximum=5)
    stream_max_bytes: int = setting(
        1 << 30,
        doc="Maximum size of the stream in bytes; when it is full, publishing is refused. Keep it below the free disk space",
        minimum=1 << 20,
    )
    cache_ttl: timedelta = setting(
        timedelta(seconds=30),
        doc="Time after which a quiz in memory is read again, in case the message about its change was lost",
        minimum=timedelta(seconds=1),
        maximum=timedelta(hours=1),
    )
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

    process: ProcessConfig = section(ProcessConfig)
    mongo: MongoConfig = section(MongoConfig)
    redis: RedisConfig = section(RedisConfig)
    nats: NatsConfig = section(NatsConfig)
    auth: AuthConfig = section(AuthConfig)
    grpc: GrpcConfig = section(GrpcConfig)
    tls: TlsConfig = section(TlsConfig)
    upstream: UpstreamConfig = section(UpstreamConfig)
    media: MediaConfig = section(MediaConfig)
    rooms: RoomsConfig = section(RoomsConfig)
