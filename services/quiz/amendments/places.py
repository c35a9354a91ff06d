"""Places of players at a quiz before and after a change, from the number of players with each sum of points. Pure.

What is held grows with the different sums, not with the players.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple


class PlayerChange(NamedTuple):
    """The points for which a player's attempts at the quiz counted, and for which they count now.

    A dry run has the places among the players of the quiz as well; equal points share a place.
    """

    user_id: str
    before: int
    after: int
    place_before: int = 0
    place_after: int = 0


class Places:
    """First takes all changes, then tells the places of their players."""

    def __init__(self, players: Mapping[int, int]) -> None:
        """`players` is how many players have each sum of points before the change."""
        self._before = _Ranking(players)
        self._players = Counter(players)
        self._after: _Ranking | None = None

    def change(self, changes: Iterable[PlayerChange]) -> None:
        """Note what would count for players."""
        for each in changes:
            self._players[each.before] -= 1
            self._players[each.after] += 1

    def told(self, changes: Iterable[PlayerChange]) -> list[PlayerChange]:
        """Return changes with the places of their players, once all changes are noted."""
        if self._after is None:
            self._after = _Ranking(self._players)
        return [
            each._replace(place_before=self._before.place(each.before), place_after=self._after.place(each.after))
            for each in changes
        ]


class _Ranking:
    """How many players have more than some points."""

    def __init__(self, players: Mapping[int, int]) -> None:
        self._points: Sequence[int] = sorted(players)
        from_above = accumulate((players[points] for points in reversed(self._points)), initial=0)
        self._above: Sequence[int] = list(from_above)[::-1]

    def place(self, points: int) -> int:
        """Return 1 and the number of players with more points."""
        return 1 + self._above[bisect_right(self._points, points)]
