"""What the leaderboard service answered last, for when it is away: an old board is better than none, if it says so.

One process's memory, bounded; only of what is the same for everybody who asks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from services.runtime.errors import Reason, ServiceError

MAX_KEPT: Final = 1000
Key = tuple[str | int, ...]
Answer = TypeVar("Answer")


class LastAnswers:
    """The last answers, the least recently given forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Any] = OrderedDict()

    async def ask(self, key: Key, asked: Awaitable[Answer]) -> tuple[Answer, bool]:
        """The answer that is `asked` for, and False; if it is UNAVAILABLE, the last one to the same `key`, and True.

        Raises whatever the question raises, UNAVAILABLE if there is no last answer.
        """
        try:
            answer = await asked
        except ServiceError as error:
            if error.reason is not Reason.UNAVAILABLE or key not in self._kept:
                raise
            return self._kept[key], True
        self.keep(key, answer)
        return answer, False

    def keep(self, key: Key, answer: object) -> None:
        """Keeps an answer that was had otherwise."""
        self._kept[key] = answer
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
