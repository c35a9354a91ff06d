"""Answers that are the same for everybody: heads of boards that this process holds.

One is kept as bytes, with the frames that it was made of, and is good for as long as each of them is still the one held.
Who may ask, and how often, is looked at before it is handed out, as for any other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import orjson
from graphql import DocumentNode, FieldNode, OperationDefinitionNode, OperationType
from topten.leaderboard.v1.leaderboard_pb2 import Frame

MAX_KEPT: Final = 1000
MAX_BYTES: Final = 32 * 1024
Key = tuple[str, str | None, bytes]


class Held(Protocol):
    """`Hub.held`."""

    def __call__(self, board: str, limit: int, *, stale: bool = False) -> Frame | None:
        """The board's frame with at least `limit` places; a stale one only if `stale`."""


class Read(NamedTuple):
    """A frame that an answer was made of: what was asked for, and what was held then."""

    board: str
    limit: int
    frame: Frame


class Kept(NamedTuple):
    """An answer; `fields` is how many questions it answers."""

    body: bytes
    fields: int
    reads: Sequence[Read]


class Answers:
    """The answers of one process, the least recently used forgotten first."""

    def __init__(self, held: Callable[[str, int], Frame | None]) -> None:
        self._held = held
        self._kept: OrderedDict[Key, Kept] = OrderedDict()

    def get(self, key: Key) -> Kept | None:
        """The answer, if it would be the same now."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if any(self._held(read.board, read.limit) is not read.frame for read in kept.reads):
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: Key, kept: Kept) -> None:
        """Keeps an answer that was made of `kept.reads` and of nothing else."""
        if len(kept.body) + len(key[0]) > MAX_BYTES:
            return
        self._kept[key] = kept
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)


def key_of(query: str, name: str | None, variables: Mapping[str, Any] | None) -> Key | None:
    """What two requests must have in common to have the same answer; None for variables that nobody else would have."""
    try:
        return query, name, orjson.dumps(variables or {}, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested too deep
        return None


def is_for_everybody(document: DocumentNode, operation: OperationDefinitionNode) -> bool:
    """Whether a valid operation asks for heads of boards alone, and of their entries for nothing that is a call."""
    if operation.operation is not OperationType.QUERY or len(document.definitions) != 1 or operation.directives:
        return False
    for field in operation.selection_set.selections:
        if not isinstance(field, FieldNode) or field.name.value != "getLeaderboard" or field.directives:
            return False
        for inner in field.selection_set.selections if field.selection_set else ():
            if not isinstance(inner, FieldNode) or inner.selection_set is not None or inner.directives:
                return False
    return True
