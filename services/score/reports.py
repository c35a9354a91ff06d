"""What long operations tell while they run and at their end. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# Stage in a few words, how many items are done, how many there are (0: not known).
Progress = Callable[[str, int, int], None]


class At(NamedTuple):
    """How far an operation is; `total` is 0 while unknown."""

    stage: str
    done: int
    total: int


class Found(NamedTuple):
    """Something that is not as the ledger says: what, where, and how it differs."""

    kind: str
    subject: str
    detail: str


class Checked(NamedTuple):
    """What was checked."""

    rows: int
    players: int
    boards: int
    members: int
    findings: int


class Rebuilt(NamedTuple):
    """What a rebuild made."""

    generation: int
    boards: int
    members: int


class BoardsLostError(RuntimeError):
    """Redis went back, or another maker took over, while boards were made."""
