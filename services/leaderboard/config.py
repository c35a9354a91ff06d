"""The settings of the leaderboard process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.runtime.config import section, setting
from services.runtime.settings import (
    AuthConfig,
    BoardsConfig,
    GrpcConfig,
    MongoConfig,
    ProcessConfig,
    RedisConfig,
    TlsConfig,
    UpstreamConfig,
)
from services.runtime.values import host_port


@dataclass(frozen=True, kw_only=True)
class LeaderboardConfig:
    """What the leaderboard process reads from its environment."""

    prefix: ClassVar[str] = "LEADERBOARD"

    grpc_address: str = setting("127.0.0.1:50054", doc="Where gRPC is served", parse=host_port)
    ops_address: str = setting("127.0.0.1:9104", doc="Where health and metrics are served", parse=host_port)
    tick: timedelta = setting(
        timedelta(milliseconds=500),
        doc="At most one frame of a board in this time; the first change leaves at once",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(seconds=10),
    )
    frame_size: int = setting(10, doc="How many places a frame has", minimum=1, maximum=100)
    reread: timedelta = setting(
        timedelta(seconds=5),
        doc="How often a watched board is read though nobody said that it changed",
        minimum=timedelta(milliseconds=200),
        maximum=timedelta(minutes=1),
    )
    linger: timedelta = setting(
        timedelta(seconds=10),
        doc="How long a board is watched after its last watcher left",
        maximum=timedelta(minutes=10),
    )
    closing: timedelta = setting(
        timedelta(seconds=10),
        doc="How long after its period's end a board still takes in what was under way, before its last frame is sent",
        maximum=timedelta(minutes=10),
    )
    read_timeout: timedelta = setting(
        timedelta(seconds=1),
        doc="How long a read of a board may take before the last frame is served instead",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(seconds=10),
    )
    max_watched: int = setting(1000, doc="How many boards one process watches at a time", minimum=1, maximum=100_000)
    names_ttl: timedelta = setting(
        timedelta(seconds=60),
        doc="How long a player's name and country may be shown before they are asked for again",
        minimum=timedelta(seconds=1),
        maximum=timedelta(hours=1),
    )
    names_wait: timedelta = setting(
        timedelta(milliseconds=300),
        doc="How long a frame waits for names that are missing",
        maximum=timedelta(seconds=5),
    )
    names_cached: int = setting(
        50_000, doc="Names kept in memory, about 400 bytes each", minimum=100, maximum=10_000_000
    )

    process: ProcessConfig = section(ProcessConfig)
    mongo: MongoConfig = section(MongoConfig)
    redis: RedisConfig = section(RedisConfig)
    auth: AuthConfig = section(AuthConfig)
    grpc: GrpcConfig = section(GrpcConfig)
    tls: TlsConfig = section(TlsConfig)
    upstream: UpstreamConfig = section(UpstreamConfig)
    boards: BoardsConfig = section(BoardsConfig)
