"""A bounded memory: what was used least recently is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key, whose sizes together stay at or below `most`; one that is above a sixteenth of it is not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, which counts as used by this."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keeps a value."""
        if size > self._most // 16 or key in self._kept:
            return
        self._kept[key] = value, size
        self._size += size
        while self._size > self._most:
            _, (_, forgotten) = self._kept.popitem(last=False)
            self._size -= forgotten
