"""When a failed delivery is attempted again, and when it is given up. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

FIRST_PAUSE: Final = timedelta(seconds=5)
MAX_PAUSE: Final = timedelta(hours=1)
# Attempts end this long after the delivery was stored or replayed.
GIVE_UP_AFTER: Final = timedelta(days=1)
_DOUBLINGS: Final = 16


def pause_after(attempts: int, jitter: float) -> timedelta:
    """Return the pause after the n-th failed attempt: 5 s, doubled each time up to an hour, less up to half of it.

    `jitter`, from 0 to 1, decides how much less, so that deliveries that failed together do not return together.
    """
    doublings = min(attempts - 1, _DOUBLINGS)
    pause = min(FIRST_PAUSE * (1 << doublings), MAX_PAUSE)
    return pause * (1 - jitter / 2)
