"""Times in UUIDv7, whose first 48 bits are milliseconds since 1970: ids in the order of their making."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def first_uuid7(since: datetime) -> str:
    """Return the lowest UUIDv7 made at or after a time, by its millisecond."""
    milliseconds = max(0, (since - _EPOCH) // _MILLISECOND)
    return str(UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62)))


def time_of_uuid7(text: str) -> datetime | None:
    """Return when a UUIDv7 was made; None if it is none."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    return _EPOCH + (value.int >> 80) * _MILLISECOND if value.version == 7 else None
