"""The teams of boards that rank them: groups with their members, from identity, cached for a second.

A cached list is used on while identity is away. Concurrent reads of one board share a call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from cachetools import LRUCache
from topten.group.v1.group_service_pb2 import ListTeamsRequest, ListTeamsResponse

from services.leaderboard.reading.results import UnreadableError
from services.runtime.clock import milliseconds_of
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub

    from services.runtime.auth.service_token import ServiceToken

FRESH_SECONDS: Final = 1.0
# Members of all cached teams, about 100 bytes each.
MAX_CACHED_MEMBERS: Final = 500_000
_CALL_SECONDS: Final = 1.0
_log = structlog.get_logger("teams")


class Team(NamedTuple):
    """A team; each member counts since a moment, in milliseconds since 1970."""

    team_id: str
    title: str
    user_ids: Sequence[str]
    counts_since: Sequence[int]


@dataclass(frozen=True)
class Roster:
    """The teams of a board at one moment. Later ones have higher editions."""

    edition: int
    teams: Sequence[Team]

    def until(self, end: datetime | None) -> Roster:
        """Return the teams of a period: without the members who count only since its end or later."""
        ends_at = None if end is None else milliseconds_of(end)
        if ends_at is None or self._last_change < ends_at:
            return self
        teams = []
        for team in self.teams:
            members = zip(team.user_ids, team.counts_since, strict=True)
            counted = {user_id: since for user_id, since in members if since < ends_at}
            teams.append(team._replace(user_ids=list(counted), counts_since=list(counted.values())))
        return Roster(self.edition, teams)

    @cached_property
    def teams_of(self) -> Mapping[str, Sequence[str]]:
        """The ids of each member's teams."""
        teams: dict[str, list[str]] = {}
        for team in self.teams:
            for user_id in team.user_ids:
                teams.setdefault(user_id, []).append(team.team_id)
        return teams

    @cached_property
    def titles(self) -> Mapping[str, str]:
        """The titles of the teams by id."""
        return {team.team_id: team.title for team in self.teams}

    @cached_property
    def _last_change(self) -> int:
        return max((max(team.counts_since, default=0) for team in self.teams), default=0)


class _Cached(NamedTuple):
    roster: Roster
    read_at: float


class Teams:
    """The teams of boards, by the name of the definition."""

    def __init__(
        self, groups: GroupServiceAsyncStub, token: ServiceToken, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._groups = groups
        self._token = token
        self._clock = clock
        self._cache: LRUCache[str, _Cached] = LRUCache(MAX_CACHED_MEMBERS, getsizeof=_size)
        self._reads: dict[str, asyncio.Task[Roster]] = {}

    async def of(self, board: str) -> Roster:
        """Return the teams of a board. Raises UnreadableError if identity is away and they were not read lately."""
        cached = self._cache.get(board)
        if cached is not None and self._clock() < cached.read_at + FRESH_SECONDS:
            return cached.roster
        task = self._reads.get(board)
        if task is None:
            task = self._reads[board] = asyncio.ensure_future(self._read(board, cached))
            task.add_done_callback(lambda _: self._reads.pop(board, None))
        return await asyncio.shield(task)

    async def _read(self, board: str, cached: _Cached | None) -> Roster:
        request = ListTeamsRequest(board_name=board, edition=0 if cached is None else cached.roster.edition)
        try:
            token = await self._token.get()
            response = await call(self._groups.ListTeams, request, token=token, timeout=_CALL_SECONDS)
        except ServiceError as error:
            if cached is None:
                raise UnreadableError(f"the teams are unknown: {error.reason}") from error
            _log.warning("teams not read", board=board, reason=error.reason)
            roster = cached.roster
        else:
            is_same = cached is not None and response.edition == cached.roster.edition
            roster = cached.roster if cached is not None and is_same else roster_of(response)
        self._cache[board] = _Cached(roster, self._clock())
        return roster


def roster_of(response: ListTeamsResponse) -> Roster:
    """Return the teams that identity lists."""
    teams = [
        Team(each.group_id, each.title, list(each.user_ids), list(each.counts_since_ms)) for each in response.teams
    ]
    return Roster(response.edition, teams)


def _size(cached: _Cached) -> int:
    return 1 + sum(1 + len(team.user_ids) for team in cached.roster.teams)
