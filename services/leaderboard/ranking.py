"""The order of a board, and what follows from it. Pure; the only place that orders.

Members are ranked by value (points, with the tie-break in the fraction), greater first, then by user id, greater first,
which is how a Redis sorted set reads backwards. No two members share a place. Where a board's definition says so, members with
equal points share a rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.boards.definition import Ranks
from services.boards.encoding import points_of

Member = tuple[str, float]
"""User id and value."""


class Ranked(NamedTuple):
    """A member with their rank, from 1, and the points to the place above: 0 on a tie, None for the leader."""

    rank: int
    user_id: str
    points: int
    gap: int | None


def order(members: Iterable[Member]) -> list[Member]:
    """Return the members in the order of the board."""
    return sorted(members, key=lambda member: (member[1], member[0]), reverse=True)


def ranked(
    members: Sequence[Member],
    first: int = 1,
    above: float | None = None,
    *,
    ascending: bool = False,
    shared_ranks: Sequence[int] | None = None,
) -> list[Ranked]:
    """Return members that are in order with their ranks; `ascending` where less is better.

    The first of them has the place `first`, and `above` is the value of the place above it, None for the leader. Ranks are
    places unless `shared_ranks` has one for each member.
    """
    places = []
    ranks = range(first, first + len(members)) if shared_ranks is None else shared_ranks
    for rank, (user_id, value) in zip(ranks, members, strict=True):
        places.append(Ranked(rank, user_id, points_of(value, ascending=ascending), gap(value, above)))
        above = value
    return places


def gap(value: float, above: float | None) -> int | None:
    """Return the points from a value to that of the place above, in either order; None if there is none."""
    return None if above is None else points_of(above) - points_of(value)


def shared_ranks(values: Sequence[float], rule: Ranks, *, first: int = 1, rank: int = 1) -> list[int]:
    """Return the ranks, shared by equal points, of values that are in order; 1 1 3 for `competition`, 1 1 2 for `dense`.

    The first value has the place `first` and the rank `rank`.
    """
    ranks: list[int] = []
    above: float | None = None
    for place, value in enumerate(values, first):
        if above is not None and points_of(above) != points_of(value):
            rank = place if rule == "competition" else rank + 1
        ranks.append(rank)
        above = value
    return ranks


def may_change(head: Sequence[Member], size: int, user_id: str, value: float, *, lowered: bool) -> bool:
    """Whether a new standing can change the first `size` ranks, which were `head`.

    It can if it was lowered, if the player is in the head, if the head is not full, or if the value reaches its last rank.
    """
    return lowered or len(head) < size or value >= head[-1][1] or any(member == user_id for member, _ in head)


def percentile_of(rank: int, total: int) -> float:
    """Return the percentage of ranked players at or below a rank, the player included: above 0, at most 100."""
    return 100 * (total - rank + 1) / total


def quantile_index(percentile: float, total: int) -> int:
    """Return the index, from 0 and best first, of the player at a percentile of `total` players (nearest rank)."""
    # A product that a rounding error puts just above a whole number counts as that number.
    return total - max(1, math.ceil(total * percentile / 100 - 1e-9))
