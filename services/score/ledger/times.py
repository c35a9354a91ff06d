"""Times of the ledger: milliseconds since 1970, UTC. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=4096)
def time_of(milliseconds: int) -> datetime:
    """Return a time of the ledger as an aware datetime."""
    return _EPOCH + milliseconds * _MILLISECOND
