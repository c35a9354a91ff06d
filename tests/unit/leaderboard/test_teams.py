"""Teams of boards: read again once a second, by one call, and kept while identity is away, which is a gRPC server here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

from services.leaderboard.reading.results import UnreadableError
from services.leaderboard.reading.teams import FRESH_SECONDS, Teams
from services.runtime.auth.service_token import ServiceToken
from services.runtime.grpc.client import open_channel
from tests.deadline import deadline
from tests.servers import HOST
from tests.unit.leaderboard.test_names import Clock
from tests.unit.partly import partly
from tests.unit.runtime.issuer import Issuer

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub


@partly
class Groups(GroupServiceServicer):
    """A group service with one team a board."""

    def __init__(self) -> None:
        self.edition = 1
        self.asked: list[int] = []
        self.is_away = False

    async def ListTeams(self, request: messages.ListTeamsRequest, context: Any) -> messages.ListTeamsResponse:
        self.asked.append(request.edition)
        if self.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE)
        response = messages.ListTeamsResponse(edition=self.edition)
        if request.edition != self.edition:
            response.teams.append(TeamMessage(group_id="t", title="T", user_ids=["a"], counts_since_ms=[1]))
        return response


@asynccontextmanager
async def opened(groups: Groups, clock: Clock) -> AsyncIterator[Teams]:
    server = grpc.aio.server()
    add_GroupServiceServicer_to_server(groups, server)
    address = f"{HOST}:{server.add_insecure_port(f'{HOST}:0')}"
    await server.start()
    try:
        async with (
            Issuer() as issuer,
            open_channel(address) as channel,
            ServiceToken(issuer.token_url, "leaderboard", "a secret of the test") as token,
        ):
            # A call waits for a second, which must not include these.
            async with deadline("a token and a connection"):
                await token.get()
                await channel.channel_ready()
            yield Teams(cast("GroupServiceAsyncStub", GroupServiceStub(channel)), token, clock=clock)
    finally:
        await server.stop(None)


async def test_teams_are_asked_for_once_a_second_by_their_edition() -> None:
    groups, clock = Groups(), Clock()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(groups, clock) as teams:
        first = await asyncio.gather(*(teams.of("cup") for _ in range(10)))
        assert [each.titles for each in first] == [{"t": "T"}] * 10
        clock.seconds += FRESH_SECONDS / 2
        await teams.of("cup")
        assert groups.asked == [0], "one call for all"
        clock.seconds += FRESH_SECONDS
        assert await teams.of("cup") is first[0], "nothing is sent again"
        groups.edition = 2
        clock.seconds += FRESH_SECONDS
        assert ((await teams.of("cup")).edition, groups.asked) == (2, [0, 1, 1])


async def test_last_known_teams_serve_while_identity_is_away() -> None:
    groups, clock = Groups(), Clock()  # type: ignore[abstract]  # `partly` serves the other methods
    async with opened(groups, clock) as teams:
        known = await teams.of("cup")
        groups.is_away = True
        clock.seconds += FRESH_SECONDS
        assert await teams.of("cup") is known
        with pytest.raises(UnreadableError):
            await teams.of("another")
        groups.is_away, groups.edition = False, 2
        clock.seconds += FRESH_SECONDS
        assert (await teams.of("cup")).edition == 2
