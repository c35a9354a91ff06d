"""The clock, which only composition roots use: everything else receives `now` as an argument. And times as numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def utc_now() -> datetime:
    """The time in UTC, timezone-aware, in whole milliseconds: the precision of MongoDB and of the interfaces."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def milliseconds_of(at: datetime) -> int:
    """Return the whole milliseconds from 1970 to an aware datetime; a fraction of one is cut off, never rounded up."""
    return (at - _EPOCH) // _MILLISECOND
