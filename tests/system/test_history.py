"""What changed a score can be traced, and what could not be counted can be found and counted after all."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from datetime import UTC, datetime
from typing import Any

import nats
import pytest
from bson import Binary
from pymongo import AsyncMongoClient
from topten.quiz.v1 import quiz_events_pb2

from services.local.client import GraphqlClient, GraphqlError
from tests.players import Player, endpoints, register, shows, stream, until
from tests.servers import RunningStack, running_stack, topten, unique

HISTORY = """query ($user: ID, $first: Int!, $after: String) {
  scoreHistory(userId: $user, first: $first, after: $after) {
    edges { cursor node {
      eventId userId revision kind oldScore newScore delta quizId actionId timestamp recordedAt ip userAgent
    } }
    pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}"""


async def history(player: Player, **variables: Any) -> dict[str, Any]:
    variables = {"first": 20} | variables
    data = await player.client.execute(HISTORY, variables, player.access_token)
    found: dict[str, Any] = data["scoreHistory"]
    return found


async def scored(stack: RunningStack, player: Player, score: int) -> None:
    async with stream(stack.http, player.access_token) as events:
        await until(events, shows(player.username, score))


async def test_every_change_of_a_score_can_be_traced_by_its_player(stack: RunningStack) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)
        actions: list[str] = []
        for _ in range(3):
            result = await player.submit("arithmetic-sprint", [("q5", "true")])
            actions.insert(0, result["actionId"])
        while len((page := await history(player))["edges"]) < 3:
            await asyncio.sleep(0.02)
        rows = [edge["node"] for edge in page["edges"]]
        assert [row["actionId"] for row in rows] == actions, "the newest first"
        assert [(row["revision"], row["oldScore"], row["delta"], row["newScore"]) for row in rows] == [
            (3, 10, 5, 15),
            (2, 5, 5, 10),
            (1, 0, 5, 5),
        ]
        assert {row["quizId"] for row in rows} == {"arithmetic-sprint"}
        assert {row["kind"] for row in rows} == {"QUIZ_COMPLETED"}
        assert {(row["ip"], row["userAgent"]) for row in rows} == {(None, None)}, "personal, and not for players"
        first = await history(player, first=2)
        rest = await history(player, first=2, after=first["pageInfo"]["endCursor"])
        assert first["pageInfo"]["hasNextPage"]
        assert not rest["pageInfo"]["hasNextPage"]
        assert [edge["node"] for edge in first["edges"] + rest["edges"]] == rows
        with pytest.raises(GraphqlError) as refused:
            await history(player, after="x")
        assert refused.value.reason == "INVALID_ARGUMENT"


async def test_a_moderator_sees_anybodys_history_and_where_it_came_from_and_a_player_does_not(
    stack: RunningStack,
) -> None:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player, other = await register(client), await register(client)
        await player.submit("arithmetic-sprint", [("q5", "true")])
        with pytest.raises(GraphqlError) as refused:
            await history(other, user=player.user_id)
        assert refused.value.reason == "PERMISSION_DENIED"
        account = stack.endpoints["moderator"]
        other.access_token = await client.login(account["username"], account["password"])
        while not (edges := (await history(other, user=player.user_id))["edges"]):
            await asyncio.sleep(0.02)
        assert edges[0]["node"]["ip"] == "127.0.0.1"
        assert "Python" in edges[0]["node"]["userAgent"]


async def test_an_unreadable_event_is_set_aside_shown_and_never_lost(stack: RunningStack) -> None:
    broker = await nats.connect(stack.endpoints["stores"]["nats"])
    try:
        stored = await broker.jetstream().publish(f"quiz.events.{unique('poison')}", b"\xff\xff no event")
    finally:
        await broker.close()
    letter = f"QUIZ_EVENTS:{stored.seq}"
    async with asyncio.timeout(20):
        while letter not in (listed := await run("dlq", "list", "--data", str(stack.data))).stdout:
            await asyncio.sleep(0.05)
    assert listed.returncode == 1
    shown = await run("dlq", "show", letter, "--data", str(stack.data))
    document = json.loads(shown.stdout)
    assert (shown.returncode, document["state"], document["event"]) == (0, "dead", None)
    replayed = await run("dlq", "replay", letter, "--data", str(stack.data))
    assert (replayed.returncode, "still dead" in replayed.stdout) == (1, True)
    nothing = await run("dlq", "show", unique("nothing"), "--data", str(stack.data))
    assert nothing.returncode == 1


async def test_an_event_that_was_set_aside_is_counted_once_by_a_replay() -> None:
    """On a system of its own, since nobody recorded the action of this event: a check would say so ever after."""
    with running_stack() as own:
        async with GraphqlClient(endpoints(own).graphql) as client:
            player = await register(client)
            event_id = str(uuid.uuid4())
            await set_aside(own, event(event_id, player.user_id, 30))
            for _ in range(2):
                replayed = await run("dlq", "replay", event_id, "--data", str(own.data))
                assert (replayed.returncode, replayed.stdout) == (0, f"{event_id}: counted\n")
            await scored(own, player, 30)
            assert [edge["node"]["eventId"] for edge in (await history(player))["edges"]] == [event_id]
            shown = json.loads((await run("dlq", "show", event_id, "--data", str(own.data))).stdout)
            assert (shown["state"], shown["event"]["payload"]["scoreDelta"]) == ("replayed", 30)


def event(event_id: str, user_id: str, delta: int) -> bytes:
    message = quiz_events_pb2.QuizCompletedEvent(
        event_id=event_id,
        event_type="QUIZ_COMPLETED",
        payload=quiz_events_pb2.QuizCompletedPayload(
            user_id=user_id, quiz_id="solar-system", score_delta=delta, attempt=1, quiz_total=delta, country="VN"
        ),
    )
    message.payload.timestamp.GetCurrentTime()
    return message.SerializeToString()


async def set_aside(stack: RunningStack, payload: bytes) -> None:
    """Put a good event among the dead letters, as a version that could not read it would have."""
    mongo: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        await mongo["topten_score"]["dead_letters"].insert_one(
            {
                "_id": quiz_events_pb2.QuizCompletedEvent.FromString(payload).event_id,
                "reason": "not understood",
                "subject": "quiz.events.0.x",
                "sequence": 1,
                "payload": Binary(payload),
                "state": "dead",
                "at": datetime.now(UTC),
            }
        )


async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run, topten(*arguments), capture_output=True, text=True, timeout=60, check=False
    )
