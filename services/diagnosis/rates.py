"""Rates of counters, from one read to the next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MIN_SECONDS: Final = 1.0
"""Reads that follow sooner, such as those of a second screen, share the rates of the one before."""
MAX_SECONDS: Final = 60.0
"""After a longer pause there is no rate: it would be about what is long over."""


class Rates:
    """Remembers the last read of the counters of one process."""

    def __init__(self) -> None:
        self._at = float("-inf")
        self._totals: Mapping[str, float] = {}
        self._rates: Mapping[str, float] = {}

    def read(self, totals: Mapping[str, float], at: float) -> Mapping[str, float]:
        """Return how much counters grew a second since the last read; `at` is in seconds. Empty for the first read."""
        elapsed = at - self._at
        if elapsed < MIN_SECONDS:
            return self._rates
        before, self._at, self._totals = self._totals, at, totals
        known = before.keys() & totals.keys() if elapsed <= MAX_SECONDS else ()
        self._rates = {name: (totals[name] - before[name]) / elapsed for name in known}
        return self._rates
