"""Who is on boards of groups: the teams of boards that rank them, or the members of a group. From identity, cached briefly.

A cached list is used on while identity is away. Concurrent reads of one list share a call.
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
from topten.group.v1.group_service_pb2 import (
    ListMembersRequest,
    ListMembersResponse,
    ListTeamsRequest,
    ListTeamsResponse,
)

from services.boards.group_members import MAX_MEMBERS
from services.leaderboard.reading.results import UnreadableError
from services.runtime.clock import milliseconds_of
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub

    from services.boards.definition import Definition
    from services.runtime.auth.service_token import ServiceToken

FRESH_SECONDS: Final = 0.5
# Identity is told the edition that is known here only if it was read as lately as this: its data may have gone back since
# then, and have given the number to something else.
KNOWN_SECONDS: Final = 10.0
# Members of all cached lists, about 100 bytes each.
MAX_CACHED_MEMBERS: Final = 500_000
_CALL_SECONDS: Final = 1.0
# The edition of a group that is deleted: more than any has, since it is not created again.
_LAST_EDITION: Final = 2**20
_log = structlog.get_logger("rosters")


class Team(NamedTuple):
    """A group as a team, or on the board of its members; each counts since a moment, in milliseconds since 1970."""

    team_id: str
    title: str
    user_ids: Sequence[str]
    counts_since: Sequence[int]


@dataclass(frozen=True)
class Roster:
    """The teams of a board, or the one group whose members are on it, at one moment. Later ones have higher editions."""

    edition: int
    teams: Sequence[Team]

    def until(self, end: datetime | None) -> Roster:
        """Return the roster of a board that ended: without the members who count only since its end or later."""
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


class Rosters:
    """The teams or members on boards whose definition `has_roster`."""

    def __init__(
        self, groups: GroupServiceAsyncStub, token: ServiceToken, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._groups = groups
        self._token = token
        self._clock = clock
        self._cache: LRUCache[str, _Cached] = LRUCache(MAX_CACHED_MEMBERS, getsizeof=_size)
        self._reads: dict[str, asyncio.Task[Roster]] = {}

    async def of(self, definition: Definition) -> Roster:
        """Return who is on a board. Raises UnreadableError if identity is away and they were not read lately."""
        key = definition.segment if definition.group else definition.name
        cached = self._cache.get(key)
        if cached is not None and self._clock() < cached.read_at + FRESH_SECONDS:
            return cached.roster
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.ensure_future(self._read(key, definition, cached))
            task.add_done_callback(lambda _: self._reads.pop(key, None))
        return await asyncio.shield(task)

    async def _read(self, key: str, definition: Definition, cached: _Cached | None) -> Roster:
        is_recent = cached is not None and self._clock() < cached.read_at + KNOWN_SECONDS
        edition = cached.roster.edition if cached is not None and is_recent else 0
        try:
            listed = await (self._members(definition.group, edition) if definition.group else self._teams(key, edition))
        except ServiceError as error:
            if cached is None:
                raise UnreadableError(f"the members are unknown: {error.reason}") from error
            _log.warning("members not read", board=definition.name, reason=error.reason)
            roster = cached.roster
        else:
            roster = cached.roster if cached is not None and listed.edition == edition else listed
        self._cache[key] = _Cached(roster, self._clock())
        return roster

    async def _teams(self, board: str, edition: int) -> Roster:
        request = ListTeamsRequest(board_name=board, edition=edition)
        token = await self._token.get()
        return roster_of(await call(self._groups.ListTeams, request, token=token, timeout=_CALL_SECONDS))

    async def _members(self, group_id: str, edition: int) -> Roster:
        request = ListMembersRequest(group_id=group_id, page_size=MAX_MEMBERS, edition=edition)
        token = await self._token.get()
        try:
            response = await call(self._groups.ListMembers, request, token=token, timeout=_CALL_SECONDS)
        except ServiceError as error:
            if error.reason is Reason.GROUP_NOT_FOUND:
                return Roster(_LAST_EDITION, ())
            raise
        return _members_of(group_id, response)


def roster_of(response: ListTeamsResponse) -> Roster:
    """Return the teams that identity lists."""
    teams = [
        Team(each.group_id, each.title, list(each.user_ids), list(each.counts_since_ms)) for each in response.teams
    ]
    return Roster(response.edition, teams)


def _members_of(group_id: str, response: ListMembersResponse) -> Roster:
    user_ids = [each.user_id for each in response.members]
    since = [each.joined_at.ToMilliseconds() for each in response.members]
    return Roster(response.edition, [Team(group_id, "", user_ids, since)])


def _size(cached: _Cached) -> int:
    return 1 + sum(1 + len(team.user_ids) for team in cached.roster.teams)
