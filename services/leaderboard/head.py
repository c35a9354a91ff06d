"""The state of a board's head, as it is read and as it may not be. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.leaderboard.ranking import Member


class UnreadableError(Exception):
    """Redis does not answer, or the boards are being made anew; the text says which."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first places of a board, in order, and the id of that state.

    `previous` has the place before their last counted action for those of whom it is remembered.
    """

    generation: int
    version: int
    members: Sequence[Member]
    previous: Mapping[str, int]
