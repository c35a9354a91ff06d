"""Guests: from a nickname to a board on the screen, to a player, or to an erased account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest_asyncio
from pymongo import AsyncMongoClient

from services.runtime.clock import utc_now
from tests.deadline import eventually
from tests.players import PASSWORD, drained, stream
from tests.servers import RunningStack, unique
from tests.system.access.permissions import RPCS
from tests.system.graphql import COOKIE_MODE, LOGIN, Answer, Web

ME = "{ me { userId username roles } }"
CONTINUE = """mutation ($nickname: String!) {
  continueAsGuest(nickname: $nickname) { accessToken refreshToken user { userId username roles guestUntil } }
}"""
REGISTER = (
    "mutation ($input: RegisterInput!) { register(input: $input) { accessToken user { userId roles guestUntil } } }"
)
EXPORT = "query ($after: String) { exportMyData(after: $after) { data next } }"


async def guest(web: Web, nickname: str = "anna", **options: Any) -> dict[str, Any]:
    answer = await web.graphql(CONTINUE, {"nickname": nickname}, **options)
    assert "errors" not in answer.body, answer.body
    session: dict[str, Any] = answer.body["data"]["continueAsGuest"]
    return session


def data(answer: Answer, field: str) -> Any:
    assert "errors" not in answer.body, answer.body
    return answer.body["data"][field]


@pytest_asyncio.fixture
async def mongo(stack: RunningStack) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"], tz_aware=True)
    async with client:
        yield client


NOT_FOR_GUESTS = ("leaderboard.GetGroupLeaderboard", "leaderboard.ReadBoards")
"""Of the methods about boards: what members read, and what services do."""


def test_guests_are_admitted_to_boards_rooms_and_their_own_data_alone() -> None:
    """A method that admits guests is listed here on purpose. A field of GraphQL does nothing that no method does."""
    assert {name for name, row in RPCS.items() if "guest" in row.split()} == {
        "attempt.ExportAttempts",
        "authoring.ExportOwnQuizzes",
        "board.ListBoards",
        "identity.DeleteAccount",
        "identity.ExportAccount",
        "identity.GetUsers",
        "identity.IssueStreamToken",
        "quiz.ExportPlayer",
        "room.AnswerRoomQuestion",
        "room.CreateSeatCode",
        "room.ExportRooms",
        "room.ExportSeats",
        "room.GetJoinChallenge",
        "room.GetRoom",
        "room.GetRoomBoard",
        "room.GetRoomOutcome",
        "room.JoinRoom",
        "room.MoveSeat",
        "score.ExportPlayer",
        *(name for name in RPCS if name.startswith("leaderboard.") and name not in NOT_FOR_GUESTS),
    }


async def test_a_guest_watches_a_board_and_reads_their_own_data(stack: RunningStack, web: Web) -> None:
    session = await guest(web)
    token, user = session["accessToken"], session["user"]
    assert data(await web.graphql(ME, token=token), "me") == {
        "userId": user["userId"],
        "username": "anna",
        "roles": ["guest"],
    }
    async with stream(stack.http, token, "all") as frames:
        await anext(frames)
    exported: dict[str, Any] = {}
    after = None
    while page := data(await web.graphql(EXPORT, {"after": after}, token=token), "exportMyData"):
        exported |= page["data"]
        after = page["next"]
        if after is None:
            break
    assert exported["account"]["guestUntil"] == user["guestUntil"]


async def test_a_guest_who_registers_keeps_the_id(web: Web) -> None:
    session = await guest(web)
    account = {"username": unique("g"), "password": PASSWORD, "guestRefreshToken": session["refreshToken"]}
    registered = data(await web.graphql(REGISTER, {"input": account}), "register")
    assert registered["user"] == {"userId": session["user"]["userId"], "roles": ["player"], "guestUntil": None}
    login = {"username": account["username"], "password": PASSWORD}
    assert data(await web.graphql(LOGIN, {"input": login}), "login")["user"]["userId"] == session["user"]["userId"]


async def test_a_guest_in_a_browser_registers_by_the_cookie(web: Web) -> None:
    user = (await guest(web, headers=COOKIE_MODE))["user"]
    account = {"username": unique("g"), "password": PASSWORD}
    answer = await web.graphql(REGISTER, {"input": account}, headers=COOKIE_MODE)
    assert data(answer, "register")["user"]["userId"] == user["userId"]
    me = data(await web.graphql(ME, headers=COOKIE_MODE), "me")
    assert me == {"userId": user["userId"], "username": account["username"], "roles": ["player"]}
    # A player who registers again is no guest: the account is another one.
    again = {"username": unique("g"), "password": PASSWORD}
    other = data(await web.graphql(REGISTER, {"input": again}, headers=COOKIE_MODE), "register")
    assert other["user"]["userId"] != user["userId"]


async def test_a_guest_is_erased_after_the_retention(
    stack: RunningStack, web: Web, mongo: AsyncMongoClient[dict[str, Any]]
) -> None:
    session = await guest(web)
    users, erasures = mongo["topten_identity"]["users"], mongo["topten_identity"]["erasures"]
    user_id = session["user"]["userId"]
    async with stream(stack.http, session["accessToken"], "all") as frames:
        await anext(frames)
        long_ago = utc_now() - timedelta(days=365)
        await users.update_one({"_id": user_id}, {"$set": {"guest_until": long_ago}})

        async def is_erased() -> bool:
            return await users.find_one({"_id": user_id}) is None

        await eventually(is_erased, "the guest is erased")
        await drained(frames)
    assert await erasures.find_one({"_id": user_id}) is not None
