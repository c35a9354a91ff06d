"""An erased player is found nowhere, and everything else stays as it was."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import nats
import pytest
import uuid_utils
from topten.action.v1 import action_events_pb2
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest, WatchLeaderboardRequest
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from topten.quiz.v1 import quiz_events_pb2

from services.runtime.grpc.client import call, open_stream
from tests.deadline import eventually
from tests.players import PASSWORD, drained, endpoints, register, stream
from tests.servers import RunningStack, running_stack
from tests.system.accounts.residue import residue_in_logs, residue_in_mongo, residue_in_nats, residue_in_redis
from tests.system.graphql import LOGIN

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

from tests.system.accounts.erasure_scene import (
    ADDRESS,
    AGENT,
    CLOSED,
    CLOSED_INPUT,
    EXPORT,
    NOTE,
    QUIZ,
    RIGHT,
    Scene,
    exported,
    open_scene,
)

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


@pytest.fixture(scope="module")
def system() -> Iterator[RunningStack]:
    with running_stack(SETTINGS) as stack:
        yield stack


@pytest.mark.slow
async def test_erased_player_is_found_nowhere(system: RunningStack) -> None:
    """About 20 s: one player's erasure through every store, where each step needs the one before it."""
    async with open_scene(system) as scene:
        await check_export(scene)
        stores = system.endpoints["stores"]
        planted = {each.split(": ")[1] for each in await residue_in_mongo(stores["mongo"], scene.needles)}
        assert planted == set(scene.needles), "each needle is stored before the erasure"
        assert {each.split(": ")[1] for each in await residue_in_redis(stores["redis"], scene.needles)} >= {
            scene.eve.user_id,
            NOTE,
        }
        closed_before = await scene.entries(CLOSED_INPUT)
        assert [entry["username"] for entry in closed_before] == [
            scene.eve.username,
            scene.bob.username,
            scene.ada.username,
        ]
        assert (await scene.entries(None))[0]["userId"] == scene.eve.user_id

        # In a session of its own: the edge refuses its tokens once it has ended.
        login = {"input": {"username": scene.eve.username, "password": PASSWORD}}
        elsewhere = (await scene.web.graphql(LOGIN, login)).body["data"]["login"]["accessToken"]
        async with stream(system.http, elsewhere) as events:
            await anext(events)
            assert (await scene.delete("not the password")).reason == "CREDENTIALS_INVALID"
            assert (await scene.delete()).body == {"data": {"deleteMyAccount": True}}
            await drained(events)
        assert (await scene.web.graphql(EXPORT, token=elsewhere)).reason == "UNAUTHENTICATED"
        assert (await scene.delete()).body == {"data": {"deleteMyAccount": True}}, (
            "a second erasure has the same response"
        )
        await check_signed_out(scene)
        await scene.until_off_boards()
        await check_closed(scene, closed_before)
        await scene.until_erased()
        await check_residue(scene)
        assert await scene.mongo["topten_score"]["notices_seen"].count_documents({}) == 0

        verified = await scene.topten("verify", "--patience", "5")
        assert verified.returncode == 0, verified.stdout
        assert (await scene.topten("rebuild")).returncode == 0
        await scene.until_off_boards()
        assert (await scene.topten("verify", "--repair", "--patience", "5")).returncode == 0
        await check_late_event(scene)
        await scene.until_off_boards()
        await check_closed(scene, closed_before)
        assert (await scene.topten("user", "erase", scene.ada.username)).returncode == 0
        assert (await scene.topten("user", "erase", scene.ada.username)).returncode == 1, "the name is gone"
        await check_log(scene)
        again = await register(scene.bob.client, username=scene.eve.username)
        assert again.user_id != scene.eve.user_id
        await check_pages(scene)
        history = await again.client.execute("{ scoreHistory { edges { cursor } } }", {}, again.access_token)
        assert history["scoreHistory"]["edges"] == []


async def check_export(scene: Scene) -> None:
    pages = await exported(scene, scene.eve)
    page, text = pages[0], json.dumps(pages)
    assert page["account"]["username"] == scene.eve.username
    assert len(page["sessions"]) == 1
    assert [change["kind"] for change in page["accountChanges"]] == ["COUNTRY_CHANGED", "COUNTRY_CHANGED"]
    submitted = {record["actionId"]: record for record in page["submissions"]}[scene.action_id]
    assert [(answer["questionId"], answer["selectedOption"]) for answer in submitted["answers"]] == [*RIGHT]
    origins = {(change["ip"], change["userAgent"]) for change in page["scoreHistory"]}
    assert (ADDRESS, AGENT) in origins
    assert {change["kind"] for change in page["scoreHistory"]} == {
        "QUIZ_COMPLETED",
        "ACTION_COMPLETED",
        "COUNTRY_CHANGED",
        "SCORE_ADJUSTED",
    }
    assert {flag["rule"] for flag in page["flags"]} == {"impossible_time"}
    assert page["noticesSeenThrough"] == 6
    assert [delivery["quizId"] for delivery in page["deliveries"]] == [QUIZ]
    assert {"board": CLOSED.name, "rank": 1, "score": 30, "stale": False} in page["closedPeriods"]
    assert {place["board"].partition(":")[0] for place in page["standings"]} == {
        *("all", "weekly", "monthly", "country", "quiz", "custom")
    }
    for other in (scene.bob, scene.ada):
        assert other.username not in text
        assert other.user_id not in text
    for secret in ("argon2", scene.eve.refresh_token, scene.eve.access_token):
        assert secret not in text


async def check_pages(scene: Scene) -> None:
    """Each page is bounded, and all pages together contain every record once."""
    submissions = scene.mongo["topten_quiz"]["submissions"]
    document = await submissions.find_one({"user_id": scene.bob.user_id, "quiz_id": QUIZ})
    assert document is not None
    many = [
        {**document, "_id": str(uuid_utils.uuid7()), "action_id": str(uuid.uuid4()), "attempt": n}
        for n in range(9, 459)
    ]
    await submissions.insert_many(many)
    pages = await exported(scene, scene.bob)
    exported_ids = [record["eventId"] for page in pages for record in page.get("submissions", [])]
    assert all(len(page.get("submissions", [])) <= 200 for page in pages)
    assert (
        len(exported_ids) == len(set(exported_ids)) == await submissions.count_documents({"user_id": scene.bob.user_id})
    )


async def check_log(scene: Scene) -> None:
    """The log says that accounts were erased, and not whose."""
    log = scene.stack.data / "logs" / "identity.log"

    async def is_logged() -> bool:
        return log.read_text().count("account erased") == 2 and "erasure completed" in log.read_text()

    await eventually(is_logged, "the erasures in the log")
    erased = [line for line in log.read_text().splitlines() if "erase" in line.lower()]
    assert not any(player.user_id in line for line in erased for player in (scene.eve, scene.ada))


async def check_signed_out(scene: Scene) -> None:
    login = {"input": {"username": scene.eve.username, "password": PASSWORD}}
    assert (await scene.web.graphql(LOGIN, login)).reason == "CREDENTIALS_INVALID"
    refresh = "mutation ($token: String) { refreshToken(refreshToken: $token) { expiresIn } }"
    assert (await scene.web.graphql(refresh, {"token": scene.eve.refresh_token})).reason == "UNAUTHENTICATED"
    with pytest.raises(Exception, match="deleted"):
        await scene.eve.submit(QUIZ, RIGHT)
    assert (await scene.web.graphql(EXPORT, token=scene.eve.access_token)).reason == "PLAYER_NOT_FOUND"


async def check_closed(scene: Scene, before: list[dict[str, Any]]) -> None:
    """No rank or score has changed, and the first entry has no name, whichever way it is read."""

    async def is_anonymous() -> bool:
        return bool((await scene.entries(CLOSED_INPUT))[0]["username"] == "#deleted")

    await eventually(is_anonymous, "an anonymous first entry")
    entries = await scene.entries(CLOSED_INPUT)
    assert entries[1:] == before[1:]
    assert (entries[0]["rank"], entries[0]["score"]) == (1, 30)
    pseudonym = entries[0]["userId"]
    assert pseudonym.startswith("erased-")
    top = (await scene.bob.top(CLOSED_INPUT))[0]
    assert (top["userId"], top["username"], top["rank"]) == (pseudonym, "#deleted", 1)
    async with endpoints(scene.stack).operator() as token, endpoints(scene.stack).channel("leaderboard") as channel:
        stub = cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel))
        frame = (await call(stub.GetLeaderboard, GetLeaderboardRequest(board=CLOSED.name), token=token)).frame
        assert (frame.entries[0].user_id, frame.entries[0].username) == (pseudonym, "#deleted")
        watched = WatchLeaderboardRequest(board=CLOSED.name)
        async with open_stream(stub.WatchLeaderboard, watched, token=token) as frames:
            entry = (await anext(aiter(frames))).frame.entries[0]
        assert (entry.user_id, entry.username) == (pseudonym, "#deleted")


async def check_residue(scene: Scene) -> None:
    stores = scene.stack.endpoints["stores"]
    assert await residue_in_mongo(stores["mongo"], scene.needles) == set()
    redis = await residue_in_redis(stores["redis"], scene.needles)
    # Rate-limit counters contain a caller for an hour at most.
    assert {entry for entry in redis if ":rate" not in entry} == set()
    assert await residue_in_nats(stores["nats"], scene.needles) == set()
    # Logs contain the player's id, which identifies nobody without the account.
    assert residue_in_logs(scene.stack, [scene.eve.username, ADDRESS, AGENT]) == set()


async def check_late_event(scene: Scene) -> None:
    """Events that arrive after the erasure are hidden, without texts, and a dead letter of eve cannot be replayed."""
    event = quiz_events_pb2.QuizCompletedEvent(event_id=str(uuid.uuid4()), event_type="QUIZ_COMPLETED")
    event.payload.user_id, event.payload.quiz_id, event.payload.score_delta = scene.eve.user_id, QUIZ, 50
    event.payload.attempt, event.payload.quiz_total = 9, 50
    event.payload.client.ip, event.payload.client.user_agent = ADDRESS, AGENT
    event.payload.timestamp.GetCurrentTime()
    action = action_events_pb2.ActionCompletedEvent(event_id=str(uuid.uuid4()), event_type="ACTION_COMPLETED")
    action.payload.user_id, action.payload.action_type_id, action.payload.score_delta = scene.eve.user_id, "walk", 4
    action.payload.attempt, action.payload.metadata["note"], action.payload.shows_metadata = 9, NOTE, True
    action.payload.timestamp.GetCurrentTime()
    adjustment = quiz_events_pb2.ScoreAdjustedEvent(event_id=str(uuid.uuid4()), event_type="SCORE_ADJUSTED")
    adjustment.payload.user_id, adjustment.payload.score_delta = scene.eve.user_id, 7
    adjustment.payload.reason = f"{scene.eve.username} was kind"
    adjustment.payload.timestamp.GetCurrentTime()
    bus = await nats.connect(scene.stack.endpoints["stores"]["nats"])
    for late in (event, action, adjustment):
        await bus.jetstream().publish(f"quiz.events.{scene.eve.user_id}", late.SerializeToString())
    await bus.close()
    ledger = scene.mongo["topten_score"]["ledger"]

    async def are_counted() -> bool:
        late = {"_id": {"$in": [event.event_id, action.event_id, adjustment.event_id]}, "hidden": True}
        return await ledger.count_documents(late) == 3

    await eventually(are_counted, "the late events in the ledger")
    letters = await scene.topten("dlq", "list")
    letter = await scene.mongo["topten_score"]["dead_letters"].find_one({"reason": "the player is erased"})
    assert letter is not None, letters.stdout
    assert (await scene.topten("dlq", "replay", letter["_id"])).returncode == 1
    await check_residue(scene)
