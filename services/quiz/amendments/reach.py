"""The facts that decide on which boards changed actions count: times of receipt, tags and players' countries. Pure.

Their size grows with the hours in which actions were received, not with the actions.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

MAX_TIMES: Final = 50_000


class Reach:
    """Keeps the first and the last time of each hour: within an hour no more than one period of a calendar ends."""

    def __init__(self) -> None:
        self._hours: dict[datetime, tuple[datetime, datetime]] = {}
        self.tags: set[str] = set()
        self.countries: set[str] = set()

    def add(self, received_at: datetime, tags: Collection[str], country: str) -> None:
        """Add an action."""
        hour = received_at.replace(minute=0, second=0, microsecond=0)
        first, last = self._hours.get(hour, (received_at, received_at))
        self._hours[hour] = min(first, received_at), max(last, received_at)
        self.tags.update(tags)
        if country:
            self.countries.add(country)

    @property
    def times(self) -> list[datetime]:
        """The times in order; of more than MAX_TIMES the latest."""
        return sorted({time for hour in self._hours.values() for time in hour})[-MAX_TIMES:]
