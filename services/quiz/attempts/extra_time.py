"""More time for single players. Pure."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class ExtraTime(StrEnum):
    """How much more time than the others a player has: for each question of a room, or for an attempt at a timed quiz."""

    NONE = "none"
    ONE_AND_A_HALF = "one_and_a_half"
    DOUBLE = "double"
    UNLIMITED = "unlimited"

    def applied_to(self, time: timedelta) -> timedelta | None:
        """Return the player's time where the others have this one; None without a limit."""
        match self:
            case ExtraTime.ONE_AND_A_HALF:
                return time * 3 / 2
            case ExtraTime.DOUBLE:
                return time * 2
            case ExtraTime.UNLIMITED:
                return None
        return time
