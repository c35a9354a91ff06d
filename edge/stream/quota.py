"""How many streams one player, and one address, may hold open at this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from edge.rates.limiter import rate_limited
from services.runtime.errors import Reason, ServiceError


class Quota:
    """Counts what is held open; use from one event loop."""

    def __init__(self, *, per_user: int, per_address: int, retry_after: timedelta) -> None:
        self._limits = {"user": per_user, "address": per_address}
        self._retry_after = retry_after
        self._held: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def holding(self, user_id: str, address: str) -> Iterator[None]:
        """One stream of this player from this address. Raises RATE_LIMITED where that is one too many."""
        keys = (("user", user_id), ("address", address))
        for key in keys:
            if self._held[key] >= self._limits[key[0]]:
                rate_limited.labels("stream").inc()
                raise ServiceError(
                    Reason.RATE_LIMITED, f"Too many streams of this {key[0]} are open.", retry_after=self._retry_after
                )
        self._held.update(keys)
        try:
            yield
        finally:
            self._held.subtract(keys)
            for key in keys:
                if not self._held[key]:
                    del self._held[key]
