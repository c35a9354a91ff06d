"""A board as its definition shows it: with a limited size, and shared ranks for equal points. Reads only.

Has the methods of `LiveBoard` and wraps a live or closed board, or one of groups, so that size and ranks are the same for
all, and on every read path. The order of the members is never changed. Versions of what is shown by a later choice (see
`boards/periods/freezing.py`) are higher than those of any earlier one, so that no frame goes backwards when a freeze starts
to hide a board or ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

from services.boards.definition import MAX_DENSE_SIZE, Definition, Ranks
from services.boards.encoding import points_of
from services.leaderboard.ranking import Member, quantile_index, shared_ranks
from services.leaderboard.reading.archive import ArchivedBoard
from services.leaderboard.reading.live_board import LiveBoard
from services.leaderboard.reading.results import VERSIONS_PER_STEP, Head, Standing, Window
from services.leaderboard.reading.roster_board import RosterBoard, TeamView

_EVERYBODY: Final = 2**31
View = TypeVar("View", bound=LiveBoard | ArchivedBoard | RosterBoard)


def shown(view: View, definition: Definition | None, step: int) -> View | ShownBoard:
    """Return the board as its definition shows it; `step` is that of its `Source`."""
    if definition is None or (not definition.size and definition.ranks == "unique" and not step):
        return view
    return ShownBoard(view, definition.size or _EVERYBODY, definition.ranks, step)


class ShownBoard:
    """The first `size` places of a board, with its ranks. Every method raises what those of the board raise."""

    def __init__(self, view: LiveBoard | ArchivedBoard | RosterBoard, size: int, ranks: Ranks, step: int) -> None:
        self._view = view
        self._versions = step * VERSIONS_PER_STEP
        self._size = size
        self._ranks = ranks

    @property
    def is_partial(self) -> bool:
        """Whether the board is being built, so that players may be missing."""
        return self._view.is_partial

    async def head(self, size: int) -> Head:
        """Read as `LiveBoard.head`."""
        head = await self._view.head(min(size, self._size))
        head = head._replace(version=self._versions + head.version)
        if self._ranks == "unique":
            return head
        return head._replace(previous_ranks={}, shared_ranks=await self._shared(head.members, 1, None))

    async def total(self) -> int:
        """Read as `LiveBoard.total`."""
        return min(await self._view.total(), self._size)

    async def standings(self, user_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Read as `LiveBoard.standings`."""
        found = await self._view.standings(user_ids)
        standings = {user_id: each for user_id, each in found.items() if each.rank <= self._size}
        if self._ranks == "unique":
            return standings
        shared: dict[str, Standing] = {}
        for user_id, each in standings.items():
            (rank,) = await self._shared([(user_id, each.value)], each.rank, each.above)
            shared[user_id] = each._replace(previous_rank=None, shared_rank=rank)
        return shared

    async def page(self, size: int, after: Member | None) -> Window:
        """Read as `LiveBoard.page`."""
        window = await self._view.page(size, after)
        members = window.members[: max(0, self._size - window.first + 1)]
        return await self._shown(window._replace(members=members))

    async def around(self, user_id: str, radius: int) -> Window:
        """Read as `LiveBoard.around`."""
        # Near the last place, all neighbors may be on one side.
        window = await self._view.around(user_id, 2 * radius)
        total = min(window.total, self._size)
        offsets = (offset for offset, (member, _) in enumerate(window.members) if member == user_id)
        place = window.first + next(offsets, total)
        if place > total:
            return Window(total, 1, [], {}, None)
        first = max(1, min(place - radius, total - 2 * radius))
        start = first - window.first
        members = window.members[start : start + min(2 * radius + 1, total - first + 1)]
        above = window.members[start - 1][1] if start else window.above
        return await self._shown(window._replace(first=first, members=members, above=above))

    async def ahead(self, value: float, excluded: str) -> tuple[int, int]:
        """Read as `LiveBoard.ahead`; where ranks are shared, return how many ranks have more points."""
        if self._ranks == "unique":
            ahead, total = await self._view.ahead(value, excluded)
        else:
            more = float(points_of(value) + 1)
            ahead, total = await self._view.ahead(more, excluded)
        if self._ranks == "dense":
            whole = await self._view.page(MAX_DENSE_SIZE + 1, None)
            ahead = len({points_of(each) for member, each in whole.members if member != excluded and each >= more})
        return ahead, min(total, self._size)

    async def quantile(self, percentile: float) -> tuple[float | None, int]:
        """Read as `LiveBoard.quantile`."""
        counted = await self._view.total()
        total = min(counted, self._size)
        if not total:
            return None, 0
        # The percentile, of all who are counted, at which the same player is found.
        index = quantile_index(percentile, total)
        return (await self._view.quantile(100 * (counted - index - 0.5) / counted))[0], total

    async def _shown(self, window: Window) -> Window:
        window = window._replace(total=min(window.total, self._size))
        if self._ranks == "unique":
            return window
        ranks = await self._shared(window.members, window.first, window.above)
        return window._replace(previous_ranks={}, shared_ranks=ranks)

    async def _shared(self, members: Sequence[Member], first: int, above: float | None) -> list[int]:
        """Return the ranks of consecutive members; the first has the place `first`, behind one with the value `above`."""
        if not members:
            return []
        values = [value for _, value in members]
        if self._ranks == "dense":
            whole = [value for _, value in (await self._view.page(self._size, None)).members]
            by_points = dict(zip(map(points_of, whole), shared_ranks(whole, "dense"), strict=True))
            return [by_points[points_of(value)] for value in values]
        rank = first
        if above is not None and points_of(above) == points_of(values[0]):
            rank = (await self._view.ahead(float(points_of(values[0]) + 1), ""))[0] + 1
        return shared_ranks(values, "competition", first=first, rank=rank)


BoardView: TypeAlias = LiveBoard | ArchivedBoard | RosterBoard | ShownBoard | TeamView
