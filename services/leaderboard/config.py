"""The settings of the leaderboard process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.boards.config import BoardsConfig
from services.runtime.config.loading import section, setting
from services.runtime.config.settings import (
    AuthConfig,
    GrpcConfig,
    MongoConfig,
    ProcessConfig,
    RedisConfig,
    TlsConfig,
    UpstreamConfig,
)
from services.runtime.config.values import host_port


@dataclass(frozen=True, kw_only=True)
class LeaderboardConfig:
    """The environment of the leaderboard process."""

    prefix: ClassVar[str] = "LEADERBOARD"

    grpc_address: str = setting("127.0.0.1:50054", doc="Where gRPC is served", parse=host_port)
    ops_address: str = setting("127.0.0.1:9104", doc="Where health and metrics are served", parse=host_port)
    tick: timedelta = setting(
        timedelta(milliseconds=500),
        doc="Minimum time between two frames of a board; the first change is sent at once",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(seconds=10),
    )
    frame_size: int = setting(10, doc="Number of entries in a frame", minimum=1, maximum=100)
    reread: timedelta = setting(
        timedelta(seconds=5),
        doc="How often a watched board is read even if no change was announced",
        minimum=timedelta(milliseconds=200),
        maximum=timedelta(minutes=1),
    )
    linger: timedelta = setting(
        timedelta(seconds=10),
        doc="How long a board stays watched after its last stream ended",
        maximum=timedelta(minutes=10),
    )
    closing: timedelta = setting(
        timedelta(seconds=10),
        doc="How long after the end of its period a board still counts events under way, before its last frame is sent",
        maximum=timedelta(minutes=10),
    )
    read_timeout: timedelta = setting(
        timedelta(seconds=1),
        doc="Time limit of a board read, after which the last frame is served",
        minimum=timedelta(milliseconds=50),
        maximum=timedelta(seconds=10),
    )
    max_watched: int = setting(
        10_000, doc="Maximum number of boards that a process watches", minimum=1, maximum=100_000
    )
    names_ttl: timedelta = setting(
        timedelta(seconds=60),
        doc="How long a player's name and country are shown before they are looked up again",
        minimum=timedelta(seconds=1),
        maximum=timedelta(hours=1),
    )
    names_wait: timedelta = setting(
        timedelta(milliseconds=300),
        doc="How long a frame waits for missing names",
        maximum=timedelta(seconds=5),
    )
    names_cached: int = setting(
        50_000, doc="Maximum number of names kept in memory, about 400 bytes each", minimum=100, maximum=10_000_000
    )

    process: ProcessConfig = section(ProcessConfig)
    mongo: MongoConfig = section(MongoConfig)
    redis: RedisConfig = section(RedisConfig)
    auth: AuthConfig = section(AuthConfig)
    grpc: GrpcConfig = section(GrpcConfig)
    tls: TlsConfig = section(TlsConfig)
    upstream: UpstreamConfig = section(UpstreamConfig)
    boards: BoardsConfig = section(BoardsConfig)
