"""A player who erases his account is found nowhere any more, and everything else is as it was."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import nats
import pytest
import uuid_utils
from bson import Binary
from google.protobuf.timestamp_pb2 import Timestamp
from pymongo import AsyncMongoClient
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest, WatchLeaderboardRequest
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from topten.quiz.v1 import quiz_events_pb2

from services.local.client import GraphqlClient
from services.runtime.boards import Board, period
from services.runtime.clock import utc_now
from services.runtime.grpc_client import call, open_stream
from tests.players import PASSWORD, Player, drained, endpoints, register, stream
from tests.servers import RunningStack, running_stack, topten, unique
from tests.system.graphql import LOGIN, Answer, Web, browsing
from tests.system.residue import found_in_logs, found_in_mongo, found_in_nats, found_in_redis

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

SETTINGS = {
    "TOPTEN_LEADERBOARD_TICK": "100ms",
    "TOPTEN_SCORE_FENCE_TTL": "4s",
    "TOPTEN_SCORE_CLOSE_AFTER": "7d",
    "TOPTEN_SCORE_CLOSE_INTERVAL": "200ms",
    "TOPTEN_SCORE_RULE_QUESTION_TIME": "1m",
    "TOPTEN_IDENTITY_ERASURE_REPEAT": "3s",
    "TOPTEN_EDGE_TRUSTED_PROXIES": "127.0.0.0/8",
    "TOPTEN_BOARDS_DECLARED": "asia=all,VN+TH; asia-week=weekly,VN+TH",
}
ADDRESS, AGENT = "203.0.113.77", "planted-agent/1.0"
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
    counted = period(THIS_WEEK)
    assert counted is not None
    return counted.starts_at - timedelta(days=2)


CLOSED = Board.parse("weekly", last_week())
CLOSED_INPUT = {"kind": "WEEKLY", "period": CLOSED.qualifier}


@dataclass
class Scene:
    """A system in which `eve` has left traces everywhere, and `bob` and `ada` beside her."""

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
        return [self.eve.username, self.eve.user_id, ADDRESS, AGENT]

    async def delete(self, password: str = PASSWORD) -> Answer:
        return await self.web.graphql(DELETE, {"password": password}, self.eve.access_token)

    async def entries(self, board: Any) -> list[dict[str, Any]]:
        """The board as bob sees it."""
        data = await self.bob.client.execute(BOARD, {"board": board}, self.bob.access_token)
        return [edge["node"] for edge in data["leaderboard"]["edges"]]

    async def topten(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = topten(*arguments, "--data", str(self.stack.data))
        return await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=120, check=False
        )

    async def gone(self) -> None:
        """Returns when no live board has eve."""

        async def is_gone() -> bool:
            shown = [entry for board in LIVE for entry in await self.entries(board)]
            return not any(map(self.is_eve, shown))

        await until_true(is_gone)

    async def forgotten(self) -> None:
        """Returns when every service has forgotten whom it was told to forget."""

        async def is_done() -> bool:
            return await self.mongo["topten_identity"]["erasures"].count_documents({}) == 0

        await until_true(is_done)

    def is_eve(self, entry: dict[str, Any]) -> bool:
        return entry["userId"] == self.eve.user_id or bool(entry["username"] == self.eve.username)


async def until_true(holds: Callable[[], Any], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def system() -> Iterator[RunningStack]:
    with running_stack(SETTINGS) as stack:
        yield stack


@asynccontextmanager
async def scene(stack: RunningStack) -> AsyncIterator[Scene]:
    """Everybody has played, this week and last week, which is closed; a moderator and a rule had to do with eve."""
    async with AsyncExitStack() as opened:
        client = await opened.enter_async_context(GraphqlClient(endpoints(stack).graphql))
        web = await opened.enter_async_context(browsing(stack.http))
        mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"], tz_aware=True)
        await opened.enter_async_context(mongo)
        account = stack.endpoints["moderator"]
        login = {"input": {"username": account["username"], "password": account["password"]}}
        moderator = (await web.graphql(LOGIN, login)).body["data"]["login"]["accessToken"]
        eve, bob, ada = [await register(client, username=unique(name)) for name in ("eve", "bob", "ada")]
        found = Scene(stack, web, mongo, eve, bob, ada, moderator, str(uuid.uuid4()))
        await leave_traces(found)
        yield found


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
    await scene.bob.submit(QUIZ, RIGHT[:2])
    await scene.ada.submit(QUIZ, RIGHT[:1])
    move = "mutation ($country: String) { updateProfile(input: {country: $country}) { country } }"
    for country in ("TH", "VN"):
        assert "errors" not in (await web.graphql(move, {"country": country}, eve.access_token)).body
    adjust = "mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { success } }"
    kind = {"input": {"userId": eve.user_id, "delta": 7, "reason": f"{eve.username} was kind"}}
    assert "errors" not in (await web.graphql(adjust, kind, scene.moderator)).body
    for player, points in ((eve, 30), (scene.bob, 20), (scene.ada, 10)):
        await played_last_week(scene, player, points)
    bus = await nats.connect(scene.stack.endpoints["stores"]["nats"])
    await bus.jetstream().publish(f"quiz.events.{eve.user_id}", b"\xff" + eve.username.encode())
    await bus.close()
    score = scene.mongo["topten_score"]

    async def all_there() -> bool:
        return (
            await score["ledger"].count_documents({"user_id": eve.user_id}) == 5
            and await score["ledger"].count_documents({"user_id": {"$in": [scene.bob.user_id, scene.ada.user_id]}}) == 4
            and await score["audit"].count_documents({"ip": ADDRESS, "user_agent": AGENT}) > 0
            and await score["flags"].count_documents({"user_id": eve.user_id}) > 0
            and await score["dead_letters"].count_documents({"subject": {"$regex": eve.user_id}}) == 1
        )

    await until_true(all_there)
    # As if the grace were over; see test_closed_periods for when that is.
    counted = period(CLOSED)
    assert counted is not None
    await score["meta"].update_one({"_id": "boards"}, {"$max": {"closed_through": counted.ends_at}})

    async def is_kept() -> bool:
        return await scene.mongo["topten_boards"]["closed"].count_documents({"_id": CLOSED.text}) == 1

    await until_true(is_kept)


async def played_last_week(scene: Scene, player: Player, points: int) -> None:
    """A submission as quiz would have recorded it then, whose event waits to be published."""
    submissions = scene.mongo["topten_quiz"]["submissions"]
    document = await submissions.find_one({"user_id": player.user_id, "quiz_id": QUIZ})
    assert document is not None
    at = last_week()
    event = quiz_events_pb2.QuizCompletedEvent(event_id=str(uuid_utils.uuid7()), event_type="QUIZ_COMPLETED")
    payload = event.payload
    payload.user_id, payload.quiz_id, payload.score_delta = player.user_id, "solar-system", points
    payload.attempt, payload.quiz_total, payload.action_id = 1, points, str(uuid.uuid4())
    payload.timestamp.CopyFrom(Timestamp(seconds=int(at.timestamp())))
    waiting = {"event": Binary(event.SerializeToString()), "leased_until": at}
    own = {"_id": event.event_id, "quiz_id": "solar-system", "action_id": payload.action_id, "delta": points}
    await submissions.insert_one(document | own | {"received_at": at, "counted": points, "unpublished": waiting})


async def exported(scene: Scene, player: Player) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = []
    after = None
    while not pages or after is not None:
        page = (await player.client.execute(EXPORT, {"after": after}, player.access_token))["exportMyData"]
        pages.append(page["data"])
        after = page["next"]
    return pages


@pytest.mark.slow
async def test_an_erased_player_is_found_nowhere(system: RunningStack) -> None:
    """About 20 s: one player's way through every store, each step of which needs the one before it."""
    async with scene(system) as at:
        await check_export(at)
        stores = system.endpoints["stores"]
        planted = {found.split(": ")[1] for found in await found_in_mongo(stores["mongo"], at.needles)}
        assert planted == set(at.needles), "what is searched for later is there now"
        assert {found.split(": ")[1] for found in await found_in_redis(stores["redis"], at.needles)} >= {at.eve.user_id}
        closed_before = await at.entries(CLOSED_INPUT)
        assert [entry["username"] for entry in closed_before] == [at.eve.username, at.bob.username, at.ada.username]
        assert (await at.entries(None))[0]["userId"] == at.eve.user_id

        # Of a session of its own: the edge that is told of its end takes no token of it any more.
        login = {"input": {"username": at.eve.username, "password": PASSWORD}}
        elsewhere = (await at.web.graphql(LOGIN, login)).body["data"]["login"]["accessToken"]
        async with stream(system.http, elsewhere) as events:
            await anext(events)
            assert (await at.delete("not the password")).reason == "CREDENTIALS_INVALID"
            assert (await at.delete()).body == {"data": {"deleteMyAccount": True}}
            await drained(events)
        assert (await at.web.graphql(EXPORT, token=elsewhere)).reason == "UNAUTHENTICATED"
        assert (await at.delete()).body == {"data": {"deleteMyAccount": True}}, "a second erasure is the same answer"
        await check_signed_out(at)
        await at.gone()
        await check_closed(at, closed_before)
        await at.forgotten()
        await check_residue(at)

        verified = await at.topten("verify", "--patience", "5")
        assert verified.returncode == 0, verified.stdout
        assert (await at.topten("rebuild")).returncode == 0
        await at.gone()
        assert (await at.topten("verify", "--repair", "--patience", "5")).returncode == 0
        await come_late(at)
        await at.gone()
        await check_closed(at, closed_before)
        assert (await at.topten("user", "erase", at.ada.username)).returncode == 0
        assert (await at.topten("user", "erase", at.ada.username)).returncode == 1, "nobody has the name any more"
        await check_log(at)
        again = await register(at.bob.client, username=at.eve.username)
        assert again.user_id != at.eve.user_id
        await check_pages(at)
        history = await again.client.execute("{ scoreHistory { edges { cursor } } }", {}, again.access_token)
        assert history["scoreHistory"]["edges"] == []


async def check_export(at: Scene) -> None:
    pages = await exported(at, at.eve)
    page, text = pages[0], json.dumps(pages)
    assert page["account"]["username"] == at.eve.username
    assert len(page["sessions"]) == 1
    assert [change["kind"] for change in page["accountChanges"]] == ["COUNTRY_CHANGED", "COUNTRY_CHANGED"]
    submitted = {record["actionId"]: record for record in page["submissions"]}[at.action_id]
    assert submitted["answers"] == [{"questionId": question, "selectedOption": option} for question, option in RIGHT]
    origins = {(change["ip"], change["userAgent"]) for change in page["scoreHistory"]}
    assert (ADDRESS, AGENT) in origins
    assert {change["kind"] for change in page["scoreHistory"]} == {
        "QUIZ_COMPLETED",
        "COUNTRY_CHANGED",
        "SCORE_ADJUSTED",
    }
    assert {flag["rule"] for flag in page["flags"]} == {"impossible_time"}
    assert [delivery["quizId"] for delivery in page["deliveries"]] == [QUIZ]
    assert {"board": CLOSED.text, "rank": 1, "score": 30} in page["closedPeriods"]
    assert {place["board"].partition(":")[0] for place in page["standings"]} == {
        *("all", "weekly", "monthly", "country", "quiz", "custom")
    }
    for other in (at.bob, at.ada):
        assert other.username not in text
        assert other.user_id not in text
    for secret in ("argon2", at.eve.refresh_token, at.eve.access_token):
        assert secret not in text


async def check_pages(at: Scene) -> None:
    """However much a player has done, each page is bounded, and all of them together are everything, once."""
    submissions = at.mongo["topten_quiz"]["submissions"]
    document = await submissions.find_one({"user_id": at.bob.user_id, "quiz_id": QUIZ})
    assert document is not None
    many = [
        {**document, "_id": str(uuid_utils.uuid7()), "action_id": str(uuid.uuid4()), "attempt": n}
        for n in range(9, 459)
    ]
    await submissions.insert_many(many)
    pages = await exported(at, at.bob)
    found = [record["eventId"] for page in pages for record in page.get("submissions", [])]
    assert all(len(page.get("submissions", [])) <= 200 for page in pages)
    assert len(found) == len(set(found)) == await submissions.count_documents({"user_id": at.bob.user_id})


async def check_log(at: Scene) -> None:
    """That somebody was erased stands there, and not who."""
    log = at.stack.data / "logs" / "identity.log"

    async def is_said() -> bool:
        return log.read_text().count("an account is erased") == 2 and "an erased player is forgotten" in log.read_text()

    await until_true(is_said)
    erased = [line for line in log.read_text().splitlines() if "erase" in line.lower()]
    assert not any(player.user_id in line for line in erased for player in (at.eve, at.ada))


async def check_signed_out(at: Scene) -> None:
    login = {"input": {"username": at.eve.username, "password": PASSWORD}}
    assert (await at.web.graphql(LOGIN, login)).reason == "CREDENTIALS_INVALID"
    refresh = "mutation ($token: String) { refreshToken(refreshToken: $token) { expiresIn } }"
    assert (await at.web.graphql(refresh, {"token": at.eve.refresh_token})).reason == "UNAUTHENTICATED"
    with pytest.raises(Exception, match="deleted"):
        await at.eve.submit(QUIZ, RIGHT)
    assert (await at.web.graphql(EXPORT, token=at.eve.access_token)).reason == "PLAYER_NOT_FOUND"


async def check_closed(at: Scene, before: list[dict[str, Any]]) -> None:
    """Nobody's rank or score has changed, and who was first is nobody; the same by every way."""

    async def is_nameless() -> bool:
        return bool((await at.entries(CLOSED_INPUT))[0]["username"] == "#deleted")

    await until_true(is_nameless)
    entries = await at.entries(CLOSED_INPUT)
    assert entries[1:] == before[1:]
    assert (entries[0]["rank"], entries[0]["score"]) == (1, 30)
    pseudonym = entries[0]["userId"]
    assert pseudonym.startswith("erased-")
    top = (await at.bob.top(CLOSED_INPUT))[0]
    assert (top["userId"], top["username"], top["rank"]) == (pseudonym, "#deleted", 1)
    async with endpoints(at.stack).operator() as token, endpoints(at.stack).channel("leaderboard") as channel:
        stub = cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel))
        frame = (await call(stub.GetLeaderboard, GetLeaderboardRequest(board=CLOSED.text), token=token)).frame
        assert (frame.entries[0].user_id, frame.entries[0].username) == (pseudonym, "#deleted")
        watched = WatchLeaderboardRequest(board=CLOSED.text)
        async with open_stream(stub.WatchLeaderboard, watched, token=token) as frames:
            shown = (await anext(aiter(frames))).frame.entries[0]
        assert (shown.user_id, shown.username) == (pseudonym, "#deleted")


async def check_residue(at: Scene) -> None:
    stores = at.stack.endpoints["stores"]
    assert await found_in_mongo(stores["mongo"], at.needles) == set()
    redis = await found_in_redis(stores["redis"], at.needles)
    # Counters of rates name a caller for as long as they count, which is an hour at most.
    assert {entry for entry in redis if ":rate" not in entry} == set()
    assert await found_in_nats(stores["nats"], at.needles) == set()
    # What logs say of a player they say by his id, which names nobody without his account.
    assert found_in_logs(at.stack, [at.eve.username, ADDRESS, AGENT]) == set()


async def come_late(at: Scene) -> None:
    """An event that was under way all the time, and what was set aside of eve, come after all."""
    event = quiz_events_pb2.QuizCompletedEvent(event_id=str(uuid.uuid4()), event_type="QUIZ_COMPLETED")
    event.payload.user_id, event.payload.quiz_id, event.payload.score_delta = at.eve.user_id, QUIZ, 50
    event.payload.attempt, event.payload.quiz_total = 9, 50
    event.payload.client.ip, event.payload.client.user_agent = ADDRESS, AGENT
    event.payload.timestamp.GetCurrentTime()
    bus = await nats.connect(at.stack.endpoints["stores"]["nats"])
    await bus.jetstream().publish(f"quiz.events.{at.eve.user_id}", event.SerializeToString())
    await bus.close()
    ledger = at.mongo["topten_score"]["ledger"]

    async def is_counted() -> bool:
        return await ledger.count_documents({"_id": event.event_id, "hidden": True}) == 1

    await until_true(is_counted)
    letters = await at.topten("dlq", "list")
    letter = await at.mongo["topten_score"]["dead_letters"].find_one({"reason": "the player is erased"})
    assert letter is not None, letters.stdout
    assert (await at.topten("dlq", "replay", letter["_id"])).returncode == 1
    await check_residue(at)
