"""What the leaderboard service answered last, for when it is away: an old board is better than none, if it says so.

One process's memory, bounded, and for an hour at most, so that who was erased meanwhile does not come back by it; only of
what is the same for everybody who asks.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from services.runtime.errors import Reason, ServiceError

MAX_KEPT: Final = 1000
MAX_AGE_SECONDS: Final = 3600.0
Key = tuple[str | int, ...]
Answer = TypeVar("Answer")


class LastAnswers:
    """The last answers, the least recently given forgotten first."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[Key, tuple[float, Any]] = OrderedDict()

    async def ask(self, key: Key, asked: Awaitable[Answer]) -> tuple[Answer, bool]:
        """The answer that is `asked` for, and False; if it is UNAVAILABLE, the last one to the same `key`, and True.

        Raises whatever the question raises, UNAVAILABLE if there is no last answer.
        """
        try:
            answer = await asked
        except ServiceError as error:
            given_at, last = self._kept.get(key, (float("-inf"), None))
            if error.reason is not Reason.UNAVAILABLE or self._clock() - given_at > MAX_AGE_SECONDS:
                raise
            return last, True
        self.keep(key, answer)
        return answer, False

    def keep(self, key: Key, answer: object) -> None:
        """Keeps an answer that was had otherwise."""
        self._kept[key] = self._clock(), answer
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
