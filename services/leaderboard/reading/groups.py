"""Boards of groups: members, listed by identity, ranked among themselves by their places on a board of all players.

Nothing is stored. The result is exact for the members and the board at the moment of the read (see ADR 25).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from services.leaderboard.ranking import Ranked, order, ranked, shared_ranks

if TYPE_CHECKING:
    from services.boards.definition import Ranks
    from services.leaderboard.reading.results import Standing


def ranked_members(
    standings: Mapping[str, Standing], *, ascending: bool = False, ranks: Ranks = "unique"
) -> list[Ranked]:
    """Return the members who are ranked on a board, in its order, with their ranks among themselves."""
    members = order((user_id, standing.value) for user_id, standing in standings.items())
    shared = None if ranks == "unique" else shared_ranks([value for _, value in members], ranks)
    return ranked(members, ascending=ascending, shared_ranks=shared)
