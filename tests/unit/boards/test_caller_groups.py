"""The groups of callers: one call for all who ask within a second, and no answer without identity."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from topten.group.v1 import group_service_pb2 as messages
from topten.group.v1.group_service_pb2_grpc import (
    GroupServiceServicer,
    GroupServiceStub,
    add_GroupServiceServicer_to_server,
)

from services.boards.caller_groups import FRESH_SECONDS, CallerGroups
from services.boards.definition import Definition
from services.runtime.auth.claims import Claims
from services.runtime.errors import Reason, ServiceError
from tests.unit.leaderboard.test_names import Clock
from tests.unit.partly import partly
from tests.unit.upstream import upstream

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub

GROUP = str(uuid.uuid4())
BOARD = Definition("friends", segment=f"group:{GROUP}", visibility="members")
ADA = Claims("ada", "Ada", frozenset({"player"}), "", "s", "access", 1e10)


@partly
class Groups(GroupServiceServicer):
    """A group service with one group, whose members a test decides."""

    def __init__(self) -> None:
        self.members = {"ada"}
        self.asked: list[str] = []
        self.is_away = False

    async def ListGroups(self, request: messages.ListGroupsRequest, context: Any) -> messages.ListGroupsResponse:
        self.asked.append(request.user_id)
        if self.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE)
        response = messages.ListGroupsResponse()
        if request.user_id in self.members:
            response.groups.add(group_id=GROUP)
        return response


@asynccontextmanager
async def opened(groups: Groups, clock: Clock) -> AsyncIterator[CallerGroups]:
    async with upstream(partial(add_GroupServiceServicer_to_server, groups)) as (channel, token):
        yield CallerGroups(cast("GroupServiceAsyncStub", GroupServiceStub(channel)), token, clock=clock)


async def test_who_leaves_a_group_is_believed_to_be_in_it_for_a_second() -> None:
    groups, clock = Groups(), Clock()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(groups, clock) as callers:
        assert await asyncio.gather(*(callers.deciding([None, BOARD], ADA) for _ in range(10))) == [{GROUP}] * 10
        assert groups.asked == ["ada"], "one call for all"
        groups.members.clear()
        clock.seconds += FRESH_SECONDS / 2
        assert await callers.deciding([BOARD], ADA) == {GROUP}
        clock.seconds += FRESH_SECONDS
        assert await callers.deciding([BOARD], ADA) == set()
        for public in (None, Definition("open"), Definition("all", visibility="members")):
            assert await callers.deciding([public], ADA) == set()
        assert groups.asked == ["ada", "ada"], "where it decides nothing, nobody is asked"


async def test_without_identity_nobody_is_a_member() -> None:
    groups, clock = Groups(), Clock()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(groups, clock) as callers:
        await callers.deciding([BOARD], ADA)
        groups.is_away = True
        clock.seconds += FRESH_SECONDS
        with pytest.raises(ServiceError) as refused:
            await callers.deciding([BOARD], ADA)
        assert refused.value.reason is Reason.UNAVAILABLE
