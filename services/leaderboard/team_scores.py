"""How the values of a team's members become the team's value, by which `ranking` orders teams like players. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from services.boards.definition import TeamScore
from services.boards.encoding import MAX_POINTS, mirrored, points_of, resolution_bits


def team_value(values: Iterable[float], score: TeamScore, *, ascending: bool = False) -> float | None:
    """Return the value of a team from those of its members who are ranked; None if the team is not.

    The moment in its fraction is the latest of the members who count: of teams with equal points, the one that reached them
    first is ahead. `ascending` where less is better: there `best` needs as many members as count.
    """
    counting = sorted(values, reverse=True)
    if score.method == "best":
        if ascending and len(counting) < score.best_of:
            return None
        counting = counting[: score.best_of]
    if not counting:
        return None
    points = sum(points_of(value, ascending=ascending) for value in counting)
    if score.method == "mean":
        points //= len(counting)
    stored = min(points, MAX_POINTS)
    if ascending:
        stored = mirrored(stored)
    steps = 1 << resolution_bits(stored)
    # An earlier moment is a greater fraction.
    return stored + int(min(value % 1 for value in counting) * steps) / steps
