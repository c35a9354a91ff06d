"""The order of a board, and when a change can be seen in its head. Pure; the only place that orders.

A member is ranked by its value (points with the tie in the fraction, greater first); equal values by user id, greater
first, which is how a Redis sorted set reads backwards. No two members share a rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.runtime.boards import points_of

Member = tuple[str, float]
"""User id and value."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A member in its place; ranks start at 1."""

    rank: int
    user_id: str
    points: int


def order(members: Iterable[Member]) -> list[Member]:
    """The members as the board orders them."""
    return sorted(members, key=lambda member: (member[1], member[0]), reverse=True)


def ranked(members: Sequence[Member], first: int = 1) -> list[Ranked]:
    """Members that are already in order, the first of them having the rank `first`."""
    return [Ranked(rank, user_id, points_of(value)) for rank, (user_id, value) in enumerate(members, first)]


def may_change(head: Sequence[Member], size: int, user_id: str, value: float, *, lowered: bool) -> bool:
    """Can this standing change the first `size` places, `head` being what they were?

    True if it is lowered, if the player is in the head, if that has room, or if the value reaches its last place.
    """
    return lowered or len(head) < size or value >= head[-1][1] or any(member == user_id for member, _ in head)
