"""Names: looked up together, cached, and shown while identity is away. Identity is a gRPC server of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from topten.identity.v1 import identity_service_pb2 as messages
from topten.identity.v1.identity_service_pb2_grpc import (
    IdentityServiceServicer,
    IdentityServiceStub,
    add_IdentityServiceServicer_to_server,
)

from services.leaderboard.reading.names import MAX_PLAYERS_A_CALL, Name, Names
from tests.deadline import deadline_seconds
from tests.unit.partly import partly
from tests.unit.upstream import upstream

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

TTL = 60.0


@partly
class Identity(IdentityServiceServicer):
    """An identity service with an account for every id that starts with `player`."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.country = "VN"
        self.is_away = False

    async def GetUsers(self, request: messages.GetUsersRequest, context: Any) -> messages.GetUsersResponse:
        self.calls.append(list(request.user_ids))
        if self.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE)
        response = messages.GetUsersResponse()
        for user_id in request.user_ids:
            if user_id.startswith("player"):
                response.users.add(user_id=user_id, username=user_id.title(), country=self.country)
        return response


class Clock:
    """A monotonic clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def identity() -> Identity:
    return Identity()  # type: ignore[abstract]  # `partly` serves the other methods


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def opened(identity: Identity, clock: Callable[[], float]) -> AsyncIterator[Names]:
    async with upstream(partial(add_IdentityServiceServicer_to_server, identity)) as (channel, token):
        stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        wait = timedelta(seconds=deadline_seconds())
        yield Names(stub, token, ttl=timedelta(seconds=TTL), wait=wait, size=1000, clock=clock)


@pytest.fixture
async def names(identity: Identity, clock: Clock) -> AsyncIterator[Names]:
    async with opened(identity, clock) as opened_names:
        yield opened_names


async def test_names_and_countries_come_from_identity_and_are_cached(identity: Identity, names: Names) -> None:
    for _ in range(2):
        assert await names.of(["player-1", "player-2"]) == {
            "player-1": Name("Player-1", "VN"),
            "player-2": Name("Player-2", "VN"),
        }
    assert identity.calls == [["player-1", "player-2"]]


async def test_id_without_an_account_is_shown_by_its_end_and_an_erased_player_by_no_name(
    identity: Identity, names: Names
) -> None:
    shown = await names.of(["nobody-123456", "erased-00ff"])
    assert shown == {"nobody-123456": Name("#123456", ""), "erased-00ff": Name("#deleted", "")}
    assert identity.calls == [["nobody-123456"]], "a pseudonym has no account"


async def test_concurrent_lookups_ask_for_each_player_once(identity: Identity, names: Names) -> None:
    ids = [f"player-{n}" for n in range(30)]
    shown = await asyncio.gather(*(names.of(ids[start : start + 10]) for start in range(21)))
    assert all(name.known for each in shown for name in each.values())
    assert sorted(user_id for call in identity.calls for user_id in call) == sorted(ids)
    assert len(identity.calls) == 1


async def test_calls_are_bounded(identity: Identity, names: Names) -> None:
    ids = [f"player-{n}" for n in range(2 * MAX_PLAYERS_A_CALL + 1)]
    assert len(await names.of(ids)) == len(ids)
    assert [len(call) for call in identity.calls] == [MAX_PLAYERS_A_CALL, MAX_PLAYERS_A_CALL, 1]


async def test_expired_name_is_shown_while_identity_is_away(identity: Identity, names: Names, clock: Clock) -> None:
    await names.of(["player-1"])
    identity.is_away = True
    clock.seconds = TTL
    shown = await names.of(["player-1", "player-2"])
    assert shown == {"player-1": Name("Player-1", "VN"), "player-2": Name("#ayer-2", "", known=False)}
    calls = len(identity.calls)
    await names.of(["player-1"])
    assert len(identity.calls) == calls, "identity is left alone for a moment"
    identity.is_away, identity.country = False, "DE"
    clock.seconds += 1
    assert await names.of(["player-1"]) == {"player-1": Name("Player-1", "DE")}


async def test_forgotten_name_is_looked_up_at_its_next_use(identity: Identity, names: Names) -> None:
    await names.of(["player-1"])
    identity.country = ""
    names.forget("player-1")
    assert await names.of(["player-1"]) == {"player-1": Name("Player-1", "")}
