"""A player whose traces are in every store, for the tests of their erasure."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import nats
import uuid_utils
from bson import Binary
from google.protobuf.timestamp_pb2 import Timestamp
from pymongo import AsyncMongoClient
from topten.action.v1 import action_pb2
from topten.action.v1.action_service_pb2 import PutActionTypeRequest, SubmitActionsRequest
from topten.action.v1.action_service_pb2_grpc import ActionServiceStub
from topten.quiz.v1 import quiz_events_pb2

from services.boards.board import Board, period_of
from services.cli.system.client import GraphqlClient
from services.runtime.clock import utc_now
from services.runtime.grpc.client import call
from tests.deadline import eventually
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack, run_topten, unique
from tests.system.graphql import LOGIN, Answer, Web, browsing

if TYPE_CHECKING:
    from topten.action.v1.action_service_pb2_grpc import ActionServiceAsyncStub

ADDRESS, AGENT, NOTE = "203.0.113.77", "planted-agent/1.0", "planted-note"
QUIZ = "arithmetic-sprint"
RIGHT = [("q1", "c"), ("q2", "b"), ("q3", "b")]
DELETE = "mutation ($password: String!) { deleteMyAccount(password: $password) }"
EXPORT = "query ($after: String) { exportMyData(after: $after) { data next } }"
BOARD = """query ($board: BoardInput) {
  leaderboard(board: $board, first: 50) { totalCount edges { node { userId username score rank } } }
}"""
THIS_WEEK = Board.parse("weekly", utc_now())
LIVE = [
    None,
    {"kind": "WEEKLY"},
    {"kind": "MONTHLY"},
    {"kind": "COUNTRY", "country": "VN"},
    {"kind": "QUIZ", "quizId": QUIZ},
    {"kind": "CUSTOM", "name": "asia"},
    {"kind": "CUSTOM", "name": "asia-week"},
]


def last_week() -> datetime:
    period = period_of(THIS_WEEK)
    assert period is not None
    return period.starts_at - timedelta(days=2)


CLOSED = Board.parse("weekly", last_week())
CLOSED_INPUT = {"kind": "WEEKLY", "period": CLOSED.qualifier}


@dataclass
class Scene:
    """A system in which `eve` has left traces everywhere, and in which `bob` and `ada` play too."""

    stack: RunningStack
    web: Web
    mongo: AsyncMongoClient[dict[str, Any]]
    eve: Player
    bob: Player
    ada: Player
    moderator: str
    action_id: str

    @property
    def needles(self) -> list[str]:
        return [self.eve.username, self.eve.user_id, ADDRESS, AGENT, NOTE]

    async def delete(self, password: str = PASSWORD) -> Answer:
        return await self.web.graphql(DELETE, {"password": password}, self.eve.access_token)

    async def entries(self, board: Any) -> list[dict[str, Any]]:
        """Return the board as bob sees it."""
        data = await self.bob.client.execute(BOARD, {"board": board}, self.bob.access_token)
        return [edge["node"] for edge in data["leaderboard"]["edges"]]

    async def topten(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await run_topten(*arguments, data=self.stack.data)

    async def until_off_boards(self) -> None:
        """Wait until no live board has eve."""

        async def is_off_boards() -> bool:
            entries = [entry for board in LIVE for entry in await self.entries(board)]
            return not any(map(self.is_eve, entries))

        await eventually(is_off_boards, "live boards without eve")

    async def until_erased(self) -> None:
        """Wait until every service has erased its players."""

        async def is_erased() -> bool:
            return await self.mongo["topten_identity"]["erasures"].count_documents({}) == 0

        await eventually(is_erased, "no erasures left")

    def is_eve(self, entry: dict[str, Any]) -> bool:
        return entry["userId"] == self.eve.user_id or bool(entry["username"] == self.eve.username)


@asynccontextmanager
async def open_scene(stack: RunningStack) -> AsyncIterator[Scene]:
    """Three players have played this week and last week, which is closed; a moderator and a fair-play rule acted on eve."""
    async with AsyncExitStack() as opened:
        client = await opened.enter_async_context(GraphqlClient(endpoints(stack).graphql))
        web = await opened.enter_async_context(browsing(stack.http))
        mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"], tz_aware=True)
        await opened.enter_async_context(mongo)
        account = stack.endpoints["moderator"]
        login = {"input": {"username": account["username"], "password": account["password"]}}
        moderator = (await web.graphql(LOGIN, login)).body["data"]["login"]["accessToken"]
        eve, bob, ada = [await register(client, username=unique(name)) for name in ("eve", "bob", "ada")]
        scene = Scene(stack, web, mongo, eve, bob, ada, moderator, str(uuid.uuid4()))
        await leave_traces(scene)
        yield scene


async def leave_traces(scene: Scene) -> None:
    eve, web = scene.eve, scene.web
    headers = {"X-Forwarded-For": ADDRESS, "User-Agent": AGENT}
    await web.graphql(f'{{ quiz(id: "{QUIZ}") {{ id }} }}', token=eve.access_token, headers=headers)
    action = {
        "quizId": QUIZ,
        "actionId": scene.action_id,
        "answers": [{"questionId": question, "selectedOption": option} for question, option in RIGHT],
        "timestamp": utc_now().isoformat(timespec="milliseconds"),
    }
    submit = "mutation ($input: QuizActionInput!) { submitQuizAction(input: $input) { success } }"
    assert "errors" not in (await web.graphql(submit, {"input": action}, eve.access_token, headers=headers)).body
    start = f'mutation {{ startAttempt(quizId: "{QUIZ}") {{ id }} }}'
    assert "errors" not in (await web.graphql(start, token=eve.access_token)).body
    accommodate = """mutation ($user: ID!, $reason: String!) {
      setPlayerExtraTime(userId: $user, extraTime: DOUBLE, reason: $reason)
    }"""
    extra = {"user": eve.user_id, "reason": f"{eve.username} has a certificate"}
    assert "errors" not in (await web.graphql(accommodate, extra, scene.moderator)).body
    await scene.bob.submit(QUIZ, RIGHT[:2])
    await scene.ada.submit(QUIZ, RIGHT[:1])
    move = "mutation ($country: String) { updateProfile(input: {country: $country}) { country } }"
    for country in ("TH", "VN"):
        assert "errors" not in (await web.graphql(move, {"country": country}, eve.access_token)).body
    adjust = "mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { success } }"
    kind = {"input": {"userId": eve.user_id, "delta": 7, "reason": f"{eve.username} was kind"}}
    assert "errors" not in (await web.graphql(adjust, kind, scene.moderator)).body
    await reported(scene)
    for player, points in ((eve, 30), (scene.bob, 20), (scene.ada, 10)):
        await played_last_week(scene, player, points)
    bus = await nats.connect(scene.stack.endpoints["stores"]["nats"])
    await bus.jetstream().publish(f"quiz.events.{eve.user_id}", b"\xff" + eve.username.encode())
    await bus.close()
    score = scene.mongo["topten_score"]

    async def are_traces_left() -> bool:
        return (
            await score["ledger"].count_documents({"user_id": eve.user_id}) == 6
            and await score["ledger"].count_documents({"user_id": {"$in": [scene.bob.user_id, scene.ada.user_id]}}) == 4
            and await score["audit"].count_documents({"ip": ADDRESS, "user_agent": AGENT}) > 0
            and await score["flags"].count_documents({"user_id": eve.user_id}) > 0
            and await score["dead_letters"].count_documents({"subject": {"$regex": eve.user_id}}) == 1
        )

    await eventually(are_traces_left, "every trace of eve")
    seen = await web.graphql("mutation { markNoticesSeen(through: 6) }", token=eve.access_token)
    assert seen.body == {"data": {"markNoticesSeen": 6}}
    # As if the grace period were over; test_closed_periods tests when that is.
    period = period_of(CLOSED)
    assert period is not None
    await score["meta"].update_one({"_id": "boards"}, {"$max": {"closed_through": period.ends_at}})

    async def is_archived() -> bool:
        return await scene.mongo["topten_boards"]["closed"].count_documents({"_id": CLOSED.name}) == 1

    await eventually(is_archived, "last week in the archive")


async def reported(scene: Scene) -> None:
    """Report an action of eve with a note, which boards show."""
    walk = action_pb2.ActionType(
        action_type_id=unique("walk-"),
        title="Walk",
        submitters=action_pb2.ActionType.SERVICES,
        shows_metadata=True,
    )
    walk.rule.fixed.points = 4
    action = action_pb2.PlayerAction(action_type_id=walk.action_type_id, action_id=str(uuid.uuid4()))
    action.player.user_id, action.metadata["note"] = scene.eve.user_id, NOTE
    async with endpoints(scene.stack).operator() as token, endpoints(scene.stack).channel("quiz") as channel:
        stub = cast("ActionServiceAsyncStub", ActionServiceStub(channel))
        await call(stub.PutActionType, PutActionTypeRequest(action_type=walk), token=token)
        (result,) = (await call(stub.SubmitActions, SubmitActionsRequest(actions=[action]), token=token)).results
    assert result.status == action_pb2.ActionResult.ACCEPTED, result


async def played_last_week(scene: Scene, player: Player, points: int) -> None:
    """Insert a submission as quiz would have recorded it then, with its event unpublished."""
    submissions = scene.mongo["topten_quiz"]["submissions"]
    document = await submissions.find_one({"user_id": player.user_id, "quiz_id": QUIZ})
    assert document is not None
    submitted_at = last_week()
    event = quiz_events_pb2.QuizCompletedEvent(event_id=str(uuid_utils.uuid7()), event_type="QUIZ_COMPLETED")
    payload = event.payload
    payload.user_id, payload.quiz_id, payload.score_delta = player.user_id, "solar-system", points
    payload.attempt, payload.quiz_total, payload.action_id = 1, points, str(uuid.uuid4())
    payload.timestamp.CopyFrom(Timestamp(seconds=int(submitted_at.timestamp())))
    waiting = {"event": Binary(event.SerializeToString()), "leased_until": submitted_at}
    own = {"_id": event.event_id, "quiz_id": "solar-system", "action_id": payload.action_id, "delta": points}
    await submissions.insert_one(
        document | own | {"received_at": submitted_at, "counted": points, "unpublished": waiting}
    )


async def exported(scene: Scene, player: Player) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = []
    after = None
    while not pages or after is not None:
        page = (await player.client.execute(EXPORT, {"after": after}, player.access_token))["exportMyData"]
        pages.append(page["data"])
        after = page["next"]
    return pages
