"""Boards of groups, by what their members have on the board of all players: teams, or the members of one group. Reads only.

`RosterBoard` has the methods of `LiveBoard` for them in place of all players, so that all that is built on a board is the same
for every board; `TeamView` finds the team of a player. Nothing is stored. A team has the exact score of its present members in
the state of the board that is read, and a member has their own. Versions rise with those of the board and with the edition of
the roster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from cachetools import LRUCache

from services.leaderboard.ranking import Member, order, quantile_index
from services.leaderboard.reading.results import NO_METADATA, VERSIONS_PER_STEP, Head, Standing, Window
from services.leaderboard.team_scores import team_value

if TYPE_CHECKING:
    from services.boards.definition import TeamScore
    from services.leaderboard.reading.archive import ArchivedBoard
    from services.leaderboard.reading.live_board import LiveBoard
    from services.leaderboard.reading.rosters import Roster
    from services.leaderboard.reading.shown_board import ShownBoard

# A ranking of 100 teams takes about 15 KB of memory.
_MAX_RANKINGS: Final = 1000


class Ranking(NamedTuple):
    """Who is on a board, in order, and the generation and version of the board; whether it may show metadata of them."""

    generation: int
    version: int
    members: Sequence[Member]
    has_metadata: bool


class Selection(NamedTuple):
    """The groups that a board ranks, how teams score, and whether less is better.

    `score` is None if the members themselves are ranked.
    """

    roster: Roster
    score: TeamScore | None
    ascending: bool


@dataclass
class _Shared:
    """The last ranking of one board. `begun` counts its reads, of which `number` led to it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: int = 0
    number: int = 0
    selection: Selection | None = None
    ranking: Ranking | None = None


class Rankings:
    """Ranks selections: one read of a board's members at a time, which all share who came before it began.

    While the board and the selection stay the same, the last ranking is used again.
    """

    def __init__(self) -> None:
        self._shared: LRUCache[str, _Shared] = LRUCache(_MAX_RANKINGS)

    async def read(self, board: LiveBoard | ArchivedBoard, selection: Selection) -> Ranking:
        """Return the ranking of a selection. Raises what the methods of the board raise."""
        shared = self._shared.setdefault(board.name, _Shared())
        begun = shared.begun
        async with shared.lock:
            last = shared.ranking if shared.selection == selection else None
            if last is not None and (shared.number > begun or await board.state() == last[:2]):
                return last
            shared.begun += 1
            number = shared.begun
            ranking = await _ranked(board, selection)
            shared.number, shared.selection, shared.ranking = number, selection, ranking
            return ranking


async def _ranked(board: LiveBoard | ArchivedBoard, selection: Selection) -> Ranking:
    values = await board.values(list(selection.roster.teams_of))
    score = selection.score
    members = (
        values.items() if score is None else _teams(values, selection.roster, score, ascending=selection.ascending)
    )
    return Ranking(*await board.state(), order(members), board.has_metadata)


def _teams(
    values: Mapping[str, float], roster: Roster, score: TeamScore, *, ascending: bool
) -> Iterator[tuple[str, float]]:
    """Yield the teams that are ranked, with their values."""
    for team in roster.teams:
        ranked = [values[user_id] for user_id in team.user_ids if user_id in values]
        value = team_value(ranked, score, ascending=ascending)
        if value is not None:
            yield team.team_id, value


class RosterBoard:
    """One attempt to read a selection of a board: all its results are of one state. Every method raises what `read` raises.

    Its members are teams, or the members of a group.
    """

    def __init__(self, board: LiveBoard | ArchivedBoard, selection: Selection, rankings: Rankings) -> None:
        self._board = board
        self._selection = selection
        self._rankings = rankings
        self._ranking: Ranking | None = None

    @property
    def is_partial(self) -> bool:
        """Whether the board is being built, so that players may be missing."""
        return self._board.is_partial

    async def members(self) -> Sequence[Member]:
        """Return all members, in order."""
        return (await self._read()).members

    async def head(self, size: int) -> Head:
        """Read as `LiveBoard.head`."""
        ranking = await self._read()
        roster = self._selection.roster
        version = ranking.version + roster.edition * VERSIONS_PER_STEP
        members = ranking.members[:size]
        metadata = await self._metadata([member_id for member_id, _ in members])
        return Head(ranking.generation, version, members, {}, movers=roster.teams_of.keys(), metadata=metadata)

    async def total(self) -> int:
        """Read as `LiveBoard.total`."""
        return len(await self.members())

    async def standings(self, member_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Read as `LiveBoard.standings`."""
        members = await self.members()
        standings = {
            member_id: Standing(place + 1, value, None, members[place - 1][1] if place else None)
            for place, (member_id, value) in enumerate(members)
            if member_id in member_ids
        }
        metadata = await self._metadata(list(standings))
        return {each: standing._replace(metadata=metadata.get(each, "")) for each, standing in standings.items()}

    async def page(self, size: int, after: Member | None) -> Window:
        """Read as `LiveBoard.page`."""
        members = await self.members()
        # As many as rank at or before this value and id, which need not be on the board.
        start = 0 if after is None else sum((value, each) >= after[::-1] for each, value in members)
        return await self._window(members, start, size)

    async def around(self, member_id: str, radius: int) -> Window:
        """Read as `LiveBoard.around`."""
        members = await self.members()
        place = next((place for place, (each, _) in enumerate(members) if each == member_id), None)
        if place is None:
            return Window(len(members), 1, [], {}, None)
        width = 2 * radius + 1
        return await self._window(members, max(0, min(place - radius, len(members) - width)), width)

    async def ahead(self, value: float, excluded: str) -> tuple[int, int]:
        """Read as `LiveBoard.ahead`."""
        members = await self.members()
        return sum(each >= value for member_id, each in members if member_id != excluded), len(members)

    async def quantile(self, percentile: float) -> tuple[float | None, int]:
        """Read as `LiveBoard.quantile`."""
        members = await self.members()
        total = len(members)
        return (members[quantile_index(percentile, total)][1] if total else None), total

    async def _window(self, members: Sequence[Member], start: int, size: int) -> Window:
        above = members[start - 1][1] if start else None
        part = members[start : start + size]
        metadata = await self._metadata([member_id for member_id, _ in part])
        return Window(len(members), start + 1, list(part), {}, above, metadata=metadata)

    async def _metadata(self, member_ids: Sequence[str]) -> Mapping[str, str]:
        """Return what the board shows of members of a group; teams have none."""
        ranking = await self._read()
        if self._selection.score is not None or not ranking.has_metadata or not member_ids:
            return NO_METADATA
        return await self._board.metadata(member_ids, (ranking.generation, ranking.version))

    async def _read(self) -> Ranking:
        if self._ranking is None:
            self._ranking = await self._rankings.read(self._board, self._selection)
        return self._ranking


class TeamView:
    """The teams as readers see them: with titles, and for a player their best-placed team.

    Takes the id of a player or a team wherever `LiveBoard` takes a player's. A player whose team the caller must not learn has
    none.
    """

    def __init__(
        self, board: RosterBoard, shown: RosterBoard | ShownBoard, roster: Roster, sees_team_of: Callable[[str], bool]
    ) -> None:
        self._sees_team_of = sees_team_of
        self._board = board
        self._shown = shown
        self._roster = roster

    @property
    def is_partial(self) -> bool:
        """Whether the board is being built, so that players may be missing."""
        return self._board.is_partial

    async def head(self, size: int) -> Head:
        """Read as `LiveBoard.head`."""
        head = await self._shown.head(size)
        return head._replace(titles=self._roster.titles)

    async def total(self) -> int:
        """Read as `LiveBoard.total`."""
        return await self._shown.total()

    async def standings(self, user_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Read as `LiveBoard.standings`, by the ids that were given."""
        teams = {user_id: await self._team_of(user_id) for user_id in user_ids}
        standings = await self._shown.standings(list(teams.values()))
        return {
            user_id: standings[team_id]._replace(team=(team_id, self._roster.titles[team_id]))
            for user_id, team_id in teams.items()
            if team_id in standings
        }

    async def page(self, size: int, after: Member | None) -> Window:
        """Read as `LiveBoard.page`."""
        return self._titled(await self._shown.page(size, after))

    async def around(self, user_id: str, radius: int) -> Window:
        """Read as `LiveBoard.around`."""
        return self._titled(await self._shown.around(await self._team_of(user_id), radius))

    async def ahead(self, value: float, excluded: str) -> tuple[int, int]:
        """Read as `LiveBoard.ahead`."""
        return await self._shown.ahead(value, await self._team_of(excluded))

    async def quantile(self, percentile: float) -> tuple[float | None, int]:
        """Read as `LiveBoard.quantile`."""
        return await self._shown.quantile(percentile)

    async def _team_of(self, user_id: str) -> str:
        """Return the best-placed team of a player; the id itself if they are in none that the caller sees."""
        teams = self._roster.teams_of.get(user_id, ())
        if not teams or not self._sees_team_of(user_id):
            return user_id
        if len(teams) == 1:
            return teams[0]
        return next((team_id for team_id, _ in await self._board.members() if team_id in teams), user_id)

    def _titled(self, window: Window) -> Window:
        return window._replace(titles=self._roster.titles)
