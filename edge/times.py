"""Times in responses."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def format_time(value: datetime) -> str:
    """Format a time as `2026-11-23T20:15:42.007Z`; milliseconds are truncated."""
    utc = value.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z"


def time_of(timestamp: Timestamp) -> datetime:
    """Convert a protobuf timestamp to an aware time in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)
