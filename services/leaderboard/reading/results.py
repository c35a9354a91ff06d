"""What is read of a board. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.leaderboard.ranking import Member


class UnreadableError(Exception):
    """The board cannot be read now. The text is the reason, for the log."""


class Head(NamedTuple):
    """The first members of a board, in order, and the generation and version of that state.

    `previous_ranks` holds the rank before each member's last counted action, where one is stored.
    """

    generation: int
    version: int
    members: Sequence[Member]
    previous_ranks: Mapping[str, int]


class Standing(NamedTuple):
    """A player on a board: rank from 1, value, and the rank before their last counted action, if one is stored.

    `above` is the value of the place above, None for the leader.
    """

    rank: int
    value: float
    previous_rank: int | None
    above: float | None


class Window(NamedTuple):
    """Consecutive members of a board, the rank of the first one, and the number of ranked players.

    `previous_ranks` is as in `Head`; `above` is the value of the place above the first member, None if that is the leader.
    """

    total: int
    first: int
    members: Sequence[Member]
    previous_ranks: Mapping[str, int]
    above: float | None
