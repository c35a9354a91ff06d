"""Who is on boards of groups: read again soon, by one call, and kept while identity is away, which is a gRPC server here."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from topten.group.v1 import group_service_pb2 as messages
from topten.group.v1.group_pb2 import Team as TeamMessage
from topten.group.v1.group_service_pb2_grpc import (
    GroupServiceServicer,
    GroupServiceStub,
    add_GroupServiceServicer_to_server,
)

from services.boards.definition import Definition
from services.leaderboard.reading.results import UnreadableError
from services.leaderboard.reading.rosters import FRESH_SECONDS, KNOWN_SECONDS, Rosters, Team
from services.runtime.errors import STATUS_KEY, Reason, ServiceError, to_rpc_status
from tests.unit.leaderboard.test_names import Clock
from tests.unit.partly import partly
from tests.unit.upstream import upstream

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub


@partly
class Groups(GroupServiceServicer):
    """A group service with one team a board, and one member a group."""

    def __init__(self) -> None:
        self.edition = 1
        self.member = "a"
        self.asked: list[int] = []
        self.is_away = False
        self.is_deleted = False

    def listed(self, group_id: str) -> list[Team]:
        """Return what a reader has of the group, or if it is empty, of the team."""
        return [Team(group_id, "", [self.member], [1])] if group_id else [Team("t", "T", [self.member], [1])]

    async def ListTeams(self, request: messages.ListTeamsRequest, context: Any) -> messages.ListTeamsResponse:
        self.asked.append(request.edition)
        if self.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE)
        response = messages.ListTeamsResponse(edition=self.edition)
        if request.edition != self.edition:
            response.teams.append(TeamMessage(group_id="t", title="T", user_ids=[self.member], counts_since_ms=[1]))
        return response

    async def ListMembers(self, request: messages.ListMembersRequest, context: Any) -> messages.ListMembersResponse:
        self.asked.append(request.edition)
        if self.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE)
        if self.is_deleted:
            error = ServiceError(Reason.GROUP_NOT_FOUND, "No group has this ID.")
            await context.abort(error.code, error.message, ((STATUS_KEY, to_rpc_status(error).SerializeToString()),))
        response = messages.ListMembersResponse(edition=self.edition)
        if request.edition != self.edition:
            response.members.add(user_id=self.member).joined_at.FromMilliseconds(1)
        return response


@asynccontextmanager
async def opened(groups: Groups, clock: Clock) -> AsyncIterator[Rosters]:
    async with upstream(partial(add_GroupServiceServicer_to_server, groups)) as (channel, token):
        yield Rosters(cast("GroupServiceAsyncStub", GroupServiceStub(channel)), token, clock=clock)


BOARDS = [Definition("cup", segment="teams:sum"), Definition("friends", segment=f"group:{uuid.uuid4()}")]
on_each_board = pytest.mark.parametrize("board", BOARDS, ids=["teams", "group"])


@on_each_board
async def test_members_are_asked_for_once_in_a_while_by_their_edition(board: Definition) -> None:
    groups, clock = Groups(), Clock()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(groups, clock) as rosters:
        first = await asyncio.gather(*(rosters.of(board) for _ in range(10)))
        assert [each.teams for each in first] == [groups.listed(board.group)] * 10
        clock.seconds += FRESH_SECONDS / 2
        await rosters.of(board)
        assert groups.asked == [0], "one call for all"
        clock.seconds += FRESH_SECONDS
        assert await rosters.of(board) is first[0], "nothing is sent again"
        groups.edition = 2
        clock.seconds += FRESH_SECONDS
        assert ((await rosters.of(board)).edition, groups.asked) == (2, [0, 1, 1])


@on_each_board
async def test_an_edition_that_identity_gave_twice_is_not_taken_for_the_first(board: Definition) -> None:
    """Its data went back, and was changed again as often as before, while nobody read the board."""
    groups, clock = Groups(), Clock()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(groups, clock) as rosters:
        await rosters.of(board)
        clock.seconds += KNOWN_SECONDS
        groups.member = "b"
        (team,) = (await rosters.of(board)).teams
        assert (team.user_ids, groups.asked) == (["b"], [0, 0])


@on_each_board
async def test_last_known_members_serve_while_identity_is_away(board: Definition) -> None:
    groups, clock = Groups(), Clock()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(groups, clock) as rosters:
        known = await rosters.of(board)
        groups.is_away = True
        clock.seconds += FRESH_SECONDS
        assert await rosters.of(board) is known
        with pytest.raises(UnreadableError):
            await rosters.of(Definition("another", segment="teams:sum"))
        groups.is_away, groups.edition = False, 2
        clock.seconds += FRESH_SECONDS
        assert (await rosters.of(board)).edition == 2


async def test_boards_of_one_group_share_its_members_and_are_empty_when_it_is_deleted() -> None:
    groups, clock = Groups(), Clock()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(groups, clock) as rosters:
        board = BOARDS[1]
        assert await rosters.of(board) is await rosters.of(replace(board, name="another"))
        groups.edition, groups.is_deleted = 1000, True
        clock.seconds += FRESH_SECONDS
        gone = await rosters.of(board)
        assert (gone.teams, gone.edition > 1000) == ((), True), "later than everything before"
        clock.seconds += FRESH_SECONDS
        assert await rosters.of(board) is gone
