"""How long a player's action takes to the screens: from its acceptance by this edge to the frame that shows it.

Measured where it can be: for players at the head of a board that somebody watches here, by one clock.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import Histogram
from topten.leaderboard.v1.leaderboard_pb2 import Frame

MAX_WAITING = 5_000
# What is not shown by then never comes into the head of a board; a later change must not be taken for this one.
MAX_SECONDS = 10.0
seconds = Histogram(
    "topten_action_to_screen_seconds",
    "From an accepted action to the write of the first frame that shows it",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
)


class Waiting(NamedTuple):
    """When the first and the last of a player's actions that no frame has shown were accepted."""

    first: float
    last: float


class ScreenClock:
    """Holds who has accepted actions that no frame has shown yet, at most 5 000 players for at most 10 s.

    Who is in the head already waits since the first of them. Who comes into it came by the last: those before it did not
    bring him there, and would tell of how he played, not of how fast screens are.
    """

    def __init__(
        self, *, now: Callable[[], float] = time.monotonic, observe: Callable[[float], None] = seconds.observe
    ) -> None:
        self._now = now
        self._observe = observe
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()

    def accepted(self, user_id: str, score_delta: int) -> None:
        """An action of the player was accepted; one that changes no score is never seen."""
        if score_delta:
            now = self._now()
            before = self._waiting.get(user_id)
            self._waiting[user_id] = Waiting(now if before is None else before.first, now)
            if len(self._waiting) > MAX_WAITING:
                self._waiting.popitem(last=False)

    def shown(self, before: Frame | None, frame: Frame) -> None:
        """`frame` is being written, `before` was written last; players whose score differs have been waited for."""
        if not self._waiting:
            return
        now = self._now()
        scores = {entry.user_id: entry.score for entry in before.entries} if before is not None else {}
        for entry in frame.entries:
            score = scores.get(entry.user_id)
            if score == entry.score or (waiting := self._waiting.pop(entry.user_id, None)) is None:
                continue
            seconds_waited = now - (waiting.last if score is None else waiting.first)
            if seconds_waited <= MAX_SECONDS:
                self._observe(seconds_waited)
        while self._waiting and now - next(iter(self._waiting.values())).first > MAX_SECONDS:
            self._waiting.popitem(last=False)
