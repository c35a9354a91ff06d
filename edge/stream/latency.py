"""Action-to-screen latency: from an action's acceptance by this edge to the first frame that shows it.

Measured by one clock, for players in the head of a board that a client of this edge watches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from cachetools import TTLCache
from prometheus_client import Histogram
from topten.leaderboard.v1.leaderboard_pb2 import Frame

MAX_PLAYERS = 5_000
# An action that no frame has shown by then never enters a board's head; a later change must not be attributed to it.
MAX_SECONDS = 10.0
seconds = Histogram(
    "topten_action_to_screen_seconds",
    "From an accepted action to the write of the first frame that shows it",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
)


class _Pending(NamedTuple):
    """When the first and the last of a player's actions that no frame has shown were accepted."""

    first: float
    last: float


class ScreenLatency:
    """Tracks accepted actions that no frame has shown, of at most 5 000 players for at most 10 s.

    The score of a player who is in the head changes with the first such action. A player who enters the head does so by the
    last one: with the earlier ones they were not on screen, so those say nothing about its latency.
    """

    def __init__(
        self, *, now: Callable[[], float] = time.monotonic, observe: Callable[[float], None] = seconds.observe
    ) -> None:
        self._now = now
        self._observe = observe
        self._pending: TTLCache[str, _Pending] = TTLCache(MAX_PLAYERS, MAX_SECONDS, timer=now)

    def action_accepted(self, user_id: str, score_delta: int) -> None:
        """Start the measurement of a player's action; one that does not change the score never shows."""
        if score_delta:
            now = self._now()
            pending = self._pending.get(user_id)
            first = now if pending is None or now - pending.first > MAX_SECONDS else pending.first
            self._pending[user_id] = _Pending(first, now)

    def frame_written(self, previous: Frame | None, frame: Frame) -> None:
        """End the measurement for each player whose score differs between the previous frame and this one.

        Nobody watched a board here before its first frame, so the age of its actions is no latency.
        """
        if not self._pending:
            return
        if previous is None:
            for entry in frame.entries:
                self._pending.pop(entry.user_id, None)
            return
        now = self._now()
        scores = {entry.user_id: entry.score for entry in previous.entries}
        for entry in frame.entries:
            score = scores.get(entry.user_id)
            if score == entry.score or (pending := self._pending.pop(entry.user_id, None)) is None:
                continue
            elapsed = now - (pending.last if score is None else pending.first)
            if elapsed <= MAX_SECONDS:
                self._observe(elapsed)
